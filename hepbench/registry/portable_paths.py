"""Labels of files: relative to their top-level package, so that a moved package keeps them."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hepbench.registry import syntax
from hepbench.registry.plugins import kind_of
from hepbench.specs.errors import PluginError
from hepbench.storage.results import sha256

if TYPE_CHECKING:
    from hepbench.registry.plugins import Spec
    from hepbench.registry.source_digests import Cached


class Packages:
    """The folders and files of the modules that this process has imported."""

    def __init__(self) -> None:
        self._tops: dict[str, tuple[str, str]] = {}
        for name, module in list(sys.modules.items()):
            if "." in name or name in sys.stdlib_module_names:
                continue
            folders = list(getattr(module, "__path__", ()))
            for path in folders or [getattr(module, "__file__", None)]:
                if path:
                    # a symlinked package is known by both of its paths
                    for place in (path, os.path.realpath(path)):
                        self._tops[place] = name, place

    def label(self, path: str) -> tuple[str, str]:
        """Return the label of a file and its top-level name; a file of no package keeps its path
        and has no top-level name.
        """
        place = path
        while place not in self._tops:
            place, _, name = place.rpartition("/")
            if not name:
                return path, ""
        top, folder = self._tops[place]
        return (f"{top}{path[len(folder) :]}" if path != folder else Path(path).name), top


def declared(name: str, spec: Spec) -> str:
    """Return the label of a file that a spec declares, ``package:path`` or an absolute path.

    Raises:
        PluginError: there is no such file.
    """
    package, _, path = name.partition(":")
    label = name if name.startswith("/") else f"{package.replace('.', '/')}/{path}"
    found = locate(label)
    if found is None or not found.is_file():
        msg = f"{kind_of(spec)} {spec.name}: file '{name}', which it declares, is missing"
        raise PluginError(msg)
    return label


def locate(label: str) -> Path | None:
    """Return where the file of a label is now, None if its package is not found."""
    if label.startswith("/"):
        return Path(label)
    top, _, rest = label.partition("/")
    folders = _folders(top.removesuffix(".py"))
    if not rest:
        return next((folder / top for folder in folders), None)
    places = [folder / rest for folder in folders]
    return next((place for place in places if place.exists()), None)


@lru_cache
def _folders(top: str) -> list[Path]:
    """Return the folders of a package, or the folder that a module lies in."""
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
    """Return the digest of a file; of Python, without comments and docstrings.

    Raises:
        OSError: the file does not exist or cannot be read.
    """
    if path.suffix == ".py":
        try:
            return str(cached(path, syntax.digest, "syntax"))
        except PluginError:
            return sha256(path)
    return str(cached(path, sha256, "bytes"))
