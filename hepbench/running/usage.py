"""Determine what a stage used (files, versions, variables) from the trace of its worker."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hepbench.registry import libraries, portable_paths, source_digests, syntax
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
    r"|\.(?:dist|egg)-info/"
    r"|/pyvenv\.cfg$|\.pth$"
    # caches of compilers such as numba
    r"|/__pycache__/"
)
"""Paths of files that are no input: they describe the machine, or belong to a library's version."""


COMPILED = re.compile(r"\.(?:so|dylib|pyd)(?:\.[\d.]+)?$")

SYSTEM = tuple({"/usr/", "/lib", "/opt/", f"{sys.prefix}/", f"{sys.base_prefix}/"})
"""Folders of compiled libraries that belong to the system or to Python."""


class UsageOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that a worker needs to determine which files and libraries its stages used.

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
    """Return the files, versions, variables and processes that a worker has used until now.

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
        if _is_changed(path, trace.opened[path]):
            raise ChangedError(changed(label))
    _check_planned(planned, cached)
    files = {label: _file_digest(path, cached) for path, label in opened.labels.items()}
    files |= opened.folders()
    sources = [path for path in opened.labels if path.endswith(".py")]
    tops = {*opened.tops, *_new_tops(trace), *_imported_tops(sources, cached)}
    asked = ((name, libraries.version(name)) for name in trace.distributions)
    tops |= {other for top, other in libraries.COMPUTES_WITH.items() if top in tops}
    return Usage(
        files=dict(sorted(files.items())),
        distributions=dict(sorted([*asked, *_distributions(tops - trace.plugin_tops)])),
        environment={name: hashed(os.environ.get(name)) for name in sorted(trace.variables)},
        processes=sorted(trace.started),
    )


class _OpenedFiles:
    """Sorts the files that a worker opened: some count one by one, others as part of a library.

    Attributes:
        labels: by path.
        tops: top-level names of libraries.
    """

    def __init__(self, trace: Trace, order: UsageOrder, planned: Mapping[str, str]) -> None:
        self.labels: dict[str, str] = dict(trace.declared)
        self.tops: set[str] = set()
        self._trace = trace
        self._packages = portable_paths.Packages(trace.search)
        self._hooks = _files_in_keys(order.hooks, planned)
        self._ignored = tuple(order.ignored)
        for path in list(trace.opened):
            if path not in self.labels:
                self._sort(path)

    def _sort(self, path: str) -> None:
        if path in self._trace.written or path in self._hooks or self._is_no_input(path):
            return
        if self._was_made_or_removed(path) or self._is_changed_database(path):
            return
        label, top = self._label_and_top(path)
        if top in libraries.IN_KEYS or self._is_shared(path, top):
            return
        if self._is_library(path, top) and libraries.distribution_of(top):
            self.tops.add(top)
        else:
            self.labels[path] = label

    def folders(self) -> dict[str, str | None]:
        """Return the digest of the names in each folder that a worker listed, by label.

        Raises:
            ChangedError: other names came or went meanwhile.
        """
        # a key may cover the files in a folder, or the stage may have written some of them
        others = {os.path.dirname(path) for path in (*self._ignored, *self._trace.written)}  # noqa: PTH120
        others |= {*sys.path, *self._trace.written}
        found = {}
        for path, before in self._trace.listed.items():
            label, top = self._label_and_top(path)
            if path in others or self._is_no_input(f"{path}/") or self._is_library(path, top):
                continue
            now = portable_paths.names_in(path)
            # a folder that was made or removed meanwhile is a temporary one
            if (now is None) != (before is None):
                continue
            if now != before:
                raise ChangedError(changed(f"{label}/"))
            found[f"{label}/"] = before
        return found

    def _label_and_top(self, path: str) -> tuple[str, str]:
        """Return the label of an opened file and the top-level name of its package."""
        label, top = self._packages.label(path)
        return label, top or libraries.site_top(path)

    def _is_no_input(self, path: str) -> bool:
        ignored = path.startswith(self._ignored) or NO_INPUT.search(path)
        return bool(ignored) or libraries.is_standard(path)

    def _is_library(self, path: str, top: str) -> bool:
        installed = libraries.SITE_PACKAGES.search(f"{path}/")
        return installed is not None and top not in self._trace.plugin_tops

    def _is_shared(self, path: str, top: str) -> bool:
        """Return whether a file is a compiled library of the system or of an installed package."""
        shared = path.startswith(SYSTEM) or self._is_library(path, top)
        return shared and top not in self._trace.plugin_tops and bool(COMPILED.search(path))

    def _is_changed_database(self, path: str) -> bool:
        return path in self._trace.databases and _is_changed(path, self._trace.opened[path])

    def _was_made_or_removed(self, path: str) -> bool:
        """Return whether an opened file has appeared or disappeared since, so that it is no input.

        Neither is a missing entry of ``sys.path``.
        """
        there = self._trace.opened[path] is not None
        return there != Path(path).exists() or (not there and path in sys.path)


def _files_in_keys(hooks: Iterable[str], planned: Mapping[str, str]) -> set[str]:
    """Return the files of hooks modules that the key of a stage covers.

    The plan holds the digests of their definitions, or of modules in their package.
    """
    found = set()
    for module in hooks:
        covered = any(f"{name}.".startswith((f"{module}.", f"{module}:")) for name in planned)
        file = getattr(sys.modules.get(module), "__file__", None)
        if covered and file:
            found.add(str(Path(file).absolute()))
    return found


def _is_changed(path: str, before: list[int] | None) -> bool:
    """Return whether a file was changed or removed since a worker opened it."""
    if before is None:
        return False
    try:
        now = stamp(Path(path))
    except FileNotFoundError:
        return True
    # without the time of the inode, which a new link changes too
    return (now[:2], now[3]) != (before[:2], before[3])


def _check_planned(planned: Mapping[str, str], cached: DigestCache) -> None:
    """Raise ChangedError if an imported module was changed since the run was planned."""
    for name, digest in planned.items():
        file = getattr(sys.modules.get(name.partition(":")[0]), "__file__", None)
        if file is None or not file.endswith(".py"):
            continue
        try:
            now = source_digests.digest_of(name, Path(file), cached)
        except (OSError, PluginError):
            now = None
        if now != digest:
            raise ChangedError(changed(file))


def changed(label: str) -> str:
    """Return the message about a file that was changed during a run."""
    return f"{label} was changed since the run began; run again"


def _file_digest(path: str, cached: DigestCache) -> str | None:
    try:
        return portable_paths.digest(Path(path), cached)
    except FileNotFoundError:
        return None


def _new_tops(trace: Trace) -> Iterator[str]:
    """Yield the top-level names of packages that a worker imported since its trace began."""
    for name in list(sys.modules):
        if name not in trace.modules_before:
            yield name.partition(".")[0]


def _imported_tops(sources: Iterable[str], cached: DigestCache) -> Iterator[str]:
    """Yield the top-level names that source files import, perhaps before the trace began."""
    for path in sources:
        yield from cached(Path(path), _imported_names, "tops")


def _imported_names(path: Path) -> list[str]:
    try:
        names = syntax.imports(syntax.parse(path), "")
        return sorted({name.partition(".")[0] for name in names} - {""})
    except PluginError:
        return []


def _distributions(tops: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield name and version of the distribution of each imported library among the names."""
    for top in tops:
        module = sys.modules.get(top)
        file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), "")
        known = top in libraries.IN_KEYS or top in sys.stdlib_module_names
        if not known and libraries.SITE_PACKAGES.search(file):
            found = libraries.distribution_of(top)
            if found:
                yield found


def merged(usages: Iterable[Usage]) -> Usage:
    """Merge what several stages used; where they differ, the last one counts."""
    kinds: dict[str, dict[str, str | None]] = {}
    processes: set[str] = set()
    for usage in usages:
        for name in ("files", "distributions", "environment"):
            kinds.setdefault(name, {}).update(getattr(usage, name))
        processes |= {*usage.processes}
    return msgspec.convert({**kinds, "processes": sorted(processes)}, Usage)


def added(used: Usage, before: Iterable[Usage]) -> Usage:
    """Return what a stage used and the stages before it did not."""
    known = merged(before)
    parts = {
        name: {n: v for n, v in getattr(used, name).items() if n not in getattr(known, name)}
        for name in ("files", "distributions", "environment")
    }
    processes = [name for name in used.processes if name not in known.processes]
    return msgspec.convert({**parts, "processes": processes}, Usage)


def hashed(value: str | None) -> str | None:
    """Return a hash of an environment variable's value, which may be a secret."""
    if value is None:
        return None
    return hashlib.sha256(os.fsencode(value)).hexdigest()[: syntax.DIGEST_LENGTH]
