"""The scripts in benchmarks start: what they borrow from the project and each other is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(p.name for p in FOLDER.glob("*.py") if not p.name.startswith("test_"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_benchmark_starts_and_is_in_the_readme(name):
    """Its help names it, and the README says how to run it."""
    done = subprocess.run(
        [sys.executable, FOLDER / name, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert name in done.stdout
    assert f"benchmarks/{name}" in (FOLDER / "README.md").read_text()
