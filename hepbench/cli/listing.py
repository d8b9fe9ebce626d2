"""The verbs ``list`` and ``doctor``: what is installed, and whether it works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hepbench._version import __version__
from hepbench.cli import catalogue
from hepbench.cli.cache_verbs import size_of
from hepbench.cli.description import ALL_KINDS, spec_kind, summary
from hepbench.registry.plugins import installed
from hepbench.running import session
from hepbench.storage import machine

if TYPE_CHECKING:
    from pathlib import Path

    from hepbench.registry.plugins import Registry


def listed(kind: str | None, *, as_json: bool) -> str:
    """Return the text of ``list``: names of a kind (such as models) with their summaries."""
    registry = installed()
    kinds = ALL_KINDS if kind is None else (spec_kind(kind),)
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
            "summary": summary(entry),
        }
        for entry in registry.entries(kind)
    ]


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
    lines.append(f"cache {root}: {size_of(root) / 1e6:,.0f} MB")
    lines.append(catalogue.listed(folder))
    lines += [f"problem: {line}" for line in problems] or ["no problems found"]
    return "\n".join(lines), 1 if problems else 0
