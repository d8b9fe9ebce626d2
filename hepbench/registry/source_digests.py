"""Digests of a plugin's source, which ignore comments and docstrings."""

from __future__ import annotations

import hashlib
import sys
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

from hepbench.specs.errors import PluginError

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from hepbench.registry.plugins import Plugin


class SourceDigests:
    """Source digests of a function's modules.

    Args:
        cached: ``(path, compute) -> compute(path)``, cached until the file changes.
    """

    def __init__(self, cached: Callable[[Path, Callable[[Path], list[str]]], list[str]]) -> None:
        self._cached = cached

    def digests(self, target: str, plugin: Plugin) -> dict[str, str]:
        """Return {module: digest} for a function's module and its imports.

        Only imports from the plugin's own packages count; the module with the hooks is left out.

        Args:
            target: ``"module:function"``.
            plugin: the plugin that names it.
        """
        found: dict[str, str] = {}
        own = target.partition(":")[0]
        to_scan = [*_prefixes(own)]
        while to_scan:
            module = to_scan.pop()
            path = None if module in found else self._find(module, plugin)
            if path is None:
                continue
            digest, *imports = self._cached(path, partial(_scan, module))
            found[module] = digest
            to_scan += imports
        if own != plugin.module:
            found.pop(plugin.module, None)
        return found

    def _find(self, module: str, plugin: Plugin) -> Path | None:
        return _module_path(module, own_roots(plugin.module, plugin.distribution))


@lru_cache
def own_roots(module: str, distribution_name: str) -> dict[str, Path]:
    """Return {top-level name: its folder or file} for the distribution that contains ``module``.

    An editable install has no list of files; all Python beside the plugin's own package then counts
    as its own.
    """
    top = module.partition(".")[0]
    loaded = sys.modules.get(top)
    if loaded is None or loaded.__file__ is None:
        return {}
    file = Path(loaded.__file__)
    own = file.parent if file.name == "__init__.py" else file
    listed = _listed(distribution_name)
    names = listed if top in listed else _beside(own.parent)
    return {name: path for name in {top, *names} if (path := _top(own.parent, name))}


def _listed(distribution_name: str) -> set[str]:
    try:
        files = distribution(distribution_name).files or ()
    except PackageNotFoundError:
        return set()
    tops = {f.parts[0].removesuffix(".py") for f in files if f.suffix == ".py"}
    return {top for top in tops if top.isidentifier()}


def _beside(folder: Path) -> set[str]:
    if folder.name in {"site-packages", "dist-packages"}:
        return set()
    packages = {p.parent.name for p in folder.glob("*/__init__.py")}
    return packages | {p.stem for p in folder.glob("*.py")}


def _top(folder: Path, name: str) -> Path | None:
    package, module = folder / name, folder / f"{name}.py"
    return package if package.is_dir() else module if module.is_file() else None


def _module_path(module: str, roots: dict[str, Path]) -> Path | None:
    top, *rest = module.split(".")
    root = roots.get(top)
    if root is None or root.is_file():
        return None if rest else root
    package = root.joinpath(*rest)
    for path in (package / "__init__.py", package.with_name(f"{package.name}.py")):
        if path.is_file():
            return path
    return None


def _scan(module: str, path: Path) -> list[str]:
    """Return [digest, *imported modules] of one file."""
    import ast

    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as error:
        msg = f"{path} is not valid Python: {error}"
        raise PluginError(msg) from error
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    imports = sorted(set(_imports(tree, package)))
    _drop_docstrings(tree)
    return [hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16], *imports]


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield all modules that may be imported: ``from a import b`` is ``a`` and perhaps ``a.b``."""
    import ast

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _prefixes(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            start = ".".join(
                [*(base if node.level else []), *([node.module] if node.module else [])]
            )
            yield from _prefixes(start)
            yield from (f"{start}.{alias.name}" for alias in node.names if alias.name != "*")


def _prefixes(module: str) -> Iterator[str]:
    # importing a.b.c runs a and a.b too
    names = module.split(".")
    return (".".join(names[: i + 1]) for i in range(len(names)))


def _drop_docstrings(tree: ast.Module) -> None:
    """Remove statements that are only a string, since they compute nothing."""
    import ast

    for node in ast.walk(tree):
        for body in (getattr(node, name, None) for name in ("body", "orelse", "finalbody")):
            if isinstance(body, list):
                body[:] = [statement for statement in body if not _is_text(statement, ast)]


def _is_text(statement: ast.stmt, ast: ModuleType) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
