"""Syntax of plugins' Python sources: imports, and digests without comments and docstrings."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from hepbench.specs.errors import PluginError

if TYPE_CHECKING:
    import ast
    from collections.abc import Collection, Iterator
    from pathlib import Path
    from types import ModuleType

DIGEST_LENGTH = 16


def parse(path: Path) -> ast.Module:
    """Parse a Python source file into its syntax tree.

    Raises:
        PluginError: the file is not valid Python.
    """
    import ast

    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as error:
        msg = f"{path} is not valid Python: {error}"
        raise PluginError(msg) from error


def digest(path: Path) -> str:
    """Return the digest of a Python source file without comments and docstrings."""
    return tree_digest(parse(path))


def tree_digest(tree: ast.Module) -> str:
    """Return the digest of a syntax tree of Python source, without docstrings."""
    import ast

    drop_docstrings(tree)
    return _hash_text(ast.dump(tree))


def _hash_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield the modules that source may import; ``from a import b`` gives ``a`` and ``a.b``."""
    import ast

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from prefixes(alias.name)
        elif isinstance(node, ast.ImportFrom):
            start = _imported_from(node, package)
            yield from prefixes(start)
            yield from (f"{start}.{alias.name}" for alias in node.names if alias.name != "*")


def names_used(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield each name that source uses from imported modules, as ``module.name``.

    ``from a import *`` is ``a.*``. A name that is read as an attribute (``import a``, ``a.b``) counts;
    one that is looked up by a string (``getattr``) is not seen.
    """
    import ast

    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                bound[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            start = _imported_from(node, package)
            yield from (f"{start}.{alias.name}" for alias in node.names)
            bound |= {alias.asname or alias.name: f"{start}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            first, *rest = _dotted_names(node)
            if first in bound:
                yield ".".join([bound[first], *rest])


def _imported_from(node: ast.ImportFrom, package: str) -> str:
    base = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*(base if node.level else []), *([node.module] if node.module else [])])


def _dotted_names(node: ast.expr) -> list[str]:
    """Split the expression ``a.b.c`` into names; the first is empty if it is no name."""
    import ast

    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return [node.id if isinstance(node, ast.Name) else "", *names]


def prefixes(module: str) -> Iterator[str]:
    """Yield a module and its parent packages: ``a``, ``a.b`` and ``a.b.c``."""
    names = module.split(".")
    return (".".join(names[: i + 1]) for i in range(len(names)))


def drop_docstrings(tree: ast.Module) -> None:
    """Remove docstrings and other statements that are only a string from a syntax tree."""
    import ast

    for node in ast.walk(tree):
        for body in (getattr(node, name, None) for name in ("body", "orelse", "finalbody")):
            if isinstance(body, list):
                body[:] = [statement for statement in body if not _is_only_a_string(statement, ast)]


def _is_only_a_string(statement: ast.stmt, ast: ModuleType) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


# --- the statements that define some names of a module


def definitions_digest(path: Path, names: Collection[str]) -> str:
    """Return the digest of the statements in a source file that define these names.

    Statements that the names depend on count too. The digest is empty if the module defines none
    of the names. ``*`` stands for all names.
    """
    import ast

    tree = parse(path)
    if "*" in names:
        return tree_digest(tree)
    drop_docstrings(tree)
    chosen = _defining_statements(tree.body, set(names))
    return _hash_text("".join(map(ast.dump, chosen))) if chosen else ""


def _defining_statements(body: list[ast.stmt], wanted: set[str]) -> list[ast.stmt]:
    """Return the statements that define these names or names that they depend on."""
    import ast

    left = [(statement, _names_set(statement), _names_read(statement)) for statement in body]
    chosen: list[ast.stmt] = []
    while True:
        found = [
            each
            for each in left
            # a bare expression, such as TABLE.update(...), may change what it names
            if each[1] & {*wanted, "*"}
            or (chosen and isinstance(each[0], ast.Expr) and each[2] & wanted)
        ]
        if not found:
            return [statement for statement in body if statement in chosen]
        left = [each for each in left if each not in found]
        for statement, _, used in found:
            chosen.append(statement)
            wanted |= used


def _names_read(statement: ast.stmt) -> set[str]:
    import ast

    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}


def _names_set(statement: ast.stmt) -> set[str]:
    """Return the module-level names that a source statement sets or changes."""
    import ast

    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    found: set[str] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.alias):
            found.add(node.asname or node.name.partition(".")[0])
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Name, ast.Subscript, ast.Attribute)):
            found |= _name_assigned(node)
    return found


def _name_assigned(node: ast.Name | ast.Subscript | ast.Attribute) -> set[str]:
    """Return the name that an assignment changes; ``TABLE["a"] = 1`` changes ``TABLE``."""
    import ast

    if isinstance(node.ctx, ast.Load):
        return set()
    inner: ast.expr = node
    while isinstance(inner, (ast.Subscript, ast.Attribute)):
        inner = inner.value
    return {inner.id} if isinstance(inner, ast.Name) else set()
