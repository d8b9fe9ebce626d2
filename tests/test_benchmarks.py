"""The scripts in benchmarks start: what they borrow from the project and each other is there."""

from __future__ import annotations

import ast
import importlib
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


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_benchmark_imports_when_it_runs_exists(name):
    """Its functions import what is heavy, which --help does not reach."""
    for node in ast.walk(ast.parse((FOLDER / name).read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("hepbench"):
            module = importlib.import_module(node.module)
            for each in node.names:
                if not hasattr(module, each.name):
                    importlib.import_module(f"{node.module}.{each.name}")
