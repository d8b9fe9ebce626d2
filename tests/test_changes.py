"""Cells that run again after a change, and the answer of 'hepbench why'."""

from __future__ import annotations

import os
import time

import pytest

PLUGIN = '''
"""A dataset from a file, and a model whose helper is a module of its own."""
from pathlib import Path
import numpy as np
from hepbench import Dataset, Examples, File, Input, Method, Model, Original, Sample, hookimpl

def read(folder):
    table = np.loadtxt(Path(folder) / "points.txt", dtype=np.float32)
    yield "labelled", Examples(inputs={"table": table[:, 1:]}, ids=np.arange(len(table)),
                               labels=table[:, 0].astype(int))

@hookimpl
def hepbench_datasets():
    kinds = {"classes": ("background", "signal"), "inputs": {"table": Input(shape=(1,))}}
    return [Dataset(name="points", summary="", original=Original("plug:read", files=(File(name="points.txt"),)), **kinds),
            Dataset(name="others", summary="", sample=Sample("plug_data:sample"), **kinds)]

@hookimpl
def hepbench_models():
    kinds = {"inputs": ("table",), "offers": frozenset({"estimate"}), "summary": ""}
    return [Model(name="one", build="plug_one:build", params={"slope": 1.0}, **kinds),
            Model(name="two", build="plug_two:build", **kinds)]

@hookimpl
def hepbench_methods():
    return [Method(name="fit", summary="", run="plug_fit:fit", needs=frozenset({"estimate"}))]
'''
MODULES = {
    "plug_data": """
import numpy as np
from hepbench import Examples

def sample():
    x = np.random.default_rng(3).normal(size=(300, 1)).astype(np.float32)
    yield "labelled", Examples(inputs={"table": x}, ids=np.arange(300), labels=(x[:, 0] > 0.2).astype(int))

def other():
    yield from sample()
""",
    "plug_fit": """
def fit(start, data, work):
    start.fit(data, seed=work.seed)
    return start

def again(start, data, work):
    return fit(start, data, work)
""",
    "plug_one": """
import numpy as np
from plug_helper import squash

class One:
    def __init__(self, slope):
        self.slope = slope

    def fit(self, data, *, seed):
        self.seed = seed

    def scores(self, inputs):
        signal = squash(self.slope * inputs["table"][:, 0].astype(float))
        return np.stack([1 - signal, signal], 1)

def build(shapes, *, slope):
    return One(slope)
""",
    "plug_two": """
from plug_one import One

def build(shapes):
    return One(2.0)

def steeper(shapes):
    return One(3.0)
""",
    "plug_helper": """
import numpy as np

def squash(x):
    return 1 / (1 + np.exp(-x))
""",
}
SUITE = """
name = "grid"
cost = false
[[run]]
datasets = ["points", "others"]
models = ["one", "two"]
methods = ["fit"]
"""


@pytest.fixture
def grid(bench):
    """Return a workbench where a suite of two datasets and two models has been run."""
    bench.plugin(PLUGIN, "plug")
    for name, source in MODULES.items():
        (bench.site / f"{name}.py").write_text(source)
    rows = [f"{i % 2} {(i * 37 % 100) / 50 - 1 + i % 2}" for i in range(300)]
    bench.write("data/points/points.txt", "\n".join(rows))
    bench.write("grid.toml", SUITE)
    assert bench("run", "grid.toml", "--data", "data").code == 0
    # an entry is remembered by its times once they are older than the clock's grain
    past = time.time() - 100
    for path in [*bench.site.glob("*.py"), bench.folder / "data/points/points.txt"]:
        os.utime(path, (past, past))
    return bench


def to_do(bench, *options):
    """Return the cells that a run would compute."""
    done = bench("plan", "grid.toml", "--data", "data", *options)
    assert done.code == 0, done.err
    lines = [line.split() for line in done.out.splitlines() if "to do" in line]
    return sorted(line[0] for line in lines)


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_without_a_change_nothing_runs(grid):
    """The same files, sources and parameters give the same keys."""
    assert to_do(grid) == []
    assert "nothing changed" in grid("why", "points/one/fit#0",
                                     "--data", "data").out  # fmt: skip


def test_a_changed_data_file_affects_its_dataset_only(grid):
    """One changed digit runs the cells of the dataset again; why names the file's digest."""
    change(grid.folder / "data/points/points.txt", "0 -1.0", "0 -0.9")
    assert to_do(grid) == ["points/one/fit#0", "points/two/fit#0"]
    why = grid("why", "points/one/fit#0", "--data", "data")
    assert why.code == 0
    assert "read.fingerprint" in why.out
    assert "1 part of its key" in why.out


def test_a_changed_helper_module_affects_all_its_importers(grid):
    """Both models use it, one through the other; why names the module."""
    change(grid.site / "plug_helper.py", "-x", "-2 * x")
    assert len(to_do(grid)) == 4
    why = grid("why", "others/two/fit#0", "--data", "data")
    assert "model_code.plug_helper" in why.out


def test_a_changed_module_affects_only_its_users(grid):
    """No other model uses the second model's module."""
    change(grid.site / "plug_two.py", "2.0", "3.0")
    assert to_do(grid) == ["others/two/fit#0", "points/two/fit#0"]


@pytest.mark.parametrize(
    ("part", "old", "new", "cells"),
    [
        ("build", "plug_two:build", "plug_two:steeper", ["others/two/fit#0"]),
        ("run", "plug_fit:fit", "plug_fit:again", ["others/one/fit#0", "others/two/fit#0"]),
        ("reader", "plug_data:sample", "plug_data:other", ["others/one/fit#0", "others/two/fit#0"]),
    ],
)
def test_another_function_of_the_same_module_changes_the_key(grid, part, old, new, cells):
    """The function that builds, trains or reads is part of a key, not only its module."""
    change(grid.site / "plug.py", old, new)
    assert to_do(grid, "--dataset", "others") == cells
    why = grid("why", "others/two/fit#0", "--data", "data")
    assert f"{part}: {old} -> {new}" in why.out


def test_a_changed_sample_generator_affects_its_dataset(grid):
    """Without files, the data follow from the code."""
    change(grid.site / "plug_data.py", "> 0.2", "> 0.3")
    assert to_do(grid) == ["others/one/fit#0", "others/two/fit#0"]


def test_a_changed_parameter_affects_its_model(grid):
    """why names the parameter, its old value and its new one."""
    assert to_do(grid, "--set", "model.slope=2.0") == [
        "others/one[slope=2.0]/fit#0",
        "points/one[slope=2.0]/fit#0",
    ]
    why = grid("why", "points/one/fit#0", "--data", "data",
               "--set", "model.slope=2.0")  # fmt: skip
    assert "model_params.slope: 1.0 -> 2.0" in why.out


def test_comments_docstrings_and_layout_change_no_key(grid):
    """Neither does the module that holds the hooks."""
    for path in grid.site.glob("plug*.py"):
        text = path.read_text().replace("(", "(  # a comment\n", 1)
        path.write_text(f'"""Another docstring."""\n\n\n{text}\n# the end\n')
    change(grid.site / "plug_fit.py", "work):\n", 'work):\n    """Fit."""\n')
    assert to_do(grid) == []


def test_only_changed_cells_run(grid):
    """A run computes what plan announced, and its table shows all cells."""
    change(grid.site / "plug_two.py", "2.0", "3.0")
    done = grid("run", "grid.toml", "--data", "data")
    assert done.code == 0
    assert "4 cells: 2 cached, 2 done, 0 failed." in done.out


SQUASH = """
import numpy as np

def squash(x):
    return 1 / (1 + np.exp(-SLOPE * x))
"""
CONSTANTS = {
    "from plug import": f"from plug import SLOPE\n{SQUASH}",
    "import plug": f"import plug\n{SQUASH}".replace("SLOPE", "plug.SLOPE"),
    "from plug import *": f"from plug import *\n{SQUASH}",
    "through another module": f"from plug_between import value\n{SQUASH}".replace(
        "SLOPE", "value()"
    ),
}


@pytest.mark.parametrize("how", CONSTANTS)
def test_a_constant_of_the_hooks_module_affects_its_users(grid, how):
    """So does what the constant is computed from; why names the constant."""
    hooks = grid.site / "plug.py"
    hooks.write_text(
        f"{hooks.read_text()}\nBASE = {{}}\nBASE['slope'] = 1.0\nSLOPE = BASE['slope']\n"
    )
    (grid.site / "plug_helper.py").write_text(CONSTANTS[how])
    between = "from plug import SLOPE\n\ndef value():\n    return SLOPE\n"
    (grid.site / "plug_between.py").write_text(between)
    assert grid("run", "grid.toml", "--data", "data").code == 0
    change(hooks, "= 1.0\n", "= 2.0\n")
    assert len(to_do(grid)) == 4
    assert "model_code.plug:" in grid("why", "others/one/fit#0", "--data", "data").out


def test_other_statements_of_the_hooks_module_affect_nobody(grid):
    """A model's new summary, or another constant, changes no key."""
    hooks = grid.site / "plug.py"
    hooks.write_text(f"{hooks.read_text()}\nSLOPE = 1.0\nOTHER = 1.0\n")
    (grid.site / "plug_helper.py").write_text(CONSTANTS["from plug import"])
    assert grid("run", "grid.toml", "--data", "data").code == 0
    change(hooks, "OTHER = 1.0", "OTHER = 2.0")
    assert to_do(grid, "--dataset", "others") == []
    change(hooks, '"summary": ""}', '"summary": "new"}')
    assert to_do(grid, "--dataset", "others") == []
