"""Files that specs declare, since C code opens them: a change of one runs its cells again."""

from __future__ import annotations

import re

import pytest

from hepbench import Metric, Model, Original, PluginError, Split, View

HOOKS = """
from hepbench import (Dataset, File, Input, Method, Metric, Model, Original, Split, View, hookimpl)

@hookimpl
def hepbench_datasets():
    return [Dataset(
        name="points", summary="", classes=("background", "signal"),
        inputs={"table": Input(shape=(1,))},
        original=Original("pack.parts:read", files=(File(name="rows.txt"),), side_files=("pack:read.bin",)),
        split=Split(official="pack.parts:official", files=("pack:split.bin",)),
        views={"table": View("pack.parts:view", files=("pack:view.bin",))})]

@hookimpl
def hepbench_models():
    return [Model(name="line", summary="", inputs=("table",), build="pack.parts:Line",
                  offers=frozenset({"estimate"}), files=("pack:model.bin",))]

@hookimpl
def hepbench_methods():
    return [Method(name="fit", summary="", run="pack.parts:fit", needs=frozenset({"estimate"}),
                   files=("pack:method.bin",))]

@hookimpl
def hepbench_metrics():
    return [Metric(name="number", compute="pack.parts:number", higher_is_better=True,
                   files=("pack:metric.bin",))]
"""
PARTS = """
import ctypes
from pathlib import Path
import numpy as np
from hepbench import Examples

LIBC = ctypes.CDLL(None)

def slope(kind):
    text = ctypes.create_string_buffer(20)
    opened = LIBC.open(str(Path(__file__).with_name(f"{kind}.bin")).encode(), 0)
    LIBC.read(opened, text, 20)
    LIBC.close(opened)
    return float(text.value)

def read(folder):
    x = slope("read") * np.random.default_rng(3).normal(size=(300, 1)).astype(np.float32)
    yield "labelled", Examples(inputs={"table": x}, ids=np.arange(300),
                               labels=(x[:, 0] > 0.2).astype(int))

def official(ids):
    return np.argsort(np.argsort(slope("split") * ids)) < 60

def view(inputs):
    return {"table": slope("view") * inputs["table"]}

class Line:
    def __init__(self, shapes):
        self.slope = slope("model")

    def fit(self, data, *, seed):
        pass

    def scores(self, inputs):
        signal = 1 / (1 + np.exp(-self.slope * inputs["table"][:, 0].astype(float)))
        return np.stack([1 - signal, signal], 1)

def fit(start, data, context):
    start.slope *= slope("method")
    return start

def number(predictions):
    return slope("metric")
"""
SUITE = """
name = "s"
cost = false
[[run]]
datasets = ["points"]
models = ["line"]
methods = ["fit"]
"""
KINDS = ("read", "split", "view", "model", "method", "metric")
FIELDS = re.compile(r'(side_)?files=\("pack:[^)]*\)')


@pytest.fixture
def pack(bench):
    """Return a workbench with a plugin whose functions each read a number in C."""
    bench.write("site/pack/__init__.py", HOOKS)
    bench.write("site/pack/parts.py", PARTS)
    for kind in KINDS:
        bench.write(f"site/pack/{kind}.bin", "1")
    bench.write(
        "site/pack-0.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: pack\nVersion: 0.1\n"
    )
    bench.write("site/pack-0.1.dist-info/entry_points.txt", "[hepbench]\npack = pack\n")
    bench.write("s.toml", SUITE)
    bench.write("data/points/rows.txt", "")
    return bench


def run(bench):
    """Run the suite, and return how many cells ran."""
    done = bench("run", "s.toml", "--data", "data")
    assert done.code == 0, done.err
    return int(done.out.partition(" cached, ")[2].partition(" ")[0])


def result(bench):
    """Return what every number that is read affects."""
    record = bench.records()["points/line/fit#0"]
    values = {name: value.value for name, value in record.metrics.items()}
    return values, record.data.contents, record.data.split_hash


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_declared_file_runs_its_cells_again(pack, kind):
    """Whichever spec declares it; why names it by its package."""
    assert (run(pack), run(pack)) == (1, 0)
    before = result(pack)
    (pack.site / f"pack/{kind}.bin").write_text("-1")
    why = pack("why", "points/line/fit#0", "--suite", "s.toml", "--data", "data").out
    assert f"  pack/{kind}.bin: " in why
    assert run(pack) == 1
    assert result(pack) != before
    assert run(pack) == 0


def test_without_a_declaration_nobody_sees_what_c_opens(pack):
    """A declaration that is added later runs the cells again: their contents were never recorded."""
    hooks = pack.site / "pack/__init__.py"
    hooks.write_text(FIELDS.sub("", HOOKS))
    assert run(pack) == 1
    for kind in KINDS:
        (pack.site / f"pack/{kind}.bin").write_text("-1")
    assert run(pack) == 0
    hooks.write_text(HOOKS)
    assert run(pack) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_declared_file_is_one_line(pack, kind):
    """It says which spec declares it; nothing runs."""
    (pack.site / f"pack/{kind}.bin").unlink()
    done = pack("run", "s.toml", "--data", "data")
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert line.endswith(f": the declared file 'pack:{kind}.bin' is missing")


def test_a_declared_file_that_changes_while_a_stage_runs_fails_it(pack):
    """One line says which, exit code 2; the next run does it again."""
    parts = pack.site / "pack/parts.py"
    edit = 'slope("method")\n    Path(__file__).with_name("model.bin").write_text("-1")\n'
    parts.write_text(PARTS.replace('slope("method")\n', edit))
    done = pack("run", "s.toml", "--data", "data")
    assert done.code == 2
    assert "pack/model.bin was changed since the run began; run again" in done.err


def test_an_absolute_path_may_be_declared(pack):
    """Such as one that the plugin takes from a variable when it is imported."""
    outside = pack.write("outside.bin", "1")
    hooks = HOOKS.replace('"pack:model.bin"', repr(str(outside)))
    (pack.site / "pack/__init__.py").write_text(hooks)
    assert (run(pack), run(pack)) == (1, 0)
    outside.write_text("-1")
    assert run(pack) == 1


@pytest.mark.parametrize("files", ["pack:table.h5", ("table.h5",), ("pack:/table.h5",), (3,), None])
def test_other_declarations_are_refused(files):
    """Each spec says what it expects."""
    required = {"name": "m", "summary": ""}
    for make in (
        lambda: Model(inputs=("table",), build="m:m", files=files, **required),
        lambda: Metric(compute="m:m", higher_is_better=True, files=files, **required),
        lambda: Original("m:m", side_files=files),
        lambda: Split(files=files),
        lambda: View("m:m", files=files),
    ):
        with pytest.raises(PluginError, match="'package:path' or absolute paths"):
            make()
