"""Separates libraries from plugins: libraries are identified by version, plugins by source."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING

from hepbench.registry.source_digests import own_roots

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hepbench.registry.plugins import Plugin

IN_KEYS = frozenset({"hepbench", "numpy", "sklearn", "torch"})
"""Top-level names whose versions are part of keys."""

COMPUTES_WITH = {"sklearn": "scipy"}
"""Top-level name in keys -> another one, whose version its results depend on too."""

SITE_PACKAGES = re.compile(r"/(?:site|dist)-packages/")


def plugin_packages(plugins: Iterable[Plugin]) -> frozenset[str]:
    """Return the top-level package names of all plugins, wherever they are installed."""
    found: set[str] = set()
    for plugin in plugins:
        found |= {plugin.module.partition(".")[0], *own_roots(plugin.module, plugin.distribution)}
    return frozenset(found - IN_KEYS)


def is_library(module: str, plugin_tops: Iterable[str]) -> bool:
    """Return whether a module belongs to hepbench or a library, not to a plugin."""
    top = module.partition(".")[0]
    if top in IN_KEYS or top in sys.stdlib_module_names:
        return True
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return False
    origin = (spec.origin or "") if spec else ""
    return top not in plugin_tops and SITE_PACKAGES.search(origin) is not None


@cache
def _standard_library_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    found = {paths["stdlib"], paths["platstdlib"]}
    return tuple(f"{path}/" for path in found | {os.path.realpath(path) for path in found})


def is_standard(path: str) -> bool:
    """Return whether a file belongs to Python's standard library."""
    return path.startswith(_standard_library_folders()) and SITE_PACKAGES.search(path) is None


def site_top(path: str) -> str:
    """Return the top-level package name of a file in ``site-packages``, otherwise ''."""
    found = SITE_PACKAGES.search(path)
    return path[found.end() :].partition("/")[0].removesuffix(".py") if found else ""


@cache
def distribution_of(top: str) -> tuple[str, str] | None:
    """Return name and version of the distribution with this top-level package, or None."""
    try:
        return top, metadata.version(top)
    except metadata.PackageNotFoundError:
        found = distributions().get(top)
    return None if found is None else (found.metadata["Name"], found.version)


def version(name: str) -> str:
    """Return the version of an installed distribution, otherwise ``absent``."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


@cache
def distributions() -> Mapping[str, metadata.Distribution]:
    """Return the first installed distribution of each top-level package (read only once)."""
    found: dict[str, metadata.Distribution] = {}
    for distribution in metadata.distributions():
        for top in _tops(distribution):
            found.setdefault(top, distribution)
    return found


def _tops(distribution: metadata.Distribution) -> set[str]:
    """Return the names under which a distribution can be imported.

    ``metadata.packages_distributions`` takes ten times as long: it parses all metadata.
    """
    if listed := distribution.read_text("top_level.txt"):
        return set(listed.split())
    if (record := distribution.read_text("RECORD")) is None:
        paths = [str(path) for path in distribution.files or ()]
    else:
        paths = [line.partition(",")[0].strip('"') for line in record.splitlines()]
    return {path.partition("/")[0].removesuffix(".py") for path in paths if path.endswith(".py")}
