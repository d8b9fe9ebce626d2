"""Digests of a plugin's source, which ignore comments and docstrings."""

from __future__ import annotations

import sys
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from hepbench.registry import syntax

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hepbench.registry.plugins import Plugin

Cached: TypeAlias = "Callable[[Path, Callable[[Path], Any], str], Any]"


def computed(path: Path, compute: Callable[[Path], Any], _kind: str = "") -> Any:
    """Compute a value of a source file without a cache: return ``compute(path)``."""
    return compute(path)


class SourceDigests:
    """Computes source digests of the modules that a plugin's function uses.

    Args:
        cached: ``(path, compute, kind) -> compute(path)``, cached by path and kind until the file
            changes.
    """

    def __init__(self, cached: Cached = computed) -> None:
        self._cached = cached

    def digests(self, target: str, plugin: Plugin) -> dict[str, str]:
        """Return {module: source digest} for a plugin function's module and its imports.

        Only imports from the plugin's own packages count. The module with the hooks is left out,
        except for the statements that define names used by other modules: ``module:NAME,NAME``.

        Args:
            target: ``"module:function"``.
            plugin: the plugin that names it.
        """
        found: dict[str, str] = {}
        names: set[str] = set()
        own = target.partition(":")[0]
        to_scan = [*syntax.prefixes(own)]
        while to_scan:
            module = to_scan.pop()
            path = None if module in found else self._source_file(module, plugin)
            if path is None:
                continue
            scanned = _scanned(path, module, self._cached)
            found[module] = scanned["digest"]
            to_scan += scanned["imports"]
            if module != plugin.module:
                names |= _names_from_module(plugin.module, scanned["names"])
        if own != plugin.module:
            found.pop(plugin.module, None)
            found |= self._digest_of_hooks_module(names, plugin)
        return found

    def _digest_of_hooks_module(self, names: set[str], plugin: Plugin) -> dict[str, str]:
        """Return the digest of the statements in the hooks module that define these names."""
        path = self._source_file(plugin.module, plugin)
        names = {n for n in names if self._source_file(f"{plugin.module}.{n}", plugin) is None}
        if path is None or not names:
            return {}
        name = f"{plugin.module}:{','.join(sorted(names))}"
        digest = digest_of(name, path, self._cached)
        return {name: digest} if digest else {}

    def _source_file(self, module: str, plugin: Plugin) -> Path | None:
        return _path_under_roots(module, own_roots(plugin.module, plugin.distribution))


def _names_from_module(module: str, used: Iterable[str]) -> set[str]:
    """Return the used names that come from one module, without the module's name."""
    start = f"{module}."
    return {name[len(start) :].partition(".")[0] for name in used if name.startswith(start)}


@lru_cache
def own_roots(module: str, distribution_name: str) -> dict[str, Path]:
    """Return the top-level packages, with paths, of the distribution that contains a module.

    An editable install has no list of files; all Python beside the plugin's own package then counts
    as its own.
    """
    top = module.partition(".")[0]
    loaded = sys.modules.get(top)
    if loaded is None or loaded.__file__ is None:
        return {}
    file = Path(loaded.__file__)
    own = file.parent if file.name == "__init__.py" else file
    listed = _packages_listed_by_distribution(distribution_name)
    names = listed if top in listed else _packages_in_folder(own.parent)
    return {name: path for name in {top, *names} if (path := _package_path(own.parent, name))}


def _packages_listed_by_distribution(distribution_name: str) -> set[str]:
    try:
        files = distribution(distribution_name).files or ()
    except PackageNotFoundError:
        return set()
    tops = {f.parts[0].removesuffix(".py") for f in files if f.suffix == ".py"}
    return {top for top in tops if top.isidentifier()}


def _packages_in_folder(folder: Path) -> set[str]:
    if folder.name in {"site-packages", "dist-packages"}:
        return set()
    packages = {p.parent.name for p in folder.glob("*/__init__.py")}
    return packages | {p.stem for p in folder.glob("*.py")}


def _package_path(folder: Path, name: str) -> Path | None:
    package, module = folder / name, folder / f"{name}.py"
    return package if package.is_dir() else module if module.is_file() else None


def _path_under_roots(module: str, roots: dict[str, Path]) -> Path | None:
    top, *rest = module.split(".")
    root = roots.get(top)
    if root is None or root.is_file():
        return None if rest else root
    package = root.joinpath(*rest)
    for path in (package / "__init__.py", package.with_name(f"{package.name}.py")):
        if path.is_file():
            return path
    return None


def digest_of(name: str, path: Path, cached: Cached) -> str:
    """Return one of the digests that ``SourceDigests.digests`` returns.

    Args:
        name: its key: ``module``, or ``module:NAME,NAME``.
        path: the source file of the module.
        cached: see ``SourceDigests``.
    """
    module, _, listed = name.partition(":")
    if listed:
        compute = partial(syntax.definitions_digest, names=listed.split(","))
        return str(cached(path, compute, f"names {listed}"))
    return str(_scanned(path, module, cached)["digest"])


def _scanned(path: Path, module: str, cached: Cached) -> dict[str, Any]:
    scanned: dict[str, Any] = cached(path, partial(_scan_source, module), "source")
    return scanned


def _scan_source(module: str, path: Path) -> dict[str, Any]:
    """Return source digest, imported modules and used names of one Python file."""
    tree = syntax.parse(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return {
        "imports": sorted(set(syntax.imports(tree, package))),
        "names": sorted(set(syntax.names_used(tree, package))),
        "digest": syntax.tree_digest(tree),
    }
