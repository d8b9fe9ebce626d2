"""The verb ``show``: one dataset, model, method, metric, suite or plugin, as lines and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hepbench.cli import catalogue
from hepbench.cli.text_tables import lined_up
from hepbench.planning.settings import written
from hepbench.registry.plugins import KINDS, Entry, installed
from hepbench.running import session
from hepbench.specs.errors import HepbenchError, UsageError
from hepbench.specs.parameters import Param, in_words, preset_names
from hepbench.specs.text import unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hepbench.registry.plugins import Registry


ALL_KINDS = (*KINDS, "plugin")


def spec_kind(text: str) -> str:
    """Return the kind that a user named in singular or plural, as singular."""
    singular = text.removesuffix("s")
    if singular not in ALL_KINDS:
        raise UsageError(unknown("kind", text, [f"{kind}s" for kind in ALL_KINDS]))
    return singular


def shown(kind: str, name: str) -> str:
    """Return the text of ``show``: one dataset, model, method, metric, suite or plugin."""
    singular = spec_kind(kind)
    registry = installed()
    if singular == "plugin":
        return "\n".join(_plugin(name, registry))
    if singular == "dataset":
        return catalogue.info(name, None)
    entry = registry.entry(singular, name)
    head = [f"{singular} {name}: {summary(entry)}", _origin(entry)]
    lines = _suite(entry, registry) if singular == "suite" else _spec(entry.spec)
    return "\n".join([*head, *lines])


def summary(entry: Entry) -> str:
    """Return the summary of a spec; that of a suite is read from its file."""
    if hasattr(entry.spec, "summary"):
        return str(entry.spec.summary)
    try:
        return session.read_suite(entry.spec.name, installed()).summary
    except HepbenchError as error:
        return f"cannot be read: {error}"


def _origin(entry: Entry) -> str:
    return f"from {entry.plugin.distribution} {entry.plugin.version}"


def _plugin(name: str, registry: Registry) -> list[str]:
    for plugin in registry.plugins:
        if name in {plugin.name, plugin.distribution}:
            lines = [f"plugin {plugin.name} ({plugin.module})"]
            lines.append(f"from {plugin.distribution} {plugin.version}")
            lines += [f"not loaded: {plugin.error}"] if plugin.error else []
            rows = [(type(spec).__name__.lower(), spec.name) for spec in plugin.specs]
            return [*lines, *lined_up(rows)]
    raise UsageError(unknown("plugin", name, {p.name for p in registry.plugins}))


def _suite(entry: Entry, registry: Registry) -> Iterator[str]:
    """Yield what a suite runs, and the published values that it shows."""
    found = session.read_suite(entry.spec.name, registry)
    yield f"file {entry.spec.path}"
    yield f"preset {found.preset}, seeds {_listed(found.seed_list())}, split seed {found.split_seed}"
    yield ""
    rows = [
        tuple("\n".join(some) for some in (each.datasets, each.models, each.methods))
        for each in found.run
    ]
    yield from lined_up(rows, heads=("datasets", "models", "methods"))
    if found.published:
        yield ""
        values = [
            (each.cell, ", ".join(f"{n} {v!r}" for n, v in each.metrics.items()), each.source)
            for each in found.published
        ]
        yield from lined_up(values, heads=("cell", "published", "source"))


_LEFT_OUT = {"name", "summary", "former"}
"""Fields of specs that are shown above the others, or matter for error messages alone."""


EMPTY: tuple[Any, ...] = ((), {}, "", None, frozenset())


def _spec(spec: Any) -> Iterator[str]:
    """Yield the fields of a spec that are not empty, and then a table of its parameters."""
    fields = {name: getattr(spec, name) for name in spec.__dataclass_fields__}
    shown = {n: v for n, v in fields.items() if n not in _LEFT_OUT and v not in EMPTY}
    params = [n for n, v in shown.items() if isinstance(v, dict) and _are_params(v)]
    yield from lined_up(
        [(name.replace("_", " "), _text(shown[name])) for name in shown if name not in params]
    )
    for name in params:
        yield ""
        yield from _table_of_params(shown[name])


def _are_params(value: Mapping[str, Any]) -> bool:
    return all(isinstance(each, Param) for each in value.values())


def _table_of_params(params: Mapping[str, Param]) -> list[str]:
    """Return a table of parameters: their defaults, those of presets, and allowed values."""
    presets = preset_names(params)
    rows = [
        (
            name,
            _value(param.default),
            *(_value(param.presets[each]) if each in param.presets else "" for each in presets),
            _allowed(param),
        )
        for name, param in params.items()
    ]
    return lined_up(rows, heads=("parameter", "default", *presets, "allowed"))


def _value(value: Any) -> str:
    """Return the value of a parameter as texts of cells; of a table one entry in each line."""
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {written(each)}" for name, each in value.items())
    return written(value)


def _allowed(param: Param) -> str:
    entries = param.allowed if isinstance(param.allowed, Mapping) else {"": param.allowed}
    return "; ".join(
        f"{entry} {in_words(values)}".lstrip()
        for entry, values in entries.items()
        if values is not None
    )


def _text(value: Any) -> str:
    """Return the value of a field in words, without the notation of Python."""
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {_text(each)}" for name, each in value.items())
    if isinstance(value, (list, tuple)):
        nested = any(hasattr(each, "__dataclass_fields__") for each in value)
        return ("\n" if nested else ", ").join(map(_text, value))
    if isinstance(value, (set, frozenset)):
        return _listed(sorted(value))
    if isinstance(value, Param):
        presets = (f"{name}: {_text(each)}" for name, each in value.presets.items())
        return (
            f"{_text(value.default)} ({', '.join(presets)})"
            if value.presets
            else _text(value.default)
        )
    if isinstance(value, bool):
        return "yes" if value else "no"
    if hasattr(value, "__dataclass_fields__"):
        filled = ((n, getattr(value, n)) for n in value.__dataclass_fields__)
        return "; ".join(f"{n} {_text(v)}" for n, v in filled if v not in (*EMPTY, False))
    return str(value)


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values)) or "none"
