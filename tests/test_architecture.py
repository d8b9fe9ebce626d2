"""Boundaries: packages import one way, the core names no plugin, plugins use the public API."""

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
EXAMPLES = CORE.parent / "examples"
PURE = (
    *("specs/parameters", "specs/references", "specs/text", "specs/toml", "storage/keys"),
    *("storage/records", "storage/old_records"),
    *(
        "data/event_weights",
        "data/example_checks",
        "data/splits",
        "data/duplicates",
        *("data/leaks/audit", "data/leaks/near_copies", "data/leaks/precision"),
        *("data/leaks/row_samples", "data/leaks/single_features"),
        "data/checking/findings",
        "data/checking/tallies",
    ),
    *("evaluation/metrics", "evaluation/uncertainty", "evaluation/seed_averages"),
    *("evaluation/significance", "evaluation/effective_examples", "evaluation/metric_calls"),
    *("evaluation/consistency", "evaluation/paired", "evaluation/paired_runs"),
    *("evaluation/spreads", "evaluation/label_efficiency", "evaluation/labels_needed"),
    *("planning/matrix", "planning/selection", "planning/settings", "specs/gate"),
    *("comparison/costs", "comparison/document", "comparison/findings", "comparison/gate"),
    *("comparison/pairs", "comparison/sentences", "comparison/unpaired"),
    *("sharing/bibliography", "sharing/croissant"),
    "planning/stages",
    *("planning/plan", "planning/suite_file", "running/grouping", "training/seeds"),
    *("tables/cells", "tables/columns", "tables/document", "tables/latex"),
    *("tables/legend", "tables/markup", "tables/notes", "tables/paper", "tables/plain"),
    *("tables/printed", "tables/ranking", "tables/request", "tables/rounding", "tables/sections"),
    *("tables/where", "tables/label_efficiency", "tables/sized_rows"),
    *("tables/ranked", "tables/row_names", "tables/rows", "tables/stars", "tables/verdict"),
)
EFFECTS = {"os", "io", "pathlib", "subprocess", "socket", "shutil", "tempfile", "time", "random"}


BELOW = {
    "specs": "",
    "storage": "specs",
    "registry": "specs storage",
    "data": "specs storage registry",
    "evaluation": "specs storage registry data",
    "training": "specs storage registry data evaluation",
    "cost": "specs storage registry data training",
    # of training and cost only the messages, which import no torch
    "planning": "specs storage registry data training cost",
    "running": "specs storage registry data evaluation training cost planning",
    "tables": "specs storage evaluation",
    "comparison": "specs storage registry data evaluation tables",
    "plots": "specs storage registry data evaluation training planning running tables",
    "report": "specs storage evaluation planning tables plots",
    "sharing": "specs storage data evaluation cost",
    "conformance": "specs storage registry data evaluation training cost planning running",
    "cli": (
        "specs storage registry data evaluation planning running tables comparison plots report "
        "sharing conformance"
    ),
}
"""Package -> packages that it may import, in the order of their layers."""

# the public API, and modules beside the packages
TOP = {"hepbench", *(f"hepbench.{n}" for n in ("__main__", "_version", "pytest_plugin", "testing"))}


def modules():
    """Return {dotted name: path} of every module of the core."""
    found = {}
    for path in CORE.rglob("*.py"):
        parts = path.relative_to(CORE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def everything_imported(path):
    """Return the modules of the core that a module imports, those for type checkers too."""
    known, found = modules(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hepbench":
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in known else node.module for name in names}
    return found


def package(module):
    """Return the package of the core that a module is in."""
    return module.split(".")[1]


def test_packages_import_one_way():
    """Each package imports only those of its row, for type checkers too; the table is printed."""
    arrows = {name: set() for name in BELOW}
    for module, path in modules().items():
        if module in TOP:
            continue
        for imported in everything_imported(path) - TOP:
            if package(imported) != package(module):
                arrows[package(module)].add(package(imported))
    for name, found in arrows.items():
        print(f"{name:<12} {' '.join(other for other in BELOW if other in found)}")
    print(f"{sum(map(len, arrows.values()))} arrows between {len(BELOW)} packages")
    order = list(BELOW)
    for name, found in arrows.items():
        allowed = set(BELOW[name].split())
        assert found <= allowed, f"{name} imports {found - allowed}"
        assert all(order.index(other) < order.index(name) for other in allowed)


def test_modules_import_each_other_in_no_circle():
    """Not even for type checkers: whoever reads a module knows what to read before it."""
    left = {name: everything_imported(path) for name, path in modules().items()}
    del left["hepbench"]
    # what imports nothing that is left, or is imported by nothing that is left, is in no circle
    while ends := {
        name
        for name, needed in left.items()
        if not needed & left.keys() or not any(name in other for other in left.values())
    }:
        left = {name: needed for name, needed in left.items() if name not in ends}
    assert not left, f"circles among {sorted(left)}"


def test_a_package_says_what_it_holds_and_nothing_else():
    """Its __init__.py is a docstring."""
    for path in CORE.rglob("*/__init__.py"):
        (sentence,) = ast.parse(path.read_text()).body
        assert isinstance(sentence.value.value, str), path


LONGEST_FUNCTION, LARGEST_CLASS = 45, 200


def lengths(kind):
    """Return {place: lines} of all functions, or classes, of the core."""
    return {
        f"{path.relative_to(CORE)}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path in modules().values()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, kind)
    }


def test_functions_and_classes_are_short():
    """Half of the functions have at most 8 lines, nine tenths at most 20, none more than 45."""
    functions, classes = lengths(ast.FunctionDef), lengths(ast.ClassDef)
    ordered = sorted(functions.values())
    middle, most = ordered[len(ordered) // 2], ordered[len(ordered) * 9 // 10]
    print(f"{len(ordered)} functions, median {middle} lines, p90 {most}, longest {ordered[-1]}")
    assert (middle <= 8, most <= 20) == (True, True), (middle, most)
    assert not {place: n for place, n in functions.items() if n > LONGEST_FUNCTION}
    assert not {place: n for place, n in classes.items() if n > LARGEST_CLASS}


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
    # also the name of a library, which the core knows as one that is slow to import
    names.remove("timm")
    for path in CORE.rglob("*.py"):
        strings = {n.value for n in ast.walk(ast.parse(path.read_text()))
                   if isinstance(n, ast.Constant) and isinstance(n.value, str)}  # fmt: skip
        assert not strings & names, path.name


OF_PLUGINS = [*PLUGINS.glob("hepbench_*/**/*.py"), *EXAMPLES.glob("*/hepbench_*/*.py")]


@pytest.mark.parametrize("path", sorted(OF_PLUGINS), ids=lambda p: p.stem)
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


def test_one_module_writes_to_stdout():
    """It escapes control characters, and keeps out what plugins print."""
    for name, path in modules().items():
        if name != "hepbench.cli.streams":
            text = path.read_text()
            assert not {w for w in ("click.echo", "sys.stdout", " print(") if w in text}, name


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
