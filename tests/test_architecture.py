"""Boundaries: the core names no plugin, plugins use the public API, pure modules do no I/O."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hepbench
from hepbench.registry.plugins import KINDS, installed

CORE = Path(hepbench.__file__).parent
PLUGINS = CORE.parent / "plugins"
PURE = (
    *("specs/parameters", "specs/references", "specs/text", "storage/keys", "storage/records"),
    "storage/old_records",
    *("data/splits", "data/duplicates", "data/checking/findings", "data/checking/tallies"),
    *("evaluation/metrics", "evaluation/uncertainty", "evaluation/seed_averages"),
    *("evaluation/consistency", "planning/matrix", "planning/settings", "planning/stages"),
    *("planning/plan", "planning/suite_file", "running/grouping", "training/seeds"),
    *("tables/columns", "tables/document", "tables/notes", "tables/ranking", "tables/rounding"),
    "tables/rows",
)
EFFECTS = {"os", "io", "pathlib", "subprocess", "socket", "shutil", "tempfile", "time", "random"}


def imports(path):
    """Return what a module imports when it runs, without what only a type checker reads."""
    tree = ast.parse(path.read_text())
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}:{alias.name}" for alias in node.names}
    return found


def test_the_core_names_no_dataset_model_or_method():
    """Nothing in hepbench/ knows a plugin of the other distribution."""
    names = {
        entry.spec.name
        for kind in KINDS
        for entry in installed().entries(kind)
        if entry.plugin.distribution == "hepbench-plugins" and kind in {"dataset", "model"}
    }
    assert names
    for path in CORE.rglob("*.py"):
        strings = {n.value for n in ast.walk(ast.parse(path.read_text()))
                   if isinstance(n, ast.Constant) and isinstance(n.value, str)}  # fmt: skip
        assert not strings & names, path.name


@pytest.mark.parametrize("path", sorted(PLUGINS.glob("hepbench_*/**/*.py")), ids=lambda p: p.stem)
def test_plugins_import_only_the_public_api(path):
    """From hepbench they take what is in its __all__."""
    for name in imports(path):
        module, _, what = name.partition(":")
        if module.split(".")[0] == "hepbench":
            assert module == "hepbench", f"{path.name} imports {module}"
            assert what in hepbench.__all__, f"{path.name} imports {what}"


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_do_no_io(name):
    """Values in, values out: no file, clock, process or global generator."""
    modules = {found.partition(":")[0].split(".")[0] for found in imports(CORE / f"{name}.py")}
    assert not modules & EFFECTS


def test_everything_public_is_there():
    """Each name of __all__ can be imported and is documented."""
    for name in hepbench.__all__:
        assert getattr(hepbench, name).__doc__ or name in {"Array", "Inputs", "Params", "Role"}


HEAVY = ("torch", "sklearn", "scipy", "numpy", "matplotlib", "polars", "h5py")


@pytest.mark.parametrize(
    "command",
    [
        *(["--help"], ["list"], ["plot", "--help"], ["show", "dataset", "higgs"]),
        *(["data", "list"], ["data", "info", "higgs"], ["data", "list", "--json"]),
    ],
    ids=" ".join,
)
def test_looking_around_imports_nothing_heavy(command):
    """The command line answers at once, however much is installed."""
    code = (
        "import sys; from hepbench.cli.commands import cli; cli(sys.argv[1:], standalone_mode=False); "
        f"print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "[]"
