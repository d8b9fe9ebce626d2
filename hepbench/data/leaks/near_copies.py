"""Near-copies: counts examples that nearly equal one of another part, but not exactly. Pure.

An example that another program rounded, mirrored, or changed by small noise is the same example. Each is
summarised by a few numbers, its fingerprint, which mirroring does not change and rounding changes little.
Copies differ from natural neighbours by their distances: natural neighbours are at all distances, so
that few of them are much closer than the others; copies are all within a small distance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.data.duplicates import PAIRS
from hepbench.data.splits import stirred
from hepbench.specs.sparse_images import SparseImages
from hepbench.storage.records import Leak

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from hepbench.specs.types import Array


DISTANCES = (0.0005, 0.002, 0.008, 0.032, 0.128)
"""Distances of copies that are tried, in units of the spread of each number of the fingerprint."""


WIDER = 4
"""Within this times the distance of copies lie less than twice as many neighbours."""


FEWEST, SMALLEST_FRACTION = 20, 0.002
"""Examples with a neighbour; fewer do not tell copies from natural neighbours."""


CROWDED = 0.25
"""Fraction of examples with a neighbour from which on all neighbours of some examples are counted."""


COUNTED_ROWS = 100


FEW_PAIRS = 4_000_000
"""Pairs of examples whose differences are computed one by one."""


TAILS = (0.1, 0.9)
"""Quantiles that measure the spread of numbers."""


WIDE = 100
"""Ratio of these quantiles of numbers above 0 from which on their ranks are compared."""


NORMAL, UNIFORM = 2.56, 12**0.5
"""Difference of these quantiles of a normal distribution, and width of a uniform one, of spread 1."""


MOST_NUMBERS = 12
"""Longest fingerprint; of more numbers, sums with random signs are taken."""


CELL, DIRECTIONS = 0.1, 3
"""Size of a cell in units of the spread, and number of directions in which cells are counted."""


class Cells:
    """Assigns each example to a cell, so that copies are mostly in the same one.

    Cells are chosen, or not, as a whole: in a choice of single examples from millions, hardly one
    would be together with its copy. The spread is that of the first examples.
    """

    def __init__(self) -> None:
        self._directions: NDArray[Any] | None = None

    def ranks(self, inputs: Mapping[str, Array]) -> NDArray[np.uint64]:
        """Return the hash of the cell of each example."""
        found = np.concatenate([_totals(array) for array in floating(inputs).values()], axis=1)
        if self._directions is None:
            spread = found.std(0, dtype=np.float64)
            scale = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0)
            directions = _signs(len(spread), DIRECTIONS) * scale[:, None]
            along = (found @ directions).std(0)
            directions /= CELL * np.where(along > 0, along, 1)
            self._directions = directions.astype(found.dtype)
        # a later example may be far outside the range of the first ones
        with np.errstate(invalid="ignore", over="ignore"):
            cells = np.floor(found @ self._directions).astype(np.int64).astype(np.uint64)
        ranks = np.zeros(len(found), np.uint64)
        for cell in cells.T:
            ranks = stirred(ranks ^ cell)
        return ranks


def floating(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return the inputs that are no whole numbers, by name and in their order; all, if none is."""
    chosen = {n: a for n, a in sorted(inputs.items()) if a.dtype.kind == "f"}
    return chosen or dict(sorted(inputs.items()))


def _signs(rows: int, columns: int) -> NDArray[np.float64]:
    bits = stirred(np.arange(1, rows * columns + 1).astype(np.uint64)) & np.uint64(1)
    return 1 - 2 * bits.astype(np.float64).reshape(rows, columns)


def _totals(array: Array) -> NDArray[Any]:
    """Return (n, F) absolute values of a table, or their sums over pixels or particles."""
    if isinstance(array, SparseImages):
        hits = _Hits(array)
        return hits.sums(hits.sizes)
    values: NDArray[Any] = np.abs(np.asarray(array, np.result_type(array.dtype, np.float32)))
    if values.ndim <= 2:
        return values.reshape(len(values), -1)
    # sums and squares of large float32 numbers do not fit into float32
    sums: NDArray[Any] = values.sum(_inner(values), dtype=np.float64)
    return sums


class _Hits:
    """The hits of sparse images, for sums over the hits of each channel."""

    def __init__(self, images: SparseImages) -> None:
        channels, height, width = images.image
        rows, positions, values = images.hits()
        channel, pixel = np.divmod(positions, height * width)
        self.sizes = np.abs(values)
        self.places = np.divmod(pixel, width)
        self._rows_and_channels = rows * channels + channel
        self._shape = len(images), channels

    def sums(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return (n, C) sums of a value of each hit."""
        n, channels = self._shape
        found = np.bincount(self._rows_and_channels, values, minlength=n * channels)
        return found.astype(np.float64).reshape(n, channels)


def _inner(array: NDArray[Any]) -> tuple[int, ...]:
    """Return the axes of pixels or particles, which are not those of channels or features."""
    return tuple(range(2, array.ndim)) if array.ndim >= 4 else (1,)


def fingerprints(inputs: Mapping[str, Array], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (n, F) numbers of some examples that mirroring and the order of particles keep."""
    every = len(rows) == len(next(iter(inputs.values())))
    chosen = (array if every else array[rows] for array in floating(inputs).values())
    found = [column for array in chosen for column in _numbers(array)]
    return np.concatenate(found, axis=1).astype(np.float64)


def _numbers(array: Array) -> Iterator[NDArray[Any]]:
    """Yield (n, F) numbers of one input: values of a table, else sums over pixels or particles."""
    if isinstance(array, SparseImages):
        hits = _Hits(array)
        yield hits.sums(hits.sizes)
        yield np.sqrt(hits.sums(hits.sizes.astype(np.float64) ** 2))
        for place, side in zip(hits.places, array.image[1:], strict=True):
            yield hits.sums(hits.sizes * np.abs(place - (side - 1) / 2))
        return
    yield _totals(array)
    if array.ndim <= 2:
        return
    values = np.abs(np.asarray(array, np.float64))
    yield np.sqrt((values**2).sum(_inner(values)))
    if values.ndim < 4:
        yield values.max(1)
        return
    for axis in range(2, values.ndim):
        side = values.shape[axis]
        away = np.abs(np.arange(side) - (side - 1) / 2)
        others = tuple(i for i in range(2, values.ndim) if i != axis)
        yield values.sum(others) @ away


def across_parts(
    found: NDArray[np.float64],
    hashes: NDArray[np.uint64],
    parts: NDArray[np.int64],
    names: Sequence[str],
) -> Iterator[Leak]:
    """Yield the number of examples of a part that nearly equal one of an earlier part, if any.

    Args:
        found: (n, F) fingerprints.
        hashes: (n,) of the whole examples; exact copies are left out.
        parts: (n,) index in ``names`` of the part of each example, -1 for none.
        names: of the parts, in the order in which methods see them.
    """
    order = np.argsort(np.where(parts < 0, len(names), parts), kind="stable")
    # the first of exact copies
    chosen = order[np.sort(np.unique(hashes[order], return_index=True)[1])]
    chosen = chosen[parts[chosen] >= 0]
    points, parts = _scaled(found[chosen]), parts[chosen]
    if len(points) < FEWEST or not points.shape[1]:
        return
    distance = _distance_of_copies(points)
    for first, second in PAIRS if distance else ():
        if not {first, second} <= set(names):
            continue
        earlier, later = (points[parts == names.index(name)] for name in (first, second))
        if count := int(np.isfinite(_nearest(earlier, later, distance)).sum()):
            yield Leak(
                kind="near_copies",
                where=f"{first}_{second}",
                found=count / len(later),
                count=count,
                examined=len(later),
            )


def _scaled(found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return at most MOST_NUMBERS numbers of each example, in units of their spread."""
    points = [_of_spread_1(column) for column in found.T if len(column) and np.ptp(column)]
    scaled = np.stack(points, axis=1) if points else np.empty((len(found), 0))
    if scaled.shape[1] > MOST_NUMBERS:
        scaled = scaled @ _signs(scaled.shape[1], MOST_NUMBERS) / np.sqrt(scaled.shape[1])
    return scaled


def _of_spread_1(column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return numbers of at least 0 in units of their spread; their ranks if these differ by orders.

    Energies over many orders of magnitude are so near to 0 that they would be copies of each other.
    Ranks of other numbers would separate copies: noise gives equal numbers any rank.
    """
    low, high = np.quantile(column[column > 0], TAILS)
    if high > WIDE * low:
        ranks = np.unique(column, return_inverse=True)[1]
        return np.asarray(ranks / ranks.max() * UNIFORM)
    low, high = np.quantile(column, TAILS)
    return np.asarray(column / ((high - low) / NORMAL if high > low else column.std()))


def _distance_of_copies(points: NDArray[np.float64]) -> float:
    """Return the distance within which neighbours are copies, 0 if there is no such distance."""
    nearest = _nearest(points, points, WIDER * DISTANCES[-1])
    with_neighbour = np.array([(nearest <= distance).sum() for distance in DISTANCES])
    wide = np.array([(nearest <= WIDER * distance).sum() for distance in DISTANCES])
    close, wide = np.where(
        wide <= CROWDED * len(points), (with_neighbour, wide), _all_neighbours(points)
    )
    fewest = max(FEWEST, SMALLEST_FRACTION * len(points))
    copies = np.flatnonzero((with_neighbour >= fewest) & (2 * close >= wide))
    if not len(copies):
        return 0.0
    # a wider distance adds natural neighbours
    enough = with_neighbour[copies] >= 0.9 * with_neighbour[copies[-1]]
    return DISTANCES[copies[np.argmax(enough)]]


def _all_neighbours(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the numbers of neighbours within DISTANCES, and within WIDER times these.

    They are those of some points. Where nearly all points have a neighbour, only these numbers tell
    copies from a crowd.
    """
    limits = np.array([DISTANCES, np.multiply(WIDER, DISTANCES)])
    found = np.zeros(limits.shape)
    for point in points[:: -(-len(points) // COUNTED_ROWS)]:
        away = np.sort(np.abs(points - point).max(1))
        found += np.searchsorted(away, limits, side="right") - 1
    return found


def _nearest(
    given: NDArray[np.float64], asked: NDArray[np.float64], limit: float
) -> NDArray[np.float64]:
    """Return the largest difference from the nearest other point; infinite beyond a limit."""
    if not len(given) or not len(asked):
        return np.full(len(asked), np.inf)
    if len(given) * len(asked) <= FEW_PAIRS:
        return _nearest_of_few(given, asked, limit)
    from scipy.spatial import cKDTree

    itself = 2 if given is asked else 1
    found = cKDTree(given).query(asked, k=[itself], p=np.inf, distance_upper_bound=limit)[0]
    return np.asarray(found)[:, 0]


def _nearest_of_few(
    given: NDArray[np.float64], asked: NDArray[np.float64], limit: float
) -> NDArray[np.float64]:
    """Return the same from the differences of all pairs, without the half second to import scipy."""
    away = np.zeros((len(asked), len(given)))
    for ours, theirs in zip(asked.T, given.T, strict=True):
        np.maximum(away, np.abs(ours[:, None] - theirs), out=away)
    if given is asked:
        np.fill_diagonal(away, np.inf)
    found: NDArray[np.float64] = away.min(1)
    return np.where(found <= limit, found, np.inf)
