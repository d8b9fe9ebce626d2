"""Content keys: equal keys, equal results."""

from __future__ import annotations

import hashlib
import json
from typing import Any

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
