"""The pytest plugin: a suite's cells as tests, against a baseline, and the fixture that runs a suite."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SUITE = """
name = "two"
seeds = 3
cost = false

[[run]]
datasets = ["toy[n=2000]"]
models = ["line", "line[does='raise']"]
methods = ["fit"]
"""


@pytest.fixture
def run_pytest(toys):
    """Return a function that runs pytest in the workbench's folder and returns code and output."""

    def run(*arguments):
        plugin = ("-m", "pytest", "-p", "no:cacheprovider", "-rA")
        # it is not a part of the pytest that runs this
        own = {n: x for n, x in toys.variables().items() if not n.startswith("PYTEST_")}
        done = subprocess.run(
            [sys.executable, "-P", *plugin, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=toys.folder,
            env=own,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_each_cell_is_a_test_and_a_failed_cell_fails_with_its_error(toys, run_pytest):
    """All seeds of dataset, model and chain are one; a second run has nothing to compute."""
    toys.write("two.toml", SUITE)
    for _ in range(2):
        code, text = run_pytest("--hepbench", "two.toml")
        assert code == 1
        assert "PASSED two.toml::toy[n=2000]/line/fit" in text
        assert "FAILED two.toml::toy[n=2000]/line[does=raise]/fit" in text
        assert "told to raise" in text
    code, text = run_pytest("--hepbench", "two.toml", "-k", "not raise")
    assert (code, "1 passed, 1 deselected" in text) == (0, True)


def test_a_cell_that_is_worse_than_the_baseline_fails_its_test(toys, run_pytest):
    """The suite's own gate decides."""
    suite = SUITE.replace(""", "line[does='raise']\"""", "") + "[gate]\nauc = { max_loss = 0.05 }\n"
    toys.write("two.toml", suite)
    assert toys("run", "two.toml", "--results", "base").code == 0
    code, text = run_pytest("--hepbench", "two.toml", "--hepbench-baseline", "base")
    assert (code, "1 passed" in text) == (0, True)
    # the same label, because a preset's settings are not shown
    toys.write("two.toml", suite + "[presets.quick.model]\nslope = -1.0\n")
    code, text = run_pytest("--hepbench", "two.toml", "--hepbench-baseline", "base")
    assert code == 1
    assert "auc: " in text
    assert "0.05 is allowed" in text


def test_costs_are_timed_by_pytest_benchmark_too(toys, run_pytest):
    """One test more for each cell that has an ONNX graph; a model without one is skipped."""
    models = SUITE.replace("""["line", "line[does='raise']"]""", '["line", "logistic"]')
    suite = models.replace("cost = false", "cost = true").replace("seeds = 3", "seeds = 1")
    toys.write("two.toml", suite.replace('["fit"]', '["fit", "scratch"]'))
    code, text = run_pytest("--hepbench", "two.toml", "--benchmark-json", "times.json")
    assert code == 0, text
    assert "PASSED two.toml::toy[n=2000]/logistic/scratch::latency" in text
    assert "SKIPPED" in text
    timed = json.loads((toys.folder / "times.json").read_text())["benchmarks"]
    assert "toy[n=2000]/logistic/scratch::latency" in {each["name"] for each in timed}
    assert all(each["stats"]["median"] > 0 for each in timed)


def test_a_suite_that_cannot_be_planned_is_an_error_in_one_line(toys, run_pytest):
    """Unknown suites are usage errors, as unknown files are."""
    code, text = run_pytest("--hepbench", "nosuch")
    assert (code, "no suite named 'nosuch'" in text) == (4, True)
    toys.write("two.toml", SUITE.replace('"line"', '"lime"'))
    code, text = run_pytest("--hepbench", "two.toml")
    assert code == 2
    assert "no model named 'lime'" in text


def test_a_fixture_runs_a_suite_in_any_test(toys, run_pytest):
    """Its records are in the test's own folder."""
    toys.write("two.toml", SUITE)
    toys.write(
        "test_own.py",
        """
def test_own(hepbench_run):
    done = hepbench_run("two.toml", "--seeds", "1")
    assert done.code == 1, done.text
    assert sorted(record.status for record in done.records) == ["failed", "ok"]
    assert hepbench_run("nosuch").code == 2
""",
    )
    code, text = run_pytest("test_own.py")
    assert (code, "1 passed" in text) == (0, True), text
