"""Cells that are run again: 'hepbench verify --rerun', and 'hepbench run --fresh'."""

from __future__ import annotations

import json

import pytest

PLUGIN = '''
"""A dataset, a model that depends on its inputs alone, and one that depends on the time."""
import time
import numpy as np
from hepbench import Dataset, Examples, Input, Method, Model, Sample, hookimpl

def sample():
    x = np.random.default_rng(3).normal(size=(300, 1)).astype(np.float32)
    yield "labelled", Examples(inputs={"table": x}, ids=np.arange(300), labels=(x[:, 0] > 0.2).astype(int))

class Steady:
    def __init__(self, shapes):
        self.shift = 0.0

    def fit(self, data, *, seed):
        pass

    def scores(self, inputs):
        shifted = inputs["table"][:, 0].astype(float) * np.cos(self.shift)
        signal = 1 / (1 + np.exp(-shifted))
        return np.stack([1 - signal, signal], 1)

class Clock(Steady):
    def fit(self, data, *, seed):
        self.shift = time.time_ns() % 1_000_003

def fit(start, data, work):
    start.fit(data, seed=work.seed)
    return start

@hookimpl
def hepbench_datasets():
    return [Dataset(name="points", summary="", classes=("background", "signal"),
                    inputs={"table": Input(shape=(1,))}, sample=Sample("plug:sample"))]

@hookimpl
def hepbench_models():
    kinds = {"inputs": ("table",), "offers": frozenset({"estimate"}), "summary": ""}
    return [Model(name="steady", build="plug:Steady", **kinds),
            Model(name="clock", build="plug:Clock", **kinds)]

@hookimpl
def hepbench_methods():
    return [Method(name="fit", summary="", run="plug:fit", needs=frozenset({"estimate"}))]
'''
SUITE = """
name = "times"
seeds = 2
cost = false
[[run]]
datasets = ["points"]
models = ["steady", "clock"]
methods = ["fit"]
"""


@pytest.fixture
def times(bench):
    """Return a workbench where both models have been run."""
    bench.plugin(PLUGIN, "plug")
    bench.write("times.toml", SUITE)
    assert bench("run", "times.toml").code == 0
    return bench


def records(bench):
    """Return the stored records by cell."""
    found = map(json.loads, (p.read_bytes() for p in bench.folder.glob("results/times/*.json")))
    return {f"{r['model']}#{r['seed']}": r for r in found}


def test_a_cell_that_gives_the_same_result_is_confirmed(times):
    """By the beginning of its key, from an empty cache; no record changes."""
    before = records(times)
    done = times("verify", "--cell", before["steady#1"]["key"][:8])
    assert done.code == 0
    assert "points/steady/fit#1" in done.out
    assert done.out.endswith("the same when run again\n")
    assert records(times) == before


@pytest.mark.parametrize("results", ["results", "results/times"])
def test_a_cell_that_gives_another_result_is_marked(times, results):
    """The line, the record and the table name a metric; the values in the record stay."""
    before = records(times)["clock#0"]
    done = times("verify", results, "--cell", "points/clock/fit#0")
    assert done.code == 1
    assert "differs when run again: metrics." in done.out
    after = records(times)["clock#0"]
    assert after["metrics"] == before["metrics"]
    (warning,) = [text for text in after["warnings"] if text.startswith("not reproducible: ")]
    assert "run again with the same key, metrics." in warning
    assert "not reproducible: run again" in times("table").out


def test_drawn_cells_are_run_again(times):
    """All of them where more are asked for than there are; a failing cell fails the command."""
    done = times("verify", "--rerun", "9")
    assert done.code == 1
    assert done.out.count("the same when run again") == 2
    assert done.out.count("differs when run again") == 2


def test_a_cell_whose_code_has_changed_cannot_be_run_again(times):
    """Its key differs: a new result would not say anything about the old one."""
    path = times.site / "plug.py"
    path.write_text(path.read_text().replace("np.exp(-shifted)", "np.exp(-2 * shifted)"))
    done = times("verify", "--cell", "points/steady/fit#0")
    assert done.code == 1
    assert "not run again: its key or what it used has changed" in done.out


def test_an_unknown_cell_is_refused(times):
    """In one line that names the cells."""
    done = times("verify", "--cell", "points/stedy/fit#0")
    assert done.code == 2
    assert "no cell named 'points/stedy/fit#0'" in done.err


def test_a_fresh_run_is_compared_with_the_record_that_it_replaces(times):
    """Only the model that depends on the time is marked, and keeps its mark."""
    assert times("run", "times.toml", "--fresh").code == 0
    marks = {cell: str(record["warnings"]) for cell, record in records(times).items()}
    assert all(("not reproducible" in marks[cell]) == ("clock" in cell) for cell in marks)
    assert times("run", "times.toml", "--fresh", "-m", "clock").code == 0
    again = records(times)["clock#0"]["warnings"]
    assert sum(text.startswith("not reproducible") for text in again) == 1


def test_a_run_with_more_seeds_shows_one_row_for_each_model(times):
    """Records of this run and of an earlier one differ in nothing but the seed."""
    assert times("run", "times.toml", "--seeds", "1", "--results", "other").code == 0
    done = times("run", "times.toml", "--seeds", "2", "--results", "other")
    assert done.out.count("\nsteady ") == 1
    assert "changed since" not in done.out
