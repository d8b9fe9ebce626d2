"""What a run tells where there is no terminal."""

from __future__ import annotations

import io

import pytest

from hepbench.running import progress


@pytest.fixture
def clock(monkeypatch):
    """Return a function that lets time pass."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_stages_are_told_now_and_then(clock, capsys):
    """A line says how many stages are done and what is under way, no oftener than it should."""
    lines = progress.Lines(4)
    lines.planned(9)
    lines.working("read higgs", "")
    clock(1)
    lines.ended("read higgs")
    lines.working("scratch mlp", "epoch 1/3")
    assert capsys.readouterr().err == ""
    clock(progress.LINE_SECONDS)
    lines.working("scratch mlp", "epoch 2/3")
    lines.working("scratch mlp", "epoch 3/3")
    told = "1 of 9 stages, 0 of 4 cells, 31 s; now scratch mlp epoch 2/3\n"
    assert capsys.readouterr().err == told


def test_what_a_stage_reports_is_no_markup_and_no_escape(monkeypatch):
    """A terminal shows brackets and control characters of a plugin's text as they are."""
    screen = io.StringIO()
    monkeypatch.setattr(progress.sys, "stderr", screen)
    live = progress.Live(1)
    live.planned(1)
    live.working("fit line[/x]", "\x1b]0;title\x07")
    # what cannot be rendered raises here
    live.bars.console.print(live.bars.get_renderable())
    assert "[/x]" in screen.getvalue()
    assert "\x1b]" not in screen.getvalue()


def test_the_time_that_is_left_is_told_if_it_is_known(capsys, monkeypatch):
    """And no longer when it is over."""
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    lines = progress.Lines(2)
    lines.planned(4)
    lines.working("fit line", "epoch 1")
    lines.time_left(240.0)
    lines.working("fit line", "epoch 2")
    lines.time_left(0.5)
    lines.working("fit line", "epoch 3")
    told = capsys.readouterr().err.splitlines()
    assert ["left" in line for line in told] == [False, True, False]
    assert told[1].startswith("0 of 4 stages, 0 of 2 cells, about 4.0 min left, ")
