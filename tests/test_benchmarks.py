"""The scripts in benchmarks start: what they borrow from the project and each other is there."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys

import numpy as np
import pytest
from conftest import BENCHMARKS

SCRIPTS = sorted(
    p.name for p in BENCHMARKS.glob("*.py") if not p.name.startswith(("test_", "conftest"))
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_benchmark_starts_and_is_in_the_readme(name):
    """Its help names it, and the README says how to run it."""
    done = subprocess.run(
        [sys.executable, BENCHMARKS / name, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert name in done.stdout
    assert f"benchmarks/{name}" in (BENCHMARKS / "README.md").read_text()


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_benchmark_imports_when_it_runs_exists(name):
    """Its functions import what is heavy, which --help does not reach."""
    for node in ast.walk(ast.parse((BENCHMARKS / name).read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("hepbench"):
            module = importlib.import_module(node.module)
            for each in node.names:
                if not hasattr(module, each.name):
                    importlib.import_module(f"{node.module}.{each.name}")


@pytest.mark.slow
def test_every_regression_benchmark_runs(tmp_path):
    """Each call is made once, so that none is found broken only when it is timed."""
    command = [sys.executable, "-P", "-m", "pytest", BENCHMARKS, "-q", "--benchmark-disable"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.fixture
def regressions(benchmark_script):
    """Return the module of the script, with ratios that a test sets in place of measured ones."""
    return benchmark_script("regressions")


def rounds(factor, seed):
    """Return ratios of 20 rounds that scatter by 10 %."""
    return [float(r) for r in factor * np.random.default_rng(seed).normal(1, 0.1, 20)]


def test_a_growth_by_half_is_named_and_scatter_is_not(regressions, capsys):
    """What is slower must be slower again when it is measured a second time."""
    before = {"plan": rounds(3, 0), "table": rounds(5, 1), "gone": rounds(1, 2)}
    after = {"plan": rounds(4.5, 3), "table": rounds(5.3, 4), "new": rounds(1, 5)}
    assert regressions.report(lambda _: (before, after), "", "main") == regressions.SLOWER
    out = capsys.readouterr().out
    assert "slower: plan (1.49 x)" in out
    assert "gone" not in out
    measured = iter([after, before])
    code = regressions.report(lambda _: (before, next(measured)), "", "main")
    assert (code, "no benchmark is slower" in capsys.readouterr().out) == (0, True)


def test_benchmarks_of_which_none_could_be_compared_do_not_pass(regressions, capsys):
    """The exit code is not that of a run without slower benchmarks."""
    none_in_common = regressions.report(lambda _: ({"a": [1.0]}, {"b": [1.0]}), "", "main")
    assert none_in_common == regressions.NOTHING_COMPARED
    assert "nothing could be compared" in capsys.readouterr().out
