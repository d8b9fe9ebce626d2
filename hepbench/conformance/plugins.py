"""Checks of a plugin's entry point and hooks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from hepbench.conformance.claims import Claim, need
from hepbench.conformance.fresh_process import run_python
from hepbench.registry.plugins import KINDS, kind_of

if TYPE_CHECKING:
    from hepbench.registry.plugins import Plugin, Registry


HEAVY = (
    *("numpy", "scipy", "sklearn", "skops", "matplotlib", "pandas", "polars", "pyarrow", "numba"),
    *("h5py", "tables", "uproot", "awkward", "vector", "fastjet", "pythia8mc"),
    *("torch", "timm", "torch_geometric", "tensorflow", "jax", "xgboost", "lightgbm", "onnx"),
)
"""Libraries that ``hepbench list`` must not import: they take long."""


def plugin_claims(plugin: Plugin, registry: Registry) -> list[Claim]:
    """Return the claims to check about a plugin's entry point."""
    return [
        Claim("the plugin loads", partial(_check_loads, plugin), first=True),
        Claim(
            "the module with the hooks imports no heavy library",
            partial(_check_imports_nothing_heavy, plugin),
        ),
        Claim("hooks return the same specs each time", partial(_check_hooks_repeat, plugin)),
        Claim(
            "no other plugin uses the same names",
            partial(_check_names_are_unique, plugin, registry),
        ),
    ]


def _check_loads(plugin: Plugin) -> None:
    need(not plugin.error, plugin.error)


def _check_imports_nothing_heavy(plugin: Plugin) -> None:
    code = (
        "import sys\n"
        "from importlib import import_module\n"
        "from hepbench.registry.plugins import HOOKS, KINDS\n"
        "before = set(sys.modules)\n"
        "module = import_module(sys.argv[1])\n"
        "specs = [spec for h in HOOKS[: len(KINDS)] for spec in getattr(module, h, list)()]\n"
        "targets = {getattr(spec, 'fits', '').partition(':')[0] for spec in specs} - {''}\n"
        "[import_module(name) for name in targets]\n"
        "print('\\n' + ' '.join({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    found = set(run_python(code, plugin.module).split())
    names = ", ".join(name for name in HEAVY if name in found)
    need(not names, f"importing {plugin.module} imports {names}; import it where it is used")


def _check_hooks_repeat(plugin: Plugin) -> None:
    for kind in KINDS:
        name = f"hepbench_{kind}s"
        hook = getattr(plugin.loaded, name, list)
        need(
            list(hook()) == list(hook()),
            f"the hook {name}() returns other specs when it is called again",
        )


def _check_names_are_unique(plugin: Plugin, registry: Registry) -> None:
    for spec in plugin.specs:
        # raises, naming both distributions
        registry.entry(kind_of(spec), spec.name)
