"""Compact images of jets, as samples are shipped: hits as whole numbers, finer than was measured.

A place is the gap to the hit before it; a tower of the hadron calorimeter has one. A value is the
number of a step on a curve that follows the resolution. Low and high bytes are stored apart, which
compresses best. ``<dataset>_compact.py`` says which layers an image has, and which curve is whose.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hepbench import DataError, SparseImages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hepbench import Array

SIDE, TOWER = 125, 5
"""Pixels along one side of an image, and of a tower in it."""

Curve = tuple["Callable[[Array], Array]", "Callable[[Array], Array]"]
"""From a value to its step, and back; no value becomes 0."""


def root(offset: float, step: float) -> Curve:
    """Return steps that grow like the root of the value, from ``-offset`` on."""
    return (
        lambda values: np.sqrt(values + offset) / step,
        lambda steps: (steps * step) ** 2 - offset,
    )


def log(least: float, step: float) -> Curve:
    """Return steps of a share ``step`` of the value, from ``least`` on."""
    return (lambda v: np.log(v / least) / step, lambda s: least * np.exp(s * step))


def signed(scale: float, step: float) -> Curve:
    """Return steps of ``step * scale`` near 0, and of a share ``step`` of values far above scale."""
    # half a step keeps clear of 0, a byte's half makes all steps positive
    return (
        lambda values: np.floor(np.arcsinh(values / scale) / step) + 128,
        lambda steps: scale * np.sinh((steps - 128 + 0.5) * step),
    )


def steps(curve: Curve, values: Array) -> Array:
    """Return the numbers of the steps as bytes.

    Raises:
        DataError: a value is far out of the range of the curve.
    """
    return packed(np.rint(curve[0](values.astype(np.float64))))


def values(curve: Curve, parts: Array) -> Array:
    """Return (K,) float64, in the middle of their steps."""
    return curve[1](whole(parts).astype(np.float64))


def placed(name: str, row: Array, place: Array, n: int) -> dict[str, Array]:
    """Return how many hits each image has, and how far each is behind the one before.

    Args:
        name: what is placed; the arrays are named after it.
        row: (K,), of the image, in order; an image may have no hit.
        place: (K,), rising within an image.
        n: images.
    """
    gaps = np.diff(place, prepend=0)
    first = np.diff(row, prepend=-1) > 0
    gaps[first] = place[first]
    counts = np.bincount(row, minlength=n)
    return {f"{name}_counts": packed(counts), f"{name}_gaps": packed(gaps)}


def places(name: str, arrays: Mapping[str, Array]) -> tuple[Array, Array]:
    """Return row and place of the hits that were ``placed`` under a name."""
    counts = whole(arrays[f"{name}_counts"])
    total = np.concatenate([[0], np.cumsum(whole(arrays[f"{name}_gaps"]))])
    before = total[np.cumsum(counts) - counts]
    return np.repeat(np.arange(len(counts)), counts), total[1:] - np.repeat(before, counts)


def packed(numbers: Array) -> Array:
    """Return (2, K) uint8, low and high bytes of whole numbers."""
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < 2**16:
        msg = f"compact images: {numbers.min()} to {numbers.max()} do not fit into two bytes"
        raise DataError(msg)
    return np.stack([numbers.astype(np.int64) & 255, numbers.astype(np.int64) >> 8]).astype(
        np.uint8
    )


def whole(parts: Array) -> Array:
    """Return the whole numbers that were ``packed``, (K,) int64."""
    return parts[0] + (parts[1].astype(np.int64) << 8)


def towers(row: Array, pixel: Array, energy: Array) -> tuple[Array, Array, Array]:
    """Return row, tower and energy of towers, of hits in towers of equal pixels."""
    corner = (pixel // SIDE % TOWER == 0) & (pixel % SIDE % TOWER == 0)
    tower = pixel // SIDE // TOWER * (SIDE // TOWER) + pixel % SIDE // TOWER
    return row[corner], tower[corner], energy[corner] * TOWER**2


def spread(row: Array, tower: Array, energy: Array) -> tuple[Array, Array, Array]:
    """Return row, place and energy of the pixels of towers, in the order of their places.

    Args:
        row, tower, energy: (K,) each, as ``towers`` returns them.
    """
    line, column = np.divmod(tower, SIDE // TOWER)
    first = np.flatnonzero(np.diff(row * SIDE + line, prepend=-1))
    width = np.diff(first, append=len(row))
    first, width = np.repeat(first, width)[:, None], np.repeat(width, width)[:, None]
    down, right = np.divmod(np.arange(TOWER**2), TOWER)
    # of towers side by side all first lines of pixels come before all second ones
    rank = TOWER * (np.arange(len(row))[:, None] - first) + right + TOWER * width * down
    place, shares = np.empty((2, TOWER**2 * len(row)))
    place[TOWER**2 * first + rank] = (TOWER * (SIDE * line + column))[:, None] + SIDE * down + right
    shares[TOWER**2 * first + rank] = energy[:, None] / TOWER**2
    return np.repeat(row, TOWER**2), place.astype(np.int64), shares


def stacked(
    layers: Sequence[tuple[Array, Array, Array]], n: int, *, side: int = SIDE
) -> SparseImages:
    """Return n images of the hits (row, place, value) of each channel, sorted by row and place.

    It puts each where it belongs; sorting 12 million takes several seconds.
    """
    counts = np.stack([np.bincount(row, minlength=n) for row, _, _ in layers], axis=1)
    ends = np.cumsum(counts).reshape(counts.shape)
    positions = np.empty(counts.sum(), np.int32)
    values = np.empty(counts.sum(), np.float32)
    for channel, (row, place, value) in enumerate(layers):
        ahead = ends[:, channel] - np.cumsum(counts[:, channel])
        where = np.arange(len(row)) + ahead[row]
        positions[where] = channel * side**2 + place
        values[where] = value
    return SparseImages(
        ends[:, 0] - counts[:, 0], ends[:, -1], positions, values, image=(len(layers), side, side)
    )


def save(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write what ``np.load`` reads, whole or not at all; equal arrays give equal bytes.

    It is packed by LZMA: numpy itself knows only deflate, which takes an eighth more.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_LZMA) as archive:
            for name, array in arrays.items():
                # no time of day, or equal arrays would not be equal bytes
                entry = zipfile.ZipInfo(f"{name}.npy")
                entry.compress_type = zipfile.ZIP_LZMA
                with archive.open(entry, "w") as file:
                    np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
