"""Content keys of stages and records: equal keys mean equal results."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

NUMERICS = {"read": 1, "split": 1, "inputs": 1, "method": 3, "cost": 4, "evaluate": 1, "compare": 2}
"""Versions of the core's computations, part of the keys of their results: increased by hand when the
same input gives other numbers.

``tests/test_keys.py`` fails when a computing module changed and its version did not.
"""


KEY_LENGTH = 24


def key(parts: Any) -> str:
    """Return the content key of JSON values; the order of entries in tables does not matter."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=_sets_as_lists)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def of_parts(parts: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    """Return the keys of a cell's stages by name, and the cell's key, from their key parts.

    Both are empty if parts are missing.
    """
    if not parts.keys() >= {"read", "split", "inputs", "evaluate"}:
        return {}, ""
    found = {"read": key(["read", parts["read"], ()])}
    found["split"] = key(["split", parts["split"], (found["read"],)])
    found["inputs"] = key(["inputs", parts["inputs"], (found["read"], found["split"])])
    inputs = last = found["inputs"]
    for name in methods(parts):
        parents = (inputs,) if last == inputs else (inputs, last)
        last = found[name] = key(["method", parts[name], parents])
    if "cost" in parts:
        found["cost"] = key(["cost", parts["cost"], (inputs, last)])
    return found, key([parts["evaluate"], last, found["split"], found.get("cost", "")])


def methods(parts: Mapping[str, Any]) -> list[str]:
    """Return the names of method stages among key parts, in the order of the chain."""
    return sorted((name for name in parts if "method" in parts[name]), key=lambda n: n.count("+"))


def differences(old: dict[str, Any], new: dict[str, Any], path: str = "") -> list[str]:
    """Return a line ``path: old -> new`` for each difference between two tables of key parts."""
    lines = []
    for name in sorted(old.keys() | new.keys()):
        here = f"{path}.{name}" if path else name
        a, b = old.get(name, "absent"), new.get(name, "absent")
        if isinstance(a, dict) and isinstance(b, dict):
            lines += differences(a, b, here)
        elif a != b:
            lines.append(f"{here}: {_shortened(a)} -> {_shortened(b)}")
    return lines


def _shortened(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=_sets_as_lists)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _sets_as_lists(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    msg = f"{value!r} is not a JSON value; parameters are numbers, strings, lists and tables"
    raise TypeError(msg)
