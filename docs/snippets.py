"""Parts of files of the repository, as pages show them: GitHub shows no file that a page includes."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def snippet(argument: str) -> str:
    """Return a file as a block of code, or some of its functions, classes and constants.

    Args:
        argument: the path, then names of the module's statements; none means the whole file. What
            stands between two of them is left out.

    Raises:
        ValueError: a name is not defined at the top of the module.
    """
    path, *names = argument.split()
    text = (ROOT / path).read_text()
    parts = [statement(text, name, path) for name in names] or [text.strip()]
    language = path.rpartition(".")[2].replace("py", "python")
    code = "\n\n\n".join(parts)
    return f"```{language}\n{code}\n```"


def statement(text: str, name: str, path: str) -> str:
    """Return the source of the statement that defines a name, with its decorators."""
    for node in ast.parse(text).body:
        if name in defined(node):
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            return "\n".join(text.splitlines()[first - 1 : node.end_lineno])
    msg = f"{path} defines no '{name}'"
    raise ValueError(msg)


def defined(node: ast.stmt) -> set[str]:
    """Return the names that a statement defines."""
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    return names | ({node.name} if hasattr(node, "name") else set())
