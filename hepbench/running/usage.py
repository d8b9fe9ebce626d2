"""What a stage used, as its manifest tells it: the trace of its worker, filtered and digested."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hepbench.registry import libraries, portable_paths, syntax
from hepbench.specs.errors import ChangedError, PluginError
from hepbench.storage.digest_cache import DigestCache, stamp
from hepbench.storage.records import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hepbench.running.trace import Trace

NO_INPUT = re.compile(
    r"^/(?:proc|sys|dev|run)/"
    r"|^/etc/(?:[a-z]*-release|localtime|timezone|mime\.types|(?:nsswitch|resolv|host)\.conf"
    r"|hosts|passwd|group|ssl/)"
    r"|^/usr/(?:share|lib|lib64)/(?:zoneinfo|locale|mime)/"
    r"|/\.(?:cache|config)/matplotlib/"
    r"|\.(?:so|dylib|pyd)(?:\.[\d.]+)?$"
    r"|\.(?:dist|egg)-info/"
    r"|/pyvenv\.cfg$|\.pth$"
    # caches of compilers such as numba
    r"|/__pycache__/"
)
"""Files that describe the machine, or that change no result while their library stays the same."""


class UsageOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker must know to tell what its stages used.

    Attributes:
        digests: file of the cache of digests.
        ignored: beginnings of paths that a key covers, or that belong to hepbench.
        plugin_tops: top-level names of plugins.
        hooks: modules of plugins that hold hooks.
    """

    digests: str
    ignored: list[str]
    plugin_tops: frozenset[str]
    hooks: list[str]


def used(trace: Trace, order: UsageOrder, planned: Mapping[str, str]) -> Usage:
    """Return what a worker used until now.

    Args:
        trace: of the worker.
        order: see ``UsageOrder``.
        planned: source digests of the worker's stages when the run was planned, by module.

    Raises:
        ChangedError: a file was changed since it was opened, or since the plan was made.
    """
    cached = DigestCache(Path(order.digests))
    trace.add_children()
    opened = _OpenedFiles(trace, order, planned)
    for path, label in opened.labels.items():
        _check_stamp(label, path, trace.opened[path])
    _check_planned(planned, cached)
    files = {label: _digest(path, cached) for path, label in opened.labels.items()}
    sources = [path for path in opened.labels if path.endswith(".py")]
    tops = {*opened.tops, *_new_tops(trace), *_imported_tops(sources, cached)}
    return Usage(
        files=dict(sorted(files.items())),
        distributions=dict(sorted(_distributions(tops - trace.plugin_tops))),
        environment={name: hashed(os.environ.get(name)) for name in sorted(trace.variables)},
        processes=sorted(trace.started),
    )


class _OpenedFiles:
    """The opened files that count by themselves, and the libraries of the others.

    Attributes:
        labels: by path.
        tops: top-level names of libraries.
    """

    def __init__(self, trace: Trace, order: UsageOrder, planned: Mapping[str, str]) -> None:
        self.labels: dict[str, str] = dict(trace.declared)
        self.tops: set[str] = set()
        self._trace = trace
        self._packages = portable_paths.Packages()
        self._hooks = _files_in_keys(order.hooks, planned)
        ignored = tuple(order.ignored)
        for path in list(trace.opened):
            if path not in self.labels and not path.startswith(ignored):
                self._sort(path)

    def _sort(self, path: str) -> None:
        if path in self._trace.written or path in self._hooks or NO_INPUT.search(path):
            return
        if libraries.is_standard(path) or self._was_made_or_removed(path):
            return
        label, top = self._packages.label(path)
        top = top or libraries.site_top(path)
        if top in libraries.IN_KEYS:
            return
        library = libraries.SITE_PACKAGES.search(path) and top not in self._trace.plugin_tops
        if library and libraries.distribution_of(top):
            self.tops.add(top)
        else:
            self.labels[path] = label

    def _was_made_or_removed(self, path: str) -> bool:
        """Return whether a file was missing and is there now, or the reverse; a place where Python
        looks for modules need not exist.
        """
        there = self._trace.opened[path] is not None
        return there != Path(path).exists() or (not there and path in sys.path)


def _files_in_keys(hooks: Iterable[str], planned: Mapping[str, str]) -> set[str]:
    """Return the files of hooks modules that a stage's key covers: the plan holds the digests of
    their definitions, or of modules in their package.
    """
    found = set()
    for module in hooks:
        covered = any(f"{name}.".startswith((f"{module}.", f"{module}:")) for name in planned)
        file = getattr(sys.modules.get(module), "__file__", None)
        if covered and file:
            found.add(str(Path(file).absolute()))
    return found


def _check_stamp(label: str, path: str, before: list[int] | None) -> None:
    now = stamp(Path(path)) if before else None
    # without the time of the inode, which a new link changes too
    if before and now and (now[:2], now[3]) != (before[:2], before[3]):
        raise ChangedError(changed(label))


def _check_planned(planned: Mapping[str, str], cached: DigestCache) -> None:
    """Raise ChangedError if a module that was imported differs from the planned one."""
    for name, digest in planned.items():
        module, _, names = name.partition(":")
        file = getattr(sys.modules.get(module), "__file__", None)
        if file is None or not file.endswith(".py"):
            continue
        try:
            path = Path(file)
            listed = names.split(",")
            now = syntax.definitions_digest(path, listed) if names else _digest(file, cached)
        except (OSError, PluginError):
            now = None
        if now != digest:
            raise ChangedError(changed(file))


def changed(label: str) -> str:
    """Return the message on a file that was changed while a run went on."""
    return f"{label} was changed since the run began; run again"


def _digest(path: str, cached: DigestCache) -> str | None:
    try:
        return portable_paths.digest(Path(path), cached)
    except FileNotFoundError:
        return None


def _new_tops(trace: Trace) -> Iterator[str]:
    """Yield the top-level names of libraries that were imported since the trace began."""
    for name in list(sys.modules):
        if name not in trace.modules_before:
            yield name.partition(".")[0]


def _imported_tops(sources: Iterable[str], cached: DigestCache) -> Iterator[str]:
    """Yield what sources import: it may have been imported before the trace began."""
    for path in sources:
        yield from cached(Path(path), _tops, "tops")


def _tops(path: Path) -> list[str]:
    try:
        names = syntax.imports(syntax.parse(path), "")
        return sorted({name.partition(".")[0] for name in names} - {""})
    except PluginError:
        return []


def _distributions(tops: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield name and version of the imported libraries among these names."""
    for top in tops:
        module = sys.modules.get(top)
        file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), "")
        known = top in libraries.IN_KEYS or top in sys.stdlib_module_names
        if not known and libraries.SITE_PACKAGES.search(file):
            found = libraries.distribution_of(top)
            if found:
                yield found


def merged(usages: Iterable[Usage]) -> Usage:
    """Return what several stages used together; the last one has the last word."""
    kinds: dict[str, dict[str, str | None]] = {}
    processes: set[str] = set()
    for usage in usages:
        for name in ("files", "distributions", "environment"):
            kinds.setdefault(name, {}).update(getattr(usage, name))
        processes |= {*usage.processes}
    return msgspec.convert({**kinds, "processes": sorted(processes)}, Usage)


def added(used: Usage, before: Iterable[Usage]) -> Usage:
    """Return what a stage used beside what the stages before it used."""
    known = merged(before)
    parts = {
        name: {n: v for n, v in getattr(used, name).items() if n not in getattr(known, name)}
        for name in ("files", "distributions", "environment")
    }
    processes = [name for name in used.processes if name not in known.processes]
    return msgspec.convert({**parts, "processes": processes}, Usage)


def hashed(value: str | None) -> str | None:
    """Return a hash of the value of a variable, which may be a secret."""
    if value is None:
        return None
    return hashlib.sha256(os.fsencode(value)).hexdigest()[: syntax.DIGEST_LENGTH]
