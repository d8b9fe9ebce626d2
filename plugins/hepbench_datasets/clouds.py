"""Images as clouds of their pixels, and the clouds as graphs: for networks that take no image.

A pixel with a deposit in any channel is a point: its features are where it is and what is there, and
it is joined to the points that are nearest to it in eta and phi, as the particles of Qu and Gouskos,
Phys. Rev. D 101, 056019 (2020), arXiv:1902.08570 are in their first layer. Ids, split and labels are
those of the images, so that networks of either kind see the same jets.

A dataset wraps ``cloud`` and ``graph`` in views of its own, which know its channels and its pixels.
Points are ordered by energy, then by their distance from the middle, then by row and column: an
example has the same points in the same order on every machine, whatever else is in its chunk. The
graph is made here and not by networks: pixels tie in distance, and ties are whole numbers here; what
it takes (0.4 ms for 256 points on one core) is so no part of a network's latency.

A cloud of P points and C channels takes P (4 C + 13) bytes, its graph P k, or 2 P k above 256 points;
a sparse image takes 8 bytes, or 6 up to 65,536 pixels in all channels, for each hit.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hepbench import DataError, SparseImages

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hepbench import Array, Inputs

BATCH = 64
"""Images at a time: the energies of so many of 125 x 125 pixels are 4 MB."""

DISTANCES = 500_000
"""Between points, at a time: 2 MB, which stay in the processor's cache."""

LEAST_SHARE = 1e-6
"""Of the energy of an example: a pixel with less counts as one with so much."""

CRYSTAL = 2 * np.pi / 360
"""Radian, the size of a crystal of the CMS barrel in phi."""
LAYOUTS: dict[int, dict[str, Any]] = {
    125: {"pixel": CRYSTAL, "middle": (62, 62)},
    128: {"pixel": CRYSTAL, "middle": (63, 63)},
    64: {"pixel": 2 * CRYSTAL, "middle": (31.25, 31.25)},
}
"""Where ``cloud`` finds the pixels of images of 125 x 125 crystals, of such images padded by one row
before and two behind, and of these halved: the middle is in the first quarter of a pixel."""

FLOAT_BITS = 31
"""Of a float32 that is not negative; they are in the order of the numbers."""


def features(channels: Sequence[str]) -> tuple[str, ...]:
    """Return the names of a cloud's features; the first two and the last mean what JetClass means."""
    return ("deta", "dphi", *channels, "logerel")


def units(channels: Sequence[str]) -> tuple[str, ...]:
    """Return their units, where those of channels are these."""
    return ("", "rad", *channels, "")


def cloud(
    images: Array,
    *,
    points: int,
    energies: Mapping[int, float],
    pixel: float,
    middle: tuple[float, float] | None = None,
) -> Inputs:
    """Return the pixels of most energy of each image as a cloud.

    Args:
        images: (N, C, H, W), sparse or dense; rows along eta, columns along phi.
        points: how many pixels are kept, P.
        energies: which channels are energies or transverse momenta, and what a 1 in each of them is
            worth, in whatever unit. Their sum tells which pixels are kept: those that have none of
            it come last.
        pixel: its size, in radian.
        middle: the row and the column that are at 0; None: those of the image's middle.

    Returns:
        ``cloud`` (N, P, C + 3) float32, see ``features``: eta and phi from the middle, in radian;
        what each channel has there, as it is; the logarithm of the pixel's share of the energy of
        the whole image, at least that of LEAST_SHARE. Padding is 0.
        ``mask`` (N, P) bool: True for a pixel.

    Raises:
        DataError: ``points`` is below 1.
    """
    _check(points=points)
    n, channels, height, width = images.shape
    row, column = middle or ((height - 1) / 2, (width - 1) / 2)
    made = np.zeros((n, points, channels + 3), np.float32)
    mask = np.zeros((n, points), bool)
    for rows, hits in _batches(images):
        energy = _energies(hits, energies)
        places = _hottest(hits, energy, points)
        real = mask[rows] = places >= 0
        y, x = np.divmod(places[real], width)
        owner = np.nonzero(real)[0]
        part = made[rows]
        part[real, 0] = pixel * (y - row)
        part[real, 1] = pixel * (x - column)
        total = energy.sum(1, dtype=np.float64)
        share = energy[owner, places[real]] / np.where(total > 0, total, 1)[owner]
        part[real, -1] = np.log(np.maximum(share, LEAST_SHARE))
        _deposit(hits, places, part[..., 2:-1])
    return {"cloud": made, "mask": mask}


def graph(images: Array, *, points: int, k: int, energies: Mapping[int, float]) -> Inputs:
    """Return the k nearest neighbours of each point of the cloud of the same arguments.

    Returns:
        ``neighbours`` (N, P, k), of the smallest type that holds P - 1: see ``neighbours``.

    Raises:
        DataError: ``points`` or ``k`` is below 1.
    """
    _check(points=points, k=k)
    made = np.empty((len(images), points, k), np.min_scalar_type(points - 1))
    for rows, hits in _batches(images):
        places = _hottest(hits, _energies(hits, energies), points)
        row, column = np.divmod(places, images.shape[-1])
        made[rows] = neighbours(row, column, places >= 0, k=k)
    return {"neighbours": made}


def neighbours(row: Array, column: Array, mask: Array, *, k: int) -> Array:
    """Return the k other points of its cloud that are nearest to each point.

    Args:
        row, column: (N, P) whole numbers, at least 0: distances are exact, and so are equal ones.
        mask: (N, P) bool, True for a point.

    Returns:
        (N, P, k) int64, places in the cloud: the nearest first, of two at the same distance the one
        that comes first in the cloud, which has more energy. A point's own place stands behind them
        where there are fewer than k others, and nowhere else. Padding has its own alone.
    """
    n, points = mask.shape
    made = np.broadcast_to(np.arange(points)[:, None], (n, points, k)).copy()
    # what comes behind is padding in every cloud
    used = int(np.flatnonzero(mask.any(axis=0)).max(initial=-1)) + 1
    step = max(1, DISTANCES // max(used, 1) ** 2)
    for start in range(0, n, step):
        some = slice(start, start + step), slice(used)
        made[some] = _nearest(row[some], column[some], mask[some], k)
    return made


def _nearest(row: Array, column: Array, mask: Array, k: int) -> Array:
    n, points = mask.shape
    # whole numbers that hold a distance and, in their lowest bits, whose it is: they sort as both
    bits = points.bit_length()
    farthest = row.max(initial=0) ** 2 + column.max(initial=0) ** 2
    kind = np.dtype(np.int32 if (farthest + 1) << bits < 2**31 else np.int64)
    nobody = np.iinfo(kind).max
    own = np.arange(points, dtype=kind)
    found = np.zeros((n, points, points), kind)
    for axis in (row.astype(kind), column.astype(kind)):
        step = axis[:, :, None] - axis[:, None]
        step *= step
        found += step
    found <<= bits
    found |= own
    found[:, own, own] = nobody
    np.copyto(found, nobody, where=~(mask[:, :, None] & mask[:, None]))
    if k < points:
        found = np.partition(found, k - 1, axis=-1)[..., :k]
    found.sort(axis=-1)
    made = np.broadcast_to(own[:, None], (n, points, k)).copy()
    np.copyto(made[..., :points], found & ((1 << bits) - 1), where=found < nobody)
    return made


class _Hits(NamedTuple):
    """Those of n images: of which, in which channel, at which place of (H, W), and how much."""

    row: Array
    channel: Array
    place: Array
    value: Array
    shape: tuple[int, ...]


def _batches(images: Array) -> Iterator[tuple[slice, _Hits]]:
    for start in range(0, len(images), BATCH):
        rows = slice(start, start + BATCH)
        some = images[rows]
        sparse = some if isinstance(some, SparseImages) else SparseImages.from_dense(some)
        row, positions, values = sparse.hits()
        channel, place = np.divmod(positions, sparse.shape[2] * sparse.shape[3])
        yield rows, _Hits(row, channel, place, values, sparse.shape)


def _energies(hits: _Hits, worth: Mapping[int, float]) -> Array:
    """Return the sum of some channels, (n, H W) float32; what is below zero is none."""
    n, size = hits.shape[0], hits.shape[2] * hits.shape[3]
    factors = np.zeros(hits.shape[1])
    factors[list(worth)] = list(worth.values())
    some = factors[hits.channel] > 0
    pixels = hits.row[some] * size + hits.place[some]
    values = factors[hits.channel[some]] * hits.value[some]
    sums = np.bincount(pixels, values, n * size).astype(np.float32)
    return np.where(sums > 0, sums, np.float32(0)).reshape(n, size)


def _hottest(hits: _Hits, energy: Array, points: int) -> Array:
    """Return the places of the pixels of most energy, (n, points); -1 where there are fewer."""
    n, size = energy.shape
    hit = np.zeros(n * size, bool)
    hit[hits.row * size + hits.place] = True
    pixels = np.flatnonzero(hit)
    row, place = np.divmod(pixels, size)
    outwards, rank = _outwards(*hits.shape[2:])
    # one number for all that decides, for numbers alone are sorted quickly
    bits = (size - 1).bit_length()
    coldness = 2**FLOAT_BITS - 1 - energy.reshape(-1)[pixels].view(np.int32).astype(np.int64)
    order = (row << (FLOAT_BITS + bits)) | (coldness << bits) | rank[place]
    order.sort()
    counts = np.bincount(row, minlength=n)
    behind = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = behind < points
    places = np.full((n, points), -1)
    places[row[kept], behind[kept]] = outwards[order[kept] & (2**bits - 1)]
    return places


@cache
def _outwards(height: int, width: int) -> tuple[Array, Array]:
    """Return the places of an image from the middle outwards, and the rank of each among them."""
    y, x = np.divmod(np.arange(height * width), width)
    distance = (2 * y - height + 1) ** 2 + (2 * x - width + 1) ** 2
    outwards = np.argsort(distance, kind="stable")
    return outwards, np.argsort(outwards)


def _deposit(hits: _Hits, places: Array, out: Array) -> None:
    """Write what each channel has at the places into ``out``, (n, points, C)."""
    size = hits.shape[2] * hits.shape[3]
    rows, points = np.nonzero(places >= 0)
    point = np.full(len(places) * size, -1, np.int32)
    point[rows * size + places[rows, points]] = points
    found = point[hits.row * size + hits.place]
    kept = found >= 0
    out[hits.row[kept], found[kept], hits.channel[kept]] = hits.value[kept]


def _check(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            msg = f"{name} is {value}; a number above 0 is expected"
            raise DataError(msg)
