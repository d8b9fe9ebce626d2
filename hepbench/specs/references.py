"""References: the notation ``name[param=value]``, chains of methods, and alternatives in braces."""

from __future__ import annotations

import math
import re
from collections import Counter
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import msgspec

from hepbench.specs.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Reference(msgspec.Struct, frozen=True):
    """A plugin's name, or a glob of names, with the parameters in brackets after it."""

    name: str
    params: dict[str, Any] = {}

    def matches(self, names: Sequence[str]) -> list[str]:
        """Return the known names that the reference's name or glob matches, in their order."""
        return [name for name in names if fnmatchcase(name, self.name)]

    @property
    def is_glob(self) -> bool:
        """Whether the reference's name contains a wildcard."""
        return any(c in self.name for c in "*?")


def alternatives(text: str) -> list[str]:
    """Return all texts that braces stand for: ``a[b={1,2}]`` gives ``a[b=1]`` and ``a[b=2]``.

    Several braces multiply, as in a shell. Braces with a ``=`` inside are TOML tables and stay.
    """
    braces = _BRACES.search(text)
    if braces is None:
        return [text]
    before, after = text[: braces.start()], text[braces.end() :]
    values = braces.group(1).split(",")
    return [whole for v in values for whole in alternatives(before + v.strip() + after)]


def count_alternatives(text: str) -> int:
    """Return how many texts the braces in a text stand for, without making them."""
    return math.prod(found.count(",") + 1 for found in _BRACES.findall(text))


_BRACES = re.compile(r"\{([^{}=]*,[^{}=]*)\}")


def reference(text: str) -> Reference:
    """Parse ``name[key=value,...]`` into name and parameters.

    Raises:
        UsageError: brackets or an ``=`` are missing.
    """
    match = re.fullmatch(r"([^\[\]=,+]+)(?:\[(.*)\])?", text.strip(), re.DOTALL)
    if match is None:
        msg = f"cannot read '{text}': expected name or name[param=value,...]"
        raise UsageError(msg)
    name, inside = match.groups()
    pairs = [
        assignment(part) for part in _split_outside_brackets(inside or "", ",") if part.strip()
    ]
    return Reference(name.strip(), dict(pairs))


def chain(text: str) -> list[Reference]:
    """Parse a chain of methods, ``method+method[param=value]``, into its steps."""
    return [reference(part) for part in _split_outside_brackets(text, "+")]


def without_parameters(name: str) -> str:
    """Return the name of a cell, or a reference, without the parameters in brackets."""
    plain, depth = "", 0
    for character in name:
        depth += character == "["
        plain += character if depth == 0 else ""
        depth -= character == "]"
    return plain


def uses(names: Iterable[str]) -> list[str]:
    """Return a unique name for each step of a chain: a second ``finetune`` is ``finetune#2``.

    No name of a method can contain ``#``.
    """
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return found


def assignment(text: str) -> tuple[str, Any]:
    """Parse ``key=value`` into key and value; a value that is not TOML is a string.

    Raises:
        UsageError: there is no ``=``, or no key before it.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        msg = f"'{text}' is not an assignment: expected KEY=VALUE, such as model.learning_rate=0.1"
        raise UsageError(msg)
    return key.strip(), _toml_value(value.strip())


def _toml_value(text: str) -> Any:
    from hepbench.specs import toml

    try:
        found = toml.loads(f"v = {text}")
    except toml.TomlError:
        return text
    # a text of several lines may hold other keys
    return found["v"] if found.keys() == {"v"} else text


def _split_outside_brackets(text: str, separator: str) -> list[str]:
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts
