"""The compact format of the bundled samples: hits of images, rounded to whole-numbered steps.

The position of a hit is stored as the gap to the hit before it; a tower of the hadron calorimeter
has one position. A value is stored as the number of a step on a curve that follows the detector's
resolution. Low and high bytes are stored separately because that compresses best.
``<dataset>_compact.py`` defines the layers of an image and the curve of each layer.
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
"""Pixels along one side of an image, and along one side of a tower."""

Curve = tuple["Callable[[Array], Array]", "Callable[[Array], Array]"]
"""A rounding: the functions from a value to its step number, and back (never to 0)."""


def root(offset: float, step: float) -> Curve:
    """Return a rounding whose steps grow like the square root of the value, from ``-offset`` up."""
    return (
        lambda values: np.sqrt(values + offset) / step,
        lambda steps: (steps * step) ** 2 - offset,
    )


def log(least: float, step: float) -> Curve:
    """Return a rounding whose steps are a fraction ``step`` of the value, from ``least`` up."""
    return (lambda v: np.log(v / least) / step, lambda s: least * np.exp(s * step))


def signed(scale: float, step: float) -> Curve:
    """Return a rounding for both signs: equal steps near 0, a fraction ``step`` far from 0."""
    # the half step avoids 0, and the offset 128 makes all step numbers positive
    return (
        lambda values: np.floor(np.arcsinh(values / scale) / step) + 128,
        lambda steps: scale * np.sinh((steps - 128 + 0.5) * step),
    )


def steps(curve: Curve, values: Array) -> Array:
    """Round values to steps; return the step numbers as low and high bytes, (2, K) uint8.

    Raises:
        DataError: a value is far outside the range of the curve.
    """
    return to_bytes(np.rint(curve[0](values.astype(np.float64))))


def values(curve: Curve, parts: Array) -> Array:
    """Return the values (K,) of stored step numbers, each in the middle of its step."""
    return curve[1](from_bytes(parts).astype(np.float64))


def encode_places(name: str, row: Array, place: Array, n: int) -> dict[str, Array]:
    """Compress the positions of hits in images: hits per image, and gaps between positions.

    Args:
        name: kind of hit; the names of the arrays begin with it.
        row: (K,) index of the image of each hit, rising; an image may have no hit.
        place: (K,) position of each hit, rising within an image.
        n: number of images.
    """
    gaps = np.diff(place, prepend=0)
    first = np.diff(row, prepend=-1) > 0
    gaps[first] = place[first]
    counts = np.bincount(row, minlength=n)
    return {f"{name}_counts": to_bytes(counts), f"{name}_gaps": to_bytes(gaps)}


def decode_places(name: str, arrays: Mapping[str, Array]) -> tuple[Array, Array]:
    """Return image index and position of the hits that ``encode_places`` compressed."""
    counts = from_bytes(arrays[f"{name}_counts"])
    total = np.concatenate([[0], np.cumsum(from_bytes(arrays[f"{name}_gaps"]))])
    before = total[np.cumsum(counts) - counts]
    return np.repeat(np.arange(len(counts)), counts), total[1:] - np.repeat(before, counts)


def to_bytes(numbers: Array) -> Array:
    """Return the low and high bytes of whole numbers, (2, K) uint8.

    Raises:
        DataError: a number does not fit into two bytes.
    """
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < 2**16:
        msg = (
            f"compact images: the numbers {numbers.min()} to {numbers.max()} do not fit into two "
            "bytes; 0 to 65535 are allowed"
        )
        raise DataError(msg)
    return np.stack([numbers.astype(np.int64) & 255, numbers.astype(np.int64) >> 8]).astype(
        np.uint8
    )


def from_bytes(parts: Array) -> Array:
    """Return the whole numbers (K,) whose low and high bytes are given."""
    return parts[0] + (parts[1].astype(np.int64) << 8)


def towers(row: Array, pixel: Array, energy: Array) -> tuple[Array, Array, Array]:
    """Combine the 25 equal pixels of each tower: return image index, tower and energy."""
    corner = (pixel // SIDE % TOWER == 0) & (pixel % SIDE % TOWER == 0)
    tower = pixel // SIDE // TOWER * (SIDE // TOWER) + pixel % SIDE // TOWER
    return row[corner], tower[corner], energy[corner] * TOWER**2


def towers_to_pixels(row: Array, tower: Array, energy: Array) -> tuple[Array, Array, Array]:
    """Return image index, position and energy of the pixels that towers cover, sorted.

    Args:
        row, tower, energy: (K,) each, as ``towers`` returns them.
    """
    line, column = np.divmod(tower, SIDE // TOWER)
    first = np.flatnonzero(np.diff(row * SIDE + line, prepend=-1))
    width = np.diff(first, append=len(row))
    first, width = np.repeat(first, width)[:, None], np.repeat(width, width)[:, None]
    down, right = np.divmod(np.arange(TOWER**2), TOWER)
    # pixels of neighbouring towers are ordered by line: all first lines come before all second lines
    rank = TOWER * (np.arange(len(row))[:, None] - first) + right + TOWER * width * down
    place, pixel_energy = np.empty((2, TOWER**2 * len(row)))
    place[TOWER**2 * first + rank] = (TOWER * (SIDE * line + column))[:, None] + SIDE * down + right
    pixel_energy[TOWER**2 * first + rank] = energy[:, None] / TOWER**2
    return np.repeat(row, TOWER**2), place.astype(np.int64), pixel_energy


def stack_channels(
    layers: Sequence[tuple[Array, Array, Array]], n: int, *, side: int = SIDE
) -> SparseImages:
    """Build n sparse images from the hits (row, place, value) of each channel.

    Each hit is written directly to its final position, because sorting 12 million hits takes
    several seconds.
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
    """Write arrays into an npz file, complete or not at all; equal arrays give equal bytes.

    The file is compressed by LZMA: numpy itself writes only deflate, which is an eighth larger.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_LZMA) as archive:
            for name, array in arrays.items():
                # a ZipInfo without a time stamp, so that equal arrays give equal bytes
                entry = zipfile.ZipInfo(f"{name}.npy")
                entry.compress_type = zipfile.ZIP_LZMA
                with archive.open(entry, "w") as file:
                    np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
