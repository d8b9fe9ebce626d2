"""What a stage used: a cell runs again after a change of it, and only then."""

from __future__ import annotations

import os
import shutil
import sys
import zipfile

import pytest

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
READ_SIDE = "from pathlib import Path\ndef slope(): return Path('{side}').read_text()\n"
DYNAMIC = "import importlib\ndef slope(): return importlib.import_module('{name}').SLOPE\n"
PACKAGED = """
from importlib.resources import files

def slope():
    return (files('pack') / 'slope.txt').read_text()
"""
EXECUTED = """
from pathlib import Path

def slope():
    names = {}
    exec(Path('{side}').read_text(), names)
    return names['SLOPE']
"""
CASES = {
    "a module imported by name": (
        DYNAMIC.format(name="pack.hidden"),
        "site/pack/hidden.py",
        "SLOPE = {value}\n",
    ),
    "a module imported by an imported module": (
        "import importlib\ndef slope(): return importlib.import_module('between').hidden.SLOPE\n",
        "other/hidden.py",
        "SLOPE = {value}\n",
    ),
    "package data": (
        PACKAGED,
        "site/pack/slope.txt",
        "{value}",
    ),
    "a file beside the suite": (READ_SIDE, "slope.yaml", "{value}"),
    "a file that is executed": (
        EXECUTED,
        "elsewhere/run.py",
        "SLOPE = {value}\n",
    ),
    "an editable distribution": (
        DYNAMIC.format(name="edited"),
        "other/edited.py",
        "SLOPE = {value}\n",
    ),
    "a library in a second site-packages": (
        DYNAMIC.format(name="alone"),
        "conda/site-packages/alone.py",
        "SLOPE = {value}\n",
    ),
}


@pytest.fixture
def pack(bench):
    """Return a workbench with the plugin package ``pack``, whose one number is ``pack.slope``."""
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


def run(bench, *options):
    """Run the suite, and return how many cells ran."""
    done = bench("run", "s.toml", *options)
    assert done.code == 0, done.err
    return int(done.out.partition(" cached, ")[2].partition(" ")[0])


def auc(bench):
    """Return the AUC of the only cell."""
    return bench.records()["points/line/fit#0"].metrics["auc"].value


def run_twice_and_change(bench, change):
    """Check that a change of the sign of the slope is noticed, and nothing before it."""
    assert (run(bench), run(bench)) == (1, 0)
    before = auc(bench)
    change()
    assert run(bench) == 1
    assert auc(bench) == pytest.approx(1 - before)


@pytest.mark.parametrize("case", CASES)
def test_a_changed_file_runs_its_cells_again(pack, case):
    """However the file was found and read; why names it, and plan announces its stages."""
    source, side, text = CASES[case]
    path = pack.write(side, text.format(value=1))
    pack.write("site/pack/slope.py", source.replace("{side}", str(path)))

    def change():
        path.write_text(text.format(value=-1))
        assert path.name in pack("why", "points/line/fit#0", "--suite", "s.toml").out
        plan = pack("plan", "s.toml").out.splitlines()
        assert [line.split()[:2] for line in plan if "to run, for" in line] == [["fit", "line"]]

    run_twice_and_change(pack, change)


def test_a_changed_variable_runs_its_cells_again(pack):
    """A copy of the whole environment, as for a child process, depends on no variable."""
    pack.write(
        "site/pack/slope.py",
        "import os\ndef slope():\n    dict(os.environ)\n    return os.environ.get('SLOPE', 1)\n",
    )

    def change():
        pack.environment |= {"OTHER": "2"}
        assert run(pack) == 0
        pack.environment |= {"SLOPE": "-1"}
        assert "variable SLOPE" in pack("why", "points/line/fit#0", "--suite", "s.toml").out

    run_twice_and_change(pack, change)


def test_another_version_of_a_library_runs_its_cells_again(pack):
    """A library is known by its version; why names both."""
    pack.write("site/pack/slope.py", "def slope():\n    import libone\n    return libone.SLOPE\n")
    library = pack.write("conda/site-packages/libone.py", "SLOPE = 1\n")
    info = pack.write(
        "conda/site-packages/libone-1.dist-info/METADATA",
        "Metadata-Version: 2.1\nName: libone\nVersion: 1\n",
    )

    def change():
        library.write_text("SLOPE = -1\n")
        info.write_text(info.read_text().replace("Version: 1\n", "Version: 2\n"))
        assert "libone: 1 -> 2" in pack("why", "points/line/fit#0", "--suite", "s.toml").out

    run_twice_and_change(pack, change)


def test_a_plugin_behind_a_link_is_followed(pack):
    """Its files count under the names of the package."""
    (pack.folder / "site/pack").rename(pack.folder / "real")
    (pack.folder / "site/pack").symlink_to(pack.folder / "real")
    pack.write(
        "real/slope.py",
        "from pathlib import Path\n"
        "def slope(): return (Path(__file__).resolve().parent / 'slope.txt').read_text()\n",
    )
    path = pack.write("real/slope.txt", "1")
    run_twice_and_change(pack, lambda: path.write_text("-1"))
    used = pack.records()["points/line/fit#0"].used["fit line"]
    assert "pack/slope.txt" in used.files


def test_a_zipped_plugin_is_followed(pack):
    """The archive counts as a whole."""
    folder, archive = pack.folder / "site", pack.folder / "pack.zip"

    def build(value):
        (folder / "pack/slope.py").write_text(f"def slope(): return {value}\n")
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(folder.rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    file.write(path, path.relative_to(folder))

    build(1)
    path = pack.environment["PYTHONPATH"]
    pack.environment["PYTHONPATH"] = path.replace(str(folder), str(archive))
    pack.site.rename(pack.folder / "unused")
    folder = pack.folder / "unused"
    run_twice_and_change(pack, lambda: build(-1))


def test_what_changes_no_content_runs_nothing_again(pack):
    """Times, comments, bytecode, the number of jobs, another folder, a moved package and cache."""
    source = pack.write("site/pack/slope.py", PACKAGED)
    data = pack.write("site/pack/slope.txt", "1")
    assert run(pack, "--jobs", "2") == 1
    for path in (source, data):
        os.utime(path)
    source.write_text(f"# a comment\n{source.read_text()}")
    hooks = pack.folder / "site/pack/__init__.py"
    hooks.write_text(hooks.read_text().replace("SLOPE = 1.0", "SLOPE = 2.0"))
    pack.environment["PYTHONDONTWRITEBYTECODE"] = "1"
    assert run(pack, "--jobs", "1") == 0
    shutil.rmtree(pack.folder / "results")
    shutil.copytree(pack.folder / "site", pack.folder / "moved")
    shutil.rmtree(pack.folder / "site")
    shutil.copytree(pack.folder / "cache", pack.folder / "copy")
    pack.environment["HEPBENCH_CACHE"] = str(pack.folder / "copy")
    path = pack.environment["PYTHONPATH"]
    pack.environment["PYTHONPATH"] = path.replace(
        str(pack.folder / "site"), str(pack.folder / "moved")
    )
    (pack.folder / "elsewhere").mkdir()
    plan = pack("plan", "../s.toml", cwd=pack.folder / "elsewhere")
    assert "0 of them to run" in plan.out, plan.out


EDIT = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
EDITED = """
from pathlib import Path
import subprocess

def slope():
    value = Path("{folder}/side.txt").read_text()
    if Path("{folder}/now").exists():
        Path("{folder}/now").unlink()
        command = ["{python}", "{folder}/edit.py", "{folder}/{path}", "{text}"]
        subprocess.run(command, check=True)
    return value
"""
EDITS = {
    "its own module": ("site/pack/slope.py", "def slope(): return 1"),
    "a file that it read": ("side.txt", "-1"),
}


@pytest.mark.parametrize("what", EDITS)
def test_a_file_that_changes_while_a_stage_runs_fails_it(pack, what):
    """One line says which, exit code 2; the next run does it again."""
    path, text = EDITS[what]
    for name, content in (("side.txt", "1"), ("now", ""), ("edit.py", EDIT)):
        pack.write(name, content)
    source = EDITED.format(folder=pack.folder, path=path, text=text, python=sys.executable)
    pack.write("site/pack/slope.py", source)
    done = pack("run", "s.toml")
    assert done.code == 2
    assert "was changed since the run began; run again" in done.err
    assert run(pack) == 1


def test_entries_and_records_without_what_they_used_are_made_again(pack):
    """They come from an older version, and nobody can tell whether they are still right."""
    pack.write("site/pack/slope.py", "def slope(): return 1\n")
    assert run(pack) == 1
    from hepbench.storage import records

    (path,) = (pack.folder / "results/s").glob("*.json")
    record = records.decode(path.read_bytes(), name=path)
    path.write_bytes(records.encode(record.__class__(**{f: getattr(record, f) for f in record.__struct_fields__ if f != "used"})))  # fmt: skip
    assert "older hepbench" in pack("why", "points/line/fit#0", "--suite", "s.toml").out
    assert pack("table").code == 0
    assert run(pack) == 1


def test_a_plugin_is_never_imported_by_the_fork_server():
    """Only hepbench and libraries: edited code would live on in all later workers."""
    from hepbench.registry import libraries

    assert libraries.is_library("numpy.random", frozenset())
    assert libraries.is_library("hepbench.running.worker", frozenset())
    assert not libraries.is_library("hepbench_models.mlp", frozenset({"hepbench_models"}))
    assert not libraries.is_library("conftest", frozenset())
