"""Which images the image networks can take; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def two_channels(shapes: Mapping[str, tuple[int, ...]], **_params: Any) -> str:
    """Return why an image does not have one channel for each of two branches, or ''."""
    channels = shapes["image"][0]
    if channels == 2:
        return ""
    return f"its images have {channels} channel{'s' * (channels > 1)}; two are expected"


def whole_patches(
    shapes: Mapping[str, tuple[int, ...]], *, patch: int, width: int, heads: int, **_params: Any
) -> str:
    """Return why an image cannot be cut into patches or a token be divided among heads, or ''."""
    _, height, across = shapes["image"]
    if height % patch or across % patch:
        return f"patches of {patch} x {patch} do not divide its images of {height} x {across}"
    return f"width {width} is no multiple of heads {heads}" if width % heads else ""


def several_patches(
    shapes: Mapping[str, tuple[int, ...]],
    *,
    patch: int,
    width: int,
    decoder_width: int,
    heads: int,
    **_params: Any,
) -> str:
    """Return why a masked autoencoder has no patch to hide, or cannot divide a width, or ''."""
    for each in (width, decoder_width):
        if reason := whole_patches(shapes, patch=patch, width=each, heads=heads):
            return reason
        if each % 4:
            return f"width {each} is no multiple of 4, which its positions need"
    if shapes["image"][1:] == (patch, patch):
        return f"its images of {patch} x {patch} are one patch; at least two are expected"
    return ""
