"""Time commands as users start them: a process each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BASELINE = Path(__file__).parent.parent / "results" / "baseline"

COMMANDS = {
    "help": ("--help",),
    "list": ("list",),
    "plan": ("plan", "standard"),
    "table": ("table", str(BASELINE / "standard.zip")),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_command(paced, tmp_path, monkeypatch, name):
    """A command that needs no torch."""
    monkeypatch.setenv("HEPBENCH_CACHE", str(tmp_path / "cache"))
    command = (sys.executable, "-P", "-m", "hepbench", *COMMANDS[name])

    def output() -> str:
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
        return done.stdout

    assert paced(output, rounds=10)
