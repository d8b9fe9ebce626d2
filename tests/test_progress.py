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
