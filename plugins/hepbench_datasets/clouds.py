"""Make point clouds and graphs from pixels of images, for networks that take no images.

Each pixel with a deposit in any channel is a point. Its features are its position and the values of
all channels, and it is joined to the nearest points in eta and phi, like the particles of Qu and
Gouskos, Phys. Rev. D 101, 056019 (2020), arXiv:1902.08570 in the first layer of their network. Ids,
split and labels are those of the images, so that networks for images and for clouds see the same
jets.

A dataset wraps ``cloud`` and ``graph`` in its own views, which know its channels and pixels. Points
are sorted by energy, then by distance from the centre, then by row and column: an example has the
same points in the same order on every machine, in any chunk. The graph is made here and not by the
networks because many distances between pixels are equal: as whole numbers they compare exactly. So
the time for the graph (0.4 ms for 256 points on one core) is not part of a network's latency.

A cloud of P points and C channels takes P (4 C + 13) bytes, its graph P k bytes, or 2 P k above 256
points; a sparse image takes 8 bytes per hit, or 6 bytes if all its channels together have at most
65,536 pixels.
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
"""Number of images that are converted at a time; for 125 x 125 pixels, energies take 4 MB."""

DISTANCES = 500_000
"""Number of distances between points that are computed at a time: 2 MB fit into the cache."""

MIN_FRACTION = 1e-6
"""Smallest fraction of an image's energy that is stored for a pixel."""

CRYSTAL = 2 * np.pi / 360
"""Size of a crystal of the CMS barrel in phi, in radian."""
LAYOUTS: dict[int, dict[str, Any]] = {
    125: {"pixel": CRYSTAL, "middle": (62, 62)},
    128: {"pixel": CRYSTAL, "middle": (63, 63)},
    64: {"pixel": 2 * CRYSTAL, "middle": (31.25, 31.25)},
}
"""Arguments of ``cloud`` for images of 125 x 125 crystals, for such images padded by one row before
and two after, and for padded images at half the resolution, with the centre at a quarter pixel."""

FLOAT_BITS = 31
"""Number of bits of a non-negative float32, whose bits sort in the same order as the numbers."""


def features(channels: Sequence[str]) -> tuple[str, ...]:
    """Return the names of a pixel cloud's features, given the names of the image's channels."""
    return ("deta", "dphi", *channels, "logerel")


def units(channels: Sequence[str]) -> tuple[str, ...]:
    """Return the units of a pixel cloud's features, given the units of the image's channels."""
    return ("", "rad", *channels, "")


def cloud(
    images: Array,
    *,
    points: int,
    energies: Mapping[int, float],
    pixel: float,
    middle: tuple[float, float] | None = None,
) -> Inputs:
    """Return the pixels with the most energy in each image as a point cloud.

    Args:
        images: (N, C, H, W), sparse or dense; rows along eta, columns along phi.
        points: number of pixels to keep, P.
        energies: for each channel that is an energy or a transverse momentum, the energy of a value
            of 1, in a common unit. The pixels with the largest sum are kept; pixels without energy
            come last.
        pixel: size of a pixel in radian.
        middle: row and column at eta = phi = 0; None: the centre of the image.

    Returns:
        ``cloud`` (N, P, C + 3) float32, see ``features``: eta and phi from the centre in radian;
        the value of each channel; the logarithm of the pixel's fraction of the energy of the
        image, at least log(MIN_FRACTION). Padding is 0. ``mask`` (N, P) bool: True for a pixel.

    Raises:
        DataError: ``points`` is below 1.
    """
    _check(points=points)
    n, channels, height, width = images.shape
    origin = middle or ((height - 1) / 2, (width - 1) / 2)
    result = np.zeros((n, points, channels + 3), np.float32)
    mask = np.zeros((n, points), bool)
    for rows, hits in _batches(images):
        energy = _energies(hits, energies)
        places = _hottest(hits, energy, points)
        real = mask[rows] = places >= 0
        part = result[rows]
        for axis, position in enumerate(np.divmod(places[real], width)):
            part[real, axis] = pixel * (position - origin[axis])
        part[real, -1] = _log_fractions(energy, places, real)
        _deposit(hits, places, part[..., 2:-1])
    return {"cloud": result, "mask": mask}


def _log_fractions(energy: Array, places: Array, real: Array) -> Array:
    """Return the logarithm of each point's fraction of its image's energy."""
    image = np.nonzero(real)[0]
    total = energy.sum(1, dtype=np.float64)
    fraction = energy[image, places[real]] / np.where(total > 0, total, 1)[image]
    return np.log(np.maximum(fraction, MIN_FRACTION))


def graph(images: Array, *, points: int, k: int, energies: Mapping[int, float]) -> Inputs:
    """Return the k nearest neighbours of each point in the clouds that ``cloud`` makes.

    Returns:
        ``neighbours`` (N, P, k), of the smallest dtype that holds P - 1: see ``neighbours``.

    Raises:
        DataError: ``points`` or ``k`` is below 1.
    """
    _check(points=points, k=k)
    result = np.empty((len(images), points, k), np.min_scalar_type(points - 1))
    for rows, hits in _batches(images):
        places = _hottest(hits, _energies(hits, energies), points)
        row, column = np.divmod(places, images.shape[-1])
        result[rows] = neighbours(row, column, places >= 0, k=k)
    return {"neighbours": result}


def neighbours(row: Array, column: Array, mask: Array, *, k: int) -> Array:
    """Return the k nearest other points of each point in a cloud.

    Args:
        row, column: (N, P) whole numbers, at least 0, so that distances are exact.
        mask: (N, P) bool, True for a point.

    Returns:
        (N, P, k) int64, indices in the cloud: the nearest first; of points at the same distance the
        one that comes first in the cloud, which has more energy. If there are fewer than k
        other points, the rest is filled with the point's own index. Padding has only its own
        index.
    """
    n, points = mask.shape
    result = np.broadcast_to(np.arange(points)[:, None], (n, points, k)).copy()
    # the points after these are padding in every cloud
    used = int(np.flatnonzero(mask.any(axis=0)).max(initial=-1)) + 1
    step = max(1, DISTANCES // max(used, 1) ** 2)
    for start in range(0, n, step):
        some = slice(start, start + step), slice(used)
        result[some] = _nearest(row[some], column[some], mask[some], k)
    return result


def _nearest(row: Array, column: Array, mask: Array, k: int) -> Array:
    n, points = mask.shape
    # pack the distance and, in the lowest bits, the index of the point into one number for sorting
    bits = points.bit_length()
    farthest = row.max(initial=0) ** 2 + column.max(initial=0) ** 2
    kind = np.dtype(np.int32 if (farthest + 1) << bits < 2**31 else np.int64)
    excluded = np.iinfo(kind).max
    own = np.arange(points, dtype=kind)
    found = np.zeros((n, points, points), kind)
    for axis in (row.astype(kind), column.astype(kind)):
        step = axis[:, :, None] - axis[:, None]
        step *= step
        found += step
    found <<= bits
    found |= own
    found[:, own, own] = excluded
    np.copyto(found, excluded, where=~(mask[:, :, None] & mask[:, None]))
    if k < points:
        found = np.partition(found, k - 1, axis=-1)[..., :k]
    found.sort(axis=-1)
    result = np.broadcast_to(own[:, None], (n, points, k)).copy()
    np.copyto(result[..., :points], found & ((1 << bits) - 1), where=found < excluded)
    return result


class _Hits(NamedTuple):
    """The hits (non-zero pixels) of n images: image, channel, position and value of each."""

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


def _energies(hits: _Hits, energy_of_one: Mapping[int, float]) -> Array:
    """Return the energy of each pixel of n images, summed over channels, (n, H W) float32."""
    n, size = hits.shape[0], hits.shape[2] * hits.shape[3]
    factors = np.zeros(hits.shape[1])
    factors[list(energy_of_one)] = list(energy_of_one.values())
    some = factors[hits.channel] > 0
    pixels = hits.row[some] * size + hits.place[some]
    values = factors[hits.channel[some]] * hits.value[some]
    sums = np.bincount(pixels, values, n * size).astype(np.float32)
    return np.where(sums > 0, sums, np.float32(0)).reshape(n, size)


def _hottest(hits: _Hits, energy: Array, points: int) -> Array:
    """Return the positions of the pixels with the most energy, (n, points); -1 for padding."""
    n, size = energy.shape
    hit = np.zeros(n * size, bool)
    hit[hits.row * size + hits.place] = True
    pixels = np.flatnonzero(hit)
    row, place = np.divmod(pixels, size)
    outwards, rank = _outwards(*hits.shape[2:])
    # pack all sort keys into one number, because plain numbers are sorted quickly
    bits = (size - 1).bit_length()
    coldness = 2**FLOAT_BITS - 1 - energy.reshape(-1)[pixels].view(np.int32).astype(np.int64)
    order = (row << (FLOAT_BITS + bits)) | (coldness << bits) | rank[place]
    order.sort()
    counts = np.bincount(row, minlength=n)
    place_in_cloud = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = place_in_cloud < points
    places = np.full((n, points), -1)
    places[row[kept], place_in_cloud[kept]] = outwards[order[kept] & (2**bits - 1)]
    return places


@cache
def _outwards(height: int, width: int) -> tuple[Array, Array]:
    """Return the pixels of an image sorted by distance from its centre, and the rank of each."""
    y, x = np.divmod(np.arange(height * width), width)
    distance = (2 * y - height + 1) ** 2 + (2 * x - width + 1) ** 2
    outwards = np.argsort(distance, kind="stable")
    return outwards, np.argsort(outwards)


def _deposit(hits: _Hits, places: Array, out: Array) -> None:
    """Write the values of all channels at the points of a cloud into ``out``, (n, points, C)."""
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
            msg = f"{name} is {value}; at least 1 is expected"
            raise DataError(msg)
