"""The verb show: fields and parameters of specs as tables, without the notation of Python."""

from __future__ import annotations

import re

import pytest

from hepbench.cli import description
from hepbench.cli.text_tables import WIDTH, lined_up
from hepbench.registry.plugins import KINDS, installed

EVERY = [
    (kind, entry.spec.name)
    for kind in KINDS
    for entry in installed().entries(kind)
    if kind != "dataset"
]


@pytest.mark.parametrize(("kind", "name"), EVERY, ids=lambda each: each)
def test_every_spec_is_described_in_words(kind, name):
    """Whatever is installed: no dict, list or class of Python, no line that is far too long."""
    text = description.shown(kind, name)
    assert text.startswith(f"{kind} {name}: ")
    assert not re.search(r"None|True|False|Param\(|Range\(", text)
    lines = text.splitlines()[2:]
    assert all(line == line.rstrip() for line in lines)
    # a suite shows its methods as they are written in it
    if kind != "suite":
        assert not re.search(r"\{'|\['", text)
        assert max(map(len, lines), default=0) <= WIDTH + 20


def test_parameters_are_a_table_with_a_column_for_each_preset():
    """Defaults, values of presets, and what is allowed."""
    lines = description.shown("method", "scratch").splitlines()
    (heads,) = [line for line in lines if line.split()[:2] == ["parameter", "default"]]
    assert heads.split() == ["parameter", "default", "paper", "allowed"]
    (epochs,) = [line for line in lines if line.split()[:1] == ["epochs"]]
    assert re.fullmatch(r"  epochs +12 +17 +a whole number of at least 0", epochs)


def test_texts_are_lined_up_and_the_last_column_is_wrapped():
    """A text of several lines takes several lines; nothing is cut."""
    long = " ".join(["word"] * 40)
    lines = lined_up([("a", "1\n2", long), ("bcd", "3", "end")], heads=("x", "y", "z"))
    assert lines[0] == "  x    y  z"
    assert lines[1].startswith("  a    1  word word")
    assert lines[2].startswith("       2  word")
    assert max(map(len, lines)) <= WIDTH
    assert " ".join(lines).count("word") == 40
    assert lines[-1] == "  bcd  3  end"
    assert lined_up([]) == []
