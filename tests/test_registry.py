"""Plugins are found through entry points; broken, clashing and disabled ones are reported."""

from __future__ import annotations

from pathlib import Path

TOYS = Path(__file__).parent / "plugins" / "toys.py"
SUITE = """
name = "two"
cost = false
[[run]]
datasets = ["toy"]
models = ["line"]
methods = ["fit"]
"""
METRIC = """
from hepbench import Metric, hookimpl

def share(predictions):
    return float((predictions.labels == 1).mean())

@hookimpl
def hepbench_metrics():
    return [Metric(name="share", compute="{name}:share", higher_is_better=True)]
"""


def works_without(bench, name, *words):
    """Assert that a broken plugin is reported with the reason, and that all others work."""
    listed = bench("list", "plugins")
    assert listed.code == 0
    (line,) = [line for line in listed.out.splitlines() if line.split()[:1] == [name]]
    assert f"({name})" in line
    for word in words:
        assert word in line
    doctor = bench("doctor")
    assert doctor.code == 1
    assert f"problem: {name}: " in doctor.out
    bench.write("two.toml", SUITE)
    assert bench("run", "two.toml").code == 0


def test_ten_lines_of_python_and_an_entry_point_are_a_plugin(toys):
    """A third-party metric is computed and shown like any other."""
    toys.plugin(METRIC.format(name="mine"), "mine")
    toys.write("two.toml", SUITE)
    assert toys("run", "two.toml").code == 0
    value = toys.records()["toy/line/fit#0"].metrics["share"].value
    assert 0.4 < value < 0.6
    assert "share" in toys("table", "--columns", "auc,share").out


def test_a_plugin_that_cannot_be_imported_is_reported(toys):
    """Its distribution and the reason are listed; all others work."""
    toys.plugin("import nowhere_to_be_found\n", "broken")
    works_without(toys, "broken", "No module named 'nowhere_to_be_found'")


def test_a_plugin_that_exits_on_import_is_reported(toys):
    """sys.exit in a module must not end hepbench."""
    toys.plugin("import sys\nsys.exit(0)\n", "leaver")
    works_without(toys, "leaver", "SystemExit")


def test_a_misspelt_hook_is_reported_with_a_suggestion(toys):
    """pluggy alone would ignore it."""
    toys.plugin(METRIC.format(name="typo").replace("hepbench_metrics", "hepbench_metric"), "typo")
    works_without(toys, "typo", "hepbench_metric", "Did you mean 'hepbench_metrics'?")


def test_a_hook_that_is_not_marked_is_reported(toys):
    """Without @hookimpl it would never be called."""
    toys.plugin(METRIC.format(name="bare").replace("@hookimpl", ""), "bare")
    works_without(toys, "bare", "@hookimpl")


def test_a_hook_with_a_wrong_return_value_is_reported(toys):
    """The message says what is expected."""
    source = METRIC.format(name="wrong").replace("return [Metric(", "return [dict(")
    toys.plugin(source, "wrong")
    works_without(toys, "wrong", "a list of Metric is expected")


def test_a_clash_stops_run_and_plan_but_not_list(toys):
    """The message names both distributions, and how to disable one."""
    toys.plugin(TOYS.read_text(), "others")
    toys.write("two.toml", SUITE)
    listed = toys("list")
    assert listed.code == 0
    assert "clash: dataset 'toy' comes from others 0.1 and toys 0.1" in listed.out
    for verb in ("run", "plan"):
        done = toys(verb, "two.toml")
        assert done.code == 2
        assert "others 0.1 and toys 0.1" in done.err
    toys.environment["HEPBENCH_DISABLE"] = "others"
    assert toys("run", "two.toml").code == 0


def test_a_disabled_plugin_is_not_loaded(toys):
    """HEPBENCH_DISABLE takes names of plugins or distributions, separated by commas."""
    toys.environment["HEPBENCH_DISABLE"] = "nothing, toys"
    listed = toys("list")
    assert "disabled by HEPBENCH_DISABLE" in listed.out
    assert "two Gaussian numbers" not in listed.out
    toys.write("two.toml", SUITE)
    done = toys("run", "two.toml")
    assert done.code == 2
    assert "no dataset named 'toy'" in done.err
    assert "disabled" in done.err


OBSERVER = """
from pathlib import Path
from hepbench import hookimpl

def tell(text):
    with Path("seen.txt").open("a") as file:
        file.write(text + chr(10))

@hookimpl
def hepbench_run_started(run):
    tell(f"started {run.suite} {run.cells}")

@hookimpl
def hepbench_cell_finished(record):
    tell(f"{record.cell} {record.status}")
    raise RuntimeError("an observer breaks")

@hookimpl
def hepbench_run_finished(run):
    tell(f"finished {run.failed}")
"""


def test_observers_see_a_run_and_cannot_break_it(toys):
    """They are called at the start, for every cell and at the end; an exception is one line."""
    toys.plugin(OBSERVER, "watcher")
    toys.write("two.toml", SUITE)
    done = toys("run", "two.toml")
    assert done.code == 0
    assert "RuntimeError: an observer breaks" in done.err
    seen = (toys.folder / "seen.txt").read_text().splitlines()
    assert seen == ["started two 1", "toy/line/fit#0 ok", "finished 0"]
