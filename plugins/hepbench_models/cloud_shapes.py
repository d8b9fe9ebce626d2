"""Which clouds the graph networks can take; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def whole_heads(
    _shapes: Mapping[str, tuple[int, ...]], *, width: int, heads: int, **_params: Any
) -> str:
    """Return why the features of a point cannot be divided among heads, or ''."""
    return f"width {width} is no multiple of heads {heads}" if width % heads else ""
