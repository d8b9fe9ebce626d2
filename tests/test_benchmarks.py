"""The scripts in benchmarks start: what they borrow from the project and each other is there."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import BENCHMARKS

SCRIPTS = [
    str(path.relative_to(BENCHMARKS))
    for path in (*sorted(BENCHMARKS.glob("*.py")), BENCHMARKS / "race" / "race.py")
    if not path.name.startswith(("test_", "conftest"))
]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_benchmark_starts_and_is_in_the_readme(name):
    """Its help names it, and the README says how to run it."""
    done = subprocess.run(
        [sys.executable, BENCHMARKS / name, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert Path(name).name in done.stdout
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


@pytest.fixture
def race(monkeypatch):
    """Return the module of the race."""
    monkeypatch.syspath_prepend(BENCHMARKS / "race")
    return importlib.import_module("race")


def test_a_race_says_where_its_results_differ(race, tmp_path):
    """AUCs by their spread over seeds, networks by their number of parameters."""
    ours = {"gbdt": [0.80, 0.81, 0.82], "mlp": [0.80, 0.81, 0.82]}
    theirs = {"gbdt": [0.81, 0.82, 0.80], "mlp": [0.70, 0.71, 0.69]}
    sizes = {"hepbench": {"gbdt": 9, "mlp": 1000}, "scripts": {"gbdt": None, "mlp": 1001}}
    found = race.Race(tmp_path, 3, {}, {"hepbench": ours, "scripts": theirs}, sizes)
    *_, gbdt, mlp = race.quality(found).splitlines()
    assert "NOT" not in gbdt
    assert "NOT equal: 1,000 and 1,001" in mlp
    assert "NOT equal within errors" in mlp


def test_a_race_compares_with_the_fastest_way_to_run_the_scripts(race, tmp_path):
    """On several cores the scripts may use one thread each, or all cores."""
    ways = {"suite": 40, "scripts": 100, "suite, all cores": 20, "scripts, all cores": 80}
    used = {name: [race.Used(cpu=wall, wall=wall)] for name, wall in ways.items()}
    cpu, _, wall = race.ratios(race.Race(tmp_path, 3, used)).splitlines()[-3:]
    assert "0.40" in cpu
    assert "0.25" in wall


def test_the_scripts_of_the_race_share_nothing():
    """Each goes from a file to a number with libraries that anybody has."""
    for path in (BENCHMARKS / "race").glob("*.py"):
        if path.name != "race.py":
            imported = {
                name.partition(".")[0]
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, (ast.Import, ast.ImportFrom))
                for name in [getattr(node, "module", None) or node.names[0].name]
            }
            assert not imported & {
                "hepbench",
                "hepbench_models",
                *(p.stem for p in BENCHMARKS.glob("*.py")),
            }
