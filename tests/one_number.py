"""A plugin package whose scores depend on one number, ``pack.slope.slope()``, and runs with it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from conftest import Workbench

HOOKS = """
from hepbench import Dataset, Examples, Input, Method, Model, Sample, hookimpl

SLOPE = 1.0

@hookimpl
def hepbench_datasets():
    return [Dataset(name="points", summary="", classes=("background", "signal"),
                    inputs={"table": Input(shape=(1,))}, sample=Sample("pack.parts:sample"))]

@hookimpl
def hepbench_models():
    return [Model(name="line", summary="", inputs=("table",), build="pack.parts:Line",
                  offers=frozenset({"estimate"}))]

@hookimpl
def hepbench_methods():
    return [Method(name="fit", summary="", run="pack.parts:fit", needs=frozenset({"estimate"}))]
"""
PARTS = """
import numpy as np
from hepbench import Examples
from pack.slope import slope

def sample():
    x = np.random.default_rng(3).normal(size=(300, 1)).astype(np.float32)
    yield "labelled", Examples(inputs={"table": x}, ids=np.arange(300),
                               labels=(x[:, 0] > 0.2).astype(int))

class Line:
    def __init__(self, shapes):
        self.slope = float(slope())

    def fit(self, data, *, seed):
        pass

    def scores(self, inputs):
        signal = 1 / (1 + np.exp(-self.slope * inputs["table"][:, 0].astype(float)))
        return np.stack([1 - signal, signal], 1)

def fit(start, data, context):
    start.fit(data, seed=context.seed)
    return start
"""
SUITE = """
name = "s"
cost = false
[[run]]
datasets = ["points"]
models = ["line"]
methods = ["fit"]
"""
INFO = "Metadata-Version: 2.1\nName: pack\nVersion: 0.1\n"


def install(bench: Workbench) -> Workbench:
    """Make the plugin importable, and two more folders, of which one is like a site-packages."""
    for name, text in {"__init__": HOOKS, "parts": PARTS}.items():
        bench.write(f"site/pack/{name}.py", text)
    bench.write("site/pack-0.1.dist-info/METADATA", INFO)
    bench.write("site/pack-0.1.dist-info/entry_points.txt", "[hepbench]\npack = pack\n")
    bench.write("s.toml", SUITE)
    bench.write("other/between.py", "import hidden\n")
    folders = ("other", "conda/site-packages")
    path = os.pathsep.join([str(bench.folder / "site"), *(str(bench.folder / f) for f in folders)])
    bench.environment["PYTHONPATH"] = os.pathsep.join([path, os.environ.get("PYTHONPATH", "")])
    return bench


def run(bench: Workbench, *options: Any) -> int:
    """Run the suite, and return how many cells ran."""
    done = bench("run", "s.toml", *options)
    assert done.code == 0, done.err
    return int(done.out.partition(" cached, ")[2].partition(" ")[0])


def auc(bench: Workbench) -> float:
    """Return the AUC of the only cell."""
    return bench.records()["points/line/fit#0"].metrics["auc"].value


def run_twice_and_change(bench: Workbench, change: Callable[[], object]) -> None:
    """Check that a change of the sign of the slope is noticed, and nothing before it."""
    assert (run(bench), run(bench)) == (1, 0)
    before = auc(bench)
    change()
    assert run(bench) == 1
    assert auc(bench) == pytest.approx(1 - before)
