"""The verbs ``list``, ``show`` and ``doctor``: what is installed, and whether it works."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hepbench._version import __version__
from hepbench.cli import catalogue
from hepbench.registry.plugins import KINDS, Entry, installed
from hepbench.running import session
from hepbench.specs.errors import HepbenchError, UsageError
from hepbench.specs.parameters import Param, in_words
from hepbench.specs.text import unknown
from hepbench.storage import machine

if TYPE_CHECKING:
    from pathlib import Path

    from hepbench.registry.plugins import Registry


ALL_KINDS = (*KINDS, "plugin")


def _kind(text: str) -> str:
    """Return the kind that a user named in singular or plural, as singular."""
    singular = text.removesuffix("s")
    if singular not in ALL_KINDS:
        raise UsageError(unknown("kind", text, [f"{kind}s" for kind in ALL_KINDS]))
    return singular


def listed(kind: str | None, *, as_json: bool) -> str:
    """Return the text of ``list``: names of a kind (such as models) with their summaries."""
    registry = installed()
    kinds = ALL_KINDS if kind is None else (_kind(kind),)
    rows = [row for each in kinds for row in _rows(registry, each)]
    if as_json:
        return json.dumps(rows, indent=1)
    lines = []
    for each in kinds:
        chosen = [row for row in rows if row["kind"] == each]
        width = max((len(row["name"]) for row in chosen), default=0)
        lines.append(f"{each}s")
        lines += [f"  {r['name']:<{width}}  {r['summary']}  ({r['distribution']})" for r in chosen]
        lines += [] if chosen else ["  none"]
    return "\n".join([*lines, *(f"clash: {clash}" for clash in registry.clashes())])


def _rows(registry: Registry, kind: str) -> list[dict[str, str]]:
    if kind == "plugin":
        return [
            {
                "name": plugin.name,
                "kind": "plugin",
                "distribution": plugin.distribution,
                "version": plugin.version,
                "summary": f"not loaded: {plugin.error}" if plugin.error else plugin.module,
            }
            for plugin in registry.plugins
        ]
    return [
        {
            "name": entry.spec.name,
            "kind": kind,
            "distribution": entry.plugin.distribution,
            "version": entry.plugin.version,
            "summary": _summary(entry),
        }
        for entry in registry.entries(kind)
    ]


def _summary(entry: Entry) -> str:
    if hasattr(entry.spec, "summary"):
        return str(entry.spec.summary)
    try:
        return session.read_suite(entry.spec.name, installed()).summary
    except HepbenchError as error:
        return f"cannot be read: {error}"


def shown(kind: str, name: str) -> str:
    """Return the text of ``show``: one dataset, model, method, metric, suite or plugin."""
    singular = _kind(kind)
    registry = installed()
    if singular == "plugin":
        return _plugin(name, registry)
    if singular == "dataset":
        return catalogue.info(name, None)
    entry = registry.entry(singular, name)
    version = f"{entry.plugin.distribution} {entry.plugin.version}"
    lines = [f"{singular} {name}: {_summary(entry)}", f"from {version}"]
    if singular == "suite":
        return "\n".join([*lines, f"file {entry.spec.path}", "", _suite(name, registry)])
    return "\n".join([*lines, *_fields(entry.spec)])


def _plugin(name: str, registry: Registry) -> str:
    for plugin in registry.plugins:
        if name in {plugin.name, plugin.distribution}:
            lines = [f"plugin {plugin.name} ({plugin.module})"]
            lines.append(f"from {plugin.distribution} {plugin.version}")
            lines += [f"not loaded: {plugin.error}"] if plugin.error else []
            return "\n".join([*lines, *(f"  {type(s).__name__} {s.name}" for s in plugin.specs)])
    raise UsageError(unknown("plugin", name, {p.name for p in registry.plugins}))


def _suite(name: str, registry: Registry) -> str:
    found = session.read_suite(name, registry)
    lines = [f"preset {found.preset}, seeds {found.seed_list()}, split seed {found.split_seed}"]
    lines += [f"run {m.datasets} x {m.models} x {m.methods}" for m in found.run]
    lines += [f"published {p.cell}: {p.metrics} ({p.source})" for p in found.published]
    return "\n".join(lines)


_SHOWN_ABOVE = {"name", "summary"}


def _fields(spec: Any) -> list[str]:
    """Return lines with the fields of a spec that are not empty, nested ones indented."""
    lines = []
    for field in spec.__dataclass_fields__:
        value = getattr(spec, field)
        if field not in _SHOWN_ABOVE and value not in ((), {}, "", None, frozenset()):
            lines += _field(field, value)
    return lines


def _field(name: str, value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{name}:", *(f"  {key} = {_plain_value(v)}" for key, v in value.items())]
    if isinstance(value, tuple) and value and hasattr(value[0], "__dataclass_fields__"):
        return [f"{name}:", *(f"  {_plain_value(item)}" for item in value)]
    return [f"{name}: {_plain_value(value)}"]


def _plain_value(value: Any) -> str:
    if isinstance(value, (tuple, set, frozenset)):
        items = value if isinstance(value, tuple) else sorted(value)
        return ", ".join(_plain_value(item) for item in items)
    if isinstance(value, Param):
        return _param(value)
    if hasattr(value, "__dataclass_fields__"):
        empty: tuple[Any, ...] = ((), "", None, False, frozenset())
        filled = [f for f in value.__dataclass_fields__ if getattr(value, f) not in empty]
        return "; ".join(f"{f} {_plain_value(getattr(value, f))}" for f in filled)
    return str(value)


def _param(param: Param) -> str:
    """Return a parameter's default as text, with its allowed values and presets in brackets."""
    entries = param.allowed if isinstance(param.allowed, Mapping) else {"": param.allowed}
    allowed = [
        f"{entry} {in_words(values)}".lstrip()
        for entry, values in entries.items()
        if values is not None
    ]
    about = [*allowed, *(f"{name}: {value}" for name, value in param.presets.items())]
    return f"{param.default}" + (f" ({'; '.join(about)})" if about else "")


def doctor(folder: Path | None) -> tuple[str, int]:
    """Return the text of ``doctor``, and exit code 1 if there are problems."""
    registry = installed()
    errors = [f"{p.distribution}: {p.error}" for p in registry.plugins if p.error]
    problems = [line for line in errors if "disabled by" not in line] + registry.clashes()
    lines = [f"hepbench {__version__}"]
    lines += [f"{name} {version}" for name, version in machine.libraries().items()]
    lines += [f"{name}: {value}" for name, value in machine.description().items()]
    lines.append(f"workers by default: {session.default_jobs(1)}, with 1 thread each")
    lines += [
        f"plugin {p.name} from {p.distribution} {p.version}: {p.error or 'ok'}"
        for p in registry.plugins
    ]
    root = session.cache_folder()
    lines.append(f"cache {root}: {_folder_size(root) / 1e6:,.0f} MB")
    lines.append(catalogue.listed(folder))
    lines += [f"problem: {line}" for line in problems] or ["no problems found"]
    return "\n".join(lines), 1 if problems else 0


def _folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
