"""Choose the bins of a histogram: even, logarithmic, of whole numbers, or one for each value."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from hepbench.specs.types import Array


BINS = 40


FEWEST = 10
"""The largest and smallest number of bins in a histogram."""


TAIL = 0.002
"""Fraction of the values that may lie beyond each end of a histogram's axis."""


DECADES = 6
"""The most decades of a logarithmic axis."""


FEW = 6
"""If there are at most this many different values, each gets its own bin."""


MAX_PIXELS = 300
"""The largest number of pixels along an axis whose positions are recognised as a lattice."""


ROUNDING = 1e-5
"""Rounding error of float32, as a fraction of the length of an axis."""


class Bins(NamedTuple):
    """The bins of a histogram of one quantity.

    Attributes:
        edges: (bins + 1,).
        scale: the scale of matplotlib's axis: ``linear``, ``log`` or ``symlog``.
        values: (bins,) the value in each bin if there are at most FEW different ones; ``edges`` are
            then 0, 1, 2, ...
    """

    edges: Array
    scale: str = "linear"
    values: Array | None = None

    def places(self, values: Array) -> Array:
        """Return the bin index of each value; values beyond the edges go into the end bins."""
        edges = self.edges
        if self.values is not None:
            middles = (self.values[1:] + self.values[:-1]) / 2
            return np.searchsorted(middles, values)
        found = np.searchsorted(edges, values, side="right") - 1
        return np.clip(found, 0, len(edges) - 2)


def bins(values: Array, *, log: bool = False, n: int = BINS) -> Bins:
    """Return about n histogram bins that suit the values (K,).

    Args:
        values: bins of whole numbers hold whole numbers, each the same number of them.
        log: use a logarithmic axis if the values span orders of magnitude, on both sides of 0 if
            they have both signs.
    """
    values = np.asarray(values, np.float64)
    if not len(values):
        return Bins(np.array([0.0, 1.0]))
    different = np.unique(values)
    if len(different) <= FEW:
        return Bins(np.arange(len(different) + 1.0), values=different)
    if log and (found := _logarithmic(values, n)):
        return found
    # with log, heights are on a logarithmic axis, which shows rare values too
    return Bins(_even(values, n, TAIL / 20 if log else TAIL))


def _logarithmic(values: Array, n: int) -> Bins | None:
    """Return logarithmic bins if the values span orders of magnitude."""
    sizes = np.abs(values[values != 0])
    if not len(sizes):
        return None
    low, middle, high, highest = np.quantile(sizes, [0.02, 0.5, 0.98, 1 - TAIL])
    if values.min() > 0 and high > 20 * low:
        return Bins(_geometric(values, n, TAIL), "log")
    if values.min() < 0 and highest > 10 * middle:
        positive = _geometric(sizes, n // 3, 0.3)
        return Bins(np.concatenate([-positive[::-1], positive]), "symlog")
    return None


def suitable_number(values: int) -> int:
    """Return a suitable number of histogram bins for a number of values."""
    return int(np.clip(1.2 * np.sqrt(values), FEWEST, BINS))


def _geometric(values: Array, n: int, tail: float) -> Array:
    """Return the edges of n logarithmic bins; for whole numbers, half-way between them."""
    high = float(values.max())
    low = max(float(np.quantile(values, tail)), high * 10.0**-DECADES)
    if _are_whole(values):
        edges = np.unique(np.round(np.geomspace(low, high + 1, n + 1)))
        return np.append(edges[:-1], high + 1) - 0.5
    return np.geomspace(low, high, n + 1)


def _even(values: Array, n: int, tail: float) -> Array:
    """Return equally spaced bin edges; for whole numbers and pixels, half-way between them."""
    low, high = np.quantile(values, [tail, 1 - tail])
    if low == high:
        return np.array([low - 0.5, low + 0.5])
    if (lattice := _lattice(values)) is not None:
        start, step = lattice
        return start + step * _whole_edges(
            np.round([(low - start) / step, (high - start) / step]), n
        )
    if _are_whole(values):
        # numbers of pixels may be multiples of the pixels in a tower
        unit = np.gcd.reduce(values.astype(np.int64))
        step = unit * max(1.0, np.ceil((high - low) / unit / n))
        first = np.floor(low / unit) * unit
        return np.arange(first, high + step + unit, step) - unit / 2
    return np.linspace(low, high, n + 1)


def _whole_edges(ends: Array, n: int) -> Array:
    """Return the edges of about n bins that hold equally many whole numbers each."""
    first, last = ends
    count = int(last - first) + 1
    least = -(-count // n)
    # if no size divides the count, the last bin extends beyond the last number
    size = next((size for size in range(least, 2 * least + 1) if count % size == 0), least)
    return np.arange(first, last + size + 1, size) - 0.5


def _lattice(values: Array) -> tuple[float, float] | None:
    """Return first value and step if values are equally spaced, as positions of pixels are.

    None for whole numbers and for values that are not evenly spaced.
    """
    different = np.unique(values)
    if len(different) > MAX_PIXELS or _are_whole(values):
        return None
    gaps = np.diff(different)
    step = float(gaps[gaps > ROUNDING * np.ptp(different)].min())
    steps = np.round((different - different[0]) / step)
    if steps[-1] > MAX_PIXELS:
        return None
    step = float(np.ptp(different) / steps[-1])
    off = np.abs(different - different[0] - step * steps).max()
    return (float(different[0]), step) if off < ROUNDING * np.ptp(different) else None


def _are_whole(values: Array) -> bool:
    return bool((values == np.round(values)).all() and np.abs(values).max() < 2**53)
