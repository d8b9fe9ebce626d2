"""Content keys: equal keys, equal results."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

NUMERICS = {"read": 1, "split": 1, "inputs": 1, "method": 2, "cost": 2, "evaluate": 1}
"""Versions of the core's computations, part of every key: increased by hand when the same input gives
other numbers.

``tests/test_keys.py`` fails when a computing module changed and its version did not.
"""


KEY_LENGTH = 24


def key(parts: Any) -> str:
    """Return the hash of JSON-like values, independent of the order of keys in tables."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def of_parts(parts: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    """Return the keys of a cell's stages by name, and its own, from what they were hashed from.

    Both are empty where parts are missing.
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
    """Return the names of method stages in the order of their chain: 'pretrain net' comes before
    'pretrain+finetune net'.
    """
    return sorted((name for name in parts if "method" in parts[name]), key=lambda n: n.count("+"))


def differences(old: dict[str, Any], new: dict[str, Any], path: str = "") -> list[str]:
    """Return a line ``path: old -> new`` for each difference."""
    lines = []
    for name in sorted(old.keys() | new.keys()):
        here = f"{path}.{name}" if path else name
        a, b = old.get(name, "absent"), new.get(name, "absent")
        if isinstance(a, dict) and isinstance(b, dict):
            lines += differences(a, b, here)
        elif a != b:
            lines.append(f"{here}: {_short(a)} -> {_short(b)}")
    return lines


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=_plain)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _plain(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    msg = f"{value!r} is not a JSON value; parameters are numbers, strings, lists and tables"
    raise TypeError(msg)
