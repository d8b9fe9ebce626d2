"""Find and load plugins through entry points, and keep the errors of broken ones."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, TypeAlias

import pluggy

from hepbench.registry import hooks
from hepbench.specs.dataset import Dataset
from hepbench.specs.errors import HepbenchError, PluginError, UsageError
from hepbench.specs.method import Method
from hepbench.specs.metric import Metric
from hepbench.specs.model import Model
from hepbench.specs.renamed import explained
from hepbench.specs.suite import Suite
from hepbench.specs.text import unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType


GROUP = "hepbench"


BUILTIN = "hepbench.registry.builtin"
"""The core's own plugin."""


KINDS: dict[str, type] = {
    "dataset": Dataset,
    "model": Model,
    "method": Method,
    "metric": Metric,
    "suite": Suite,
}


OBSERVERS = ("hepbench_run_started", "hepbench_cell_finished", "hepbench_run_finished")


HOOKS = (*(f"hepbench_{kind}s" for kind in KINDS), *OBSERVERS)


Spec: TypeAlias = Dataset | Model | Method | Metric | Suite


@dataclass(frozen=True)
class Plugin:
    """The plugin behind one entry point.

    ``error`` is empty, or says in one line why the plugin was not loaded.
    """

    name: str
    module: str
    distribution: str
    version: str
    error: str = ""
    specs: tuple[Spec, ...] = ()
    loaded: ModuleType | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Entry:
    """A registered spec and the plugin that provides it."""

    spec: Any
    plugin: Plugin


class Registry:
    """The specs of all installed plugins by kind and name, and their observer hooks."""

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self.plugins = list(plugins)
        self._entries: dict[tuple[str, str], list[Entry]] = {}
        for plugin in self.plugins:
            for spec in plugin.specs:
                entries = self._entries.setdefault((kind_of(spec), spec.name), [])
                entries.append(Entry(spec, plugin))
        self.manager = _hook_manager()
        for plugin in self.plugins:
            if plugin.loaded is not None and not plugin.error:
                self.manager.register(plugin.loaded, name=f"{plugin.distribution}:{plugin.name}")

    def entry(self, kind: str, name: str) -> Entry:
        """Return the installed spec of this kind and name, with its plugin.

        Raises:
            UsageError: no plugin provides it, or several do; the message names them.
        """
        found = self._entries.get((kind, name), [])
        if not found:
            broken = [f"{p.distribution} ({p.error})" for p in self.plugins if p.error]
            hint = f". Not loaded: {'; '.join(broken)}" if broken else ""
            raise UsageError(unknown(kind, name, self.names(kind)) + hint)
        if len(found) > 1:
            raise UsageError(_clash_message(kind, name, found))
        return found[0]

    def names(self, kind: str) -> list[str]:
        """Return the sorted names of all installed specs of one kind."""
        return sorted(name for k, name in self._entries if k == kind)

    def entries(self, kind: str) -> Iterator[Entry]:
        """Yield all installed specs of one kind sorted by name, also those with equal names."""
        for name in self.names(kind):
            yield from self._entries[kind, name]

    def clashes(self) -> list[str]:
        """Return one line for each spec name that several plugins provide."""
        return [
            _clash_message(k, n, e) for (k, n), e in sorted(self._entries.items()) if len(e) > 1
        ]

    def observe(self, hook: str, **arguments: Any) -> list[str]:
        """Call an observer hook in every plugin; return one line for each error."""
        failures = []
        for impl in getattr(self.manager.hook, hook).get_hookimpls():
            try:
                impl.function(*(arguments[name] for name in impl.argnames))
            except Exception as error:  # noqa: BLE001 - an observer must not end a run
                failures.append(f"{impl.plugin_name}: {hook}: {type(error).__name__}: {error}")
        return failures


def kind_of(spec: Spec) -> str:
    """Return the kind of a spec: ``dataset``, ``model``, ``method``, ``metric`` or ``suite``."""
    return next(kind for kind, spec_type in KINDS.items() if isinstance(spec, spec_type))


@cache
def installed() -> Registry:
    """Return the registry of all installed plugins; each entry point is loaded once."""
    disabled = {n.strip() for n in os.environ.get("HEPBENCH_DISABLE", "").split(",")} - {""}
    points = {(p.name, p.value, p.dist.name if p.dist else ""): p for p in _entry_points()}
    return Registry(load(point, disabled) for _, point in sorted(points.items()))


def _entry_points() -> Iterable[EntryPoint]:
    return entry_points(group=GROUP)


def load(point: EntryPoint, disabled: Iterable[str] = ()) -> Plugin:
    """Load a plugin from its entry point; a failure is stored as the plugin's error."""
    distribution = point.dist.name if point.dist else "unknown distribution"
    version = point.dist.version if point.dist else ""
    plugin = Plugin(point.name, point.module, distribution, version)
    if {point.name, distribution} & set(disabled):
        return replace(plugin, error="disabled by HEPBENCH_DISABLE")
    try:
        module = point.load()
        _check_hooks(module)
        return replace(plugin, specs=tuple(_specs_from_hooks(module)), loaded=module)
    except HepbenchError as error:
        return replace(plugin, error=str(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - reported; other plugins still work
        where = f"{type(error).__name__}: {error}".splitlines()[0]
        return replace(plugin, error=explained(error) or f"cannot be imported: {where}")


def _hook_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hooks)
    return manager


def _check_hooks(module: ModuleType) -> None:
    """Raise PluginError if a plugin's hook is misspelt, not marked or has wrong arguments."""
    for name, value in vars(module).items():
        marked = hasattr(value, f"{GROUP}_impl")
        if marked and name not in HOOKS:
            raise PluginError(unknown("hook", name, HOOKS))
        if name in HOOKS and callable(value) and not marked:
            msg = f"hook '{name}' is not marked as a hook; write @hookimpl above it"
            raise PluginError(msg)
    try:
        _hook_manager().register(module)
    except pluggy.PluginValidationError as error:
        raise PluginError(" ".join(str(error).split())) from error


def _specs_from_hooks(module: ModuleType) -> Iterator[Any]:
    for kind, spec_type in KINDS.items():
        hook = getattr(module, f"hepbench_{kind}s", None)
        for spec in hook() if hook else ():
            if not isinstance(spec, spec_type):
                expected = f"a list of {spec_type.__name__} is expected"
                msg = f"hepbench_{kind}s returned {spec!r}; {expected}"
                raise PluginError(msg)
            yield spec


def _clash_message(kind: str, name: str, entries: list[Entry]) -> str:
    if own := [e for e in entries if e.plugin.module == BUILTIN]:
        other = next(e.plugin for e in entries if e not in own)
        return (
            f"{kind} '{name}' of {other.distribution} {other.version} has the name of one of "
            f"hepbench's own; rename it, or leave it out with HEPBENCH_DISABLE={other.distribution}"
        )
    both = " and ".join(f"{e.plugin.distribution} {e.plugin.version}" for e in entries)
    return f"{kind} '{name}' comes from {both}; disable one with HEPBENCH_DISABLE"
