"""Labels of plugin files relative to their package, so that they stay if it is moved."""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from functools import lru_cache
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepbench.registry import syntax
from hepbench.registry.plugins import kind_of
from hepbench.specs.errors import PluginError
from hepbench.storage.results import sha256

if TYPE_CHECKING:
    from hepbench.registry.plugins import Spec
    from hepbench.registry.source_digests import Cached


class ModuleSearch:
    """The folders and finders that Python uses at one moment to import modules."""

    def __init__(self) -> None:
        self._folders = {*sys.path, *map(os.path.abspath, sys.path)}
        # editable installs may have finders of their own
        self._finders = [finder for finder in sys.meta_path if finder is not PathFinder]

    def finds(self, name: str, path: str) -> bool:
        """Return whether Python finds the top-level module at ``path`` by its name."""
        if os.path.dirname(path) in self._folders:  # noqa: PTH120 - asked of every module
            return True
        return any(self._finder_finds(path, finder, name) for finder in self._finders)

    def _finder_finds(self, path: str, finder: Any, name: str) -> bool:
        # another library's finder may fail in its own way
        with suppress(Exception):
            spec = finder.find_spec(name, None, None)
            return path in {spec.origin, *(spec.submodule_search_locations or ())}
        return False


class Packages:
    """Folders and files of the imported modules that another process can import by name too.

    Args:
        search: where modules were searched for before plugins changed it.
    """

    def __init__(self, search: ModuleSearch) -> None:
        self._tops: dict[str, tuple[str, str]] = {}
        for name, module in list(sys.modules.items()):
            if "." in name or name in sys.stdlib_module_names:
                continue
            folders = list(getattr(module, "__path__", ()))
            for path in folders or [getattr(module, "__file__", None)]:
                if path and search.finds(name, path):
                    # a symlinked package is known by both of its paths
                    for place in (path, os.path.realpath(path)):
                        self._tops[place] = name, place

    def label(self, path: str) -> tuple[str, str]:
        """Return the label of a file and its top-level package name.

        A file outside of all packages keeps its path and has the package name ''.
        """
        place = path
        while place not in self._tops:
            place, _, name = place.rpartition("/")
            if not name:
                return path, ""
        top, folder = self._tops[place]
        return (f"{top}{path[len(folder) :]}" if path != folder else Path(path).name), top


def declared(name: str, spec: Spec) -> str:
    """Return the label of a file that a plugin's spec declares in ``files``.

    Raises:
        PluginError: the file does not exist.
    """
    package, _, path = name.partition(":")
    label = name if name.startswith("/") else f"{package.replace('.', '/')}/{path}"
    found = locate(label)
    if found is None or not found.is_file():
        msg = f"{kind_of(spec)} {spec.name}: the declared file '{name}' is missing"
        raise PluginError(msg)
    return label


def locate(label: str) -> Path | None:
    """Return the path of the file with this label, None if its package is not found."""
    if label.startswith("/"):
        return Path(label)
    top, slash, rest = label.partition("/")
    folders = _folders_of_package(top.removesuffix(".py"))
    if not slash:
        return next((folder / top for folder in folders), None)
    places = [folder / rest for folder in folders]
    return next((place for place in places if place.exists()), None)


@lru_cache
def _folders_of_package(top: str) -> list[Path]:
    """Return the folders of a package, or the folder that contains a module."""
    module = sys.modules.get(top)
    spec = getattr(module, "__spec__", None)
    try:
        spec = spec or find_spec(top)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    folders = spec.submodule_search_locations
    if folders is not None:
        return [Path(folder) for folder in folders]
    return [Path(spec.origin).parent] if spec.origin else []


def digest(path: Path, cached: Cached) -> str:
    """Return the digest of a source file, data file or folder.

    Comments and docstrings of Python do not count. Of a folder only the names in it count.

    Raises:
        OSError: the file does not exist or cannot be read.
    """
    if path.suffix == ".py":
        try:
            return str(cached(path, syntax.digest, "syntax"))
        except PluginError:
            return sha256(path)
    if path.is_dir():
        return str(cached(path, _names_digest, "names"))
    return str(cached(path, sha256, "bytes"))


def names_in(folder: str) -> str | None:
    """Return the digest of the file names in a folder, None if it cannot be listed."""
    try:
        return _names_digest(Path(folder))
    except OSError:
        return None


def _names_digest(folder: Path) -> str:
    # hidden files, and folders of compiled modules, come and go
    names = {path.name for path in folder.iterdir()} - {"__pycache__"}
    names = {name for name in names if name[0] != "."}
    return hashlib.sha256(os.fsencode("/".join(sorted(names)))).hexdigest()[: syntax.DIGEST_LENGTH]
