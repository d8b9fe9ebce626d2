"""Reads TOML from untrusted files: within seconds, or with a one-line error. Pure."""

from __future__ import annotations

import re
from typing import Any

DEEPEST = 100
"""Parts of a dotted key, and tables and arrays in each other."""

# a quote that nothing closes ends with its line, so that no part is looked at twice
_STRINGS = re.compile(r""""(?:[^"\\\n]|\\.)*"?|'[^'\n]*'?|#[^\n]*""")


class TomlError(ValueError):
    """A text that is not TOML, or is nested too deeply to be read."""


def loads(text: str) -> dict[str, Any]:
    """Parse an untrusted TOML text into tables.

    Raises:
        TomlError: it is not TOML, its values are nested too deeply, or a number has too many digits.
    """
    import tomllib

    # the parser takes the square of their number of steps
    for piece in re.split(r"[\n=,]", _STRINGS.sub("", text)):
        if piece.count(".") > DEEPEST:
            msg = f"a key is nested too deeply: {piece.count('.') + 1:,} parts; at most {DEEPEST} are allowed"
            raise TomlError(msg)
    try:
        found = tomllib.loads(text)
    except RecursionError as error:
        raise TomlError(_nesting_message()) from error
    except ValueError as error:
        # of TOML, and of numbers that have more digits than Python reads
        raise TomlError(str(error)) from error
    if _is_nested_deeper(found, DEEPEST):
        raise TomlError(_nesting_message())
    return found


def _nesting_message() -> str:
    return f"values are nested too deeply; at most {DEEPEST} levels are allowed"


def _is_nested_deeper(value: Any, levels: int) -> bool:
    inside = value.values() if isinstance(value, dict) else value
    if not isinstance(value, (dict, list)):
        return False
    return levels == 0 or any(_is_nested_deeper(each, levels - 1) for each in inside)
