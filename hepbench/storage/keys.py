"""Content keys: equal keys, equal results."""

from __future__ import annotations

import hashlib
import json
from typing import Any

NUMERICS = {"read": 1, "split": 1, "inputs": 1, "method": 2, "cost": 2, "evaluate": 1}
"""Raised by hand when the core computes another number from the same input; part of every key.

``tests/test_keys.py`` fails when a computing module changes and its version was not raised.
"""


KEY_LENGTH = 24


def key(parts: Any) -> str:
    """Return the hash of JSON-like values: independent of the order of keys, not of lists."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def differences(old: dict[str, Any], new: dict[str, Any], path: str = "") -> list[str]:
    """Return one line for each part of a key that differs, ``path: old -> new``."""
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
    msg = f"{value!r} is not of JSON's types; parameters are numbers, strings, lists and tables"
    raise TypeError(msg)
