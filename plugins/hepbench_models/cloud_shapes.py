"""Which clouds the networks of particles can take; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def several_points(shapes: Mapping[str, tuple[int, ...]], **_params: Any) -> str:
    """Return why a graph has no edges, or ''; ``cloud`` is (points, features)."""
    points = shapes["cloud"][0]
    return "" if points > 1 else f"a graph of {points} point has no edges; at least 2 are expected"


def whole_heads(
    shapes: Mapping[str, tuple[int, ...]], *, width: int, heads: int, **_params: Any
) -> str:
    """Return why a graph has no edges or its features cannot be divided among heads, or ''."""
    return divisible_tokens(shapes, width=width, heads=heads) or several_points(shapes)


def divisible_tokens(
    _shapes: Mapping[str, tuple[int, ...]], *, width: int, heads: int, **_params: Any
) -> str:
    """Return why the features of a particle cannot be divided among heads, or ''."""
    return f"width {width} is no multiple of heads {heads}" if width % heads else ""
