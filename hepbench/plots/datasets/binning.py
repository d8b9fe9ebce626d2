"""Bins in which values are seen well: even or logarithmic, of whole numbers, or one for each value."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from hepbench.specs.types import Array


BINS = 40


FEWEST = 10
"""Bins, at most, and where there are few values."""


TAIL = 0.002
"""Share of the values seen that may lie beyond an axis, on each side."""


DECADES = 6
"""Of a logarithmic axis at most."""


FEW = 6
"""So many different values are shown one by one."""


MOST_PLACES = 300
"""Of pixels along an axis."""


ROUNDING = 1e-5
"""Of float32, as a share of an axis."""


class Bins(NamedTuple):
    """Where a quantity is counted.

    Attributes:
        edges: (bins + 1,).
        scale: matplotlib's: ``linear``, ``log`` or ``symlog``.
        values: (bins,) what is in each bin, where there are FEW different values; the bins are then
            of width 1, and ``edges`` count them.
    """

    edges: Array
    scale: str = "linear"
    values: Array | None = None

    def places(self, values: Array) -> Array:
        """Return the bin of each value; what lies beyond is in the first or the last."""
        edges = self.edges
        if self.values is not None:
            middles = (self.values[1:] + self.values[:-1]) / 2
            return np.searchsorted(middles, values)
        found = np.searchsorted(edges, values, side="right") - 1
        return np.clip(found, 0, len(edges) - 2)


def bins(values: Array, *, log: bool = False, n: int = BINS) -> Bins:
    """Return about n bins in which values (K,) are seen well.

    Args:
        values: whole numbers get bins of whole numbers.
        log: take a logarithmic axis where the values are of many sizes, on both sides of 0 where
            they have both signs.
    """
    values = np.asarray(values, np.float64)
    if not len(values):
        return Bins(np.array([0.0, 1.0]))
    different = np.unique(values)
    if len(different) <= FEW:
        return Bins(np.arange(len(different) + 1.0), values=different)
    sizes = np.abs(values[values != 0])
    if log and len(sizes):
        low, middle, high, highest = np.quantile(sizes, [0.02, 0.5, 0.98, 1 - TAIL])
        if values.min() > 0 and high > 20 * low:
            return Bins(_wide(values, n, TAIL), "log")
        if values.min() < 0 and highest > 10 * middle:
            positive = _wide(sizes, n // 3, 0.3)
            return Bins(np.concatenate([-positive[::-1], positive]), "symlog")
    # where axes are logarithmic, rare values are seen
    return Bins(_even(values, n, TAIL / 20 if log else TAIL))


def number(values: int) -> int:
    """Return how many bins so many values fill."""
    return int(np.clip(1.2 * np.sqrt(values), FEWEST, BINS))


def _wide(values: Array, n: int, tail: float) -> Array:
    """Return the edges of n bins in even ratios; of whole numbers between them."""
    high = float(values.max())
    low = max(float(np.quantile(values, tail)), high * 10.0**-DECADES)
    if _whole(values):
        edges = np.unique(np.round(np.geomspace(low, high + 1, n + 1)))
        return np.append(edges[:-1], high + 1) - 0.5
    return np.geomspace(low, high, n + 1)


def _even(values: Array, n: int, tail: float) -> Array:
    """Return edges in even distances; of whole numbers between them."""
    low, high = np.quantile(values, [tail, 1 - tail])
    if low == high:
        return np.array([low - 0.5, low + 0.5])
    if (lattice := _lattice(values)) is not None:
        start, step = lattice
        return start + step * _alike(np.round([(low - start) / step, (high - start) / step]), n)
    if _whole(values):
        # the pixels of a tower come together
        unit = np.gcd.reduce(values.astype(np.int64))
        step = unit * max(1.0, np.ceil((high - low) / unit / n))
        first = np.floor(low / unit) * unit
        return np.arange(first, high + step + unit, step) - unit / 2
    return np.linspace(low, high, n + 1)


def _alike(ends: Array, n: int) -> Array:
    """Return the edges of about n bins of as many whole numbers each, from one to the other."""
    first, last = ends
    count = int(last - first) + 1
    least = -(-count // n)
    # where nothing divides them, the last bin reaches beyond
    size = next((size for size in range(least, 2 * least + 1) if count % size == 0), least)
    return np.arange(first, last + size + 1, size) - 0.5


def _lattice(values: Array) -> tuple[float, float] | None:
    """Return a first value and the step of values that are not whole numbers, but as evenly spaced
    as these: the places of pixels.
    """
    different = np.unique(values)
    if len(different) > MOST_PLACES or _whole(values):
        return None
    gaps = np.diff(different)
    step = float(gaps[gaps > ROUNDING * np.ptp(different)].min())
    steps = np.round((different - different[0]) / step)
    if steps[-1] > MOST_PLACES:
        return None
    step = float(np.ptp(different) / steps[-1])
    off = np.abs(different - different[0] - step * steps).max()
    return (float(different[0]), step) if off < ROUNDING * np.ptp(different) else None


def _whole(values: Array) -> bool:
    return bool((values == np.round(values)).all() and np.abs(values).max() < 2**53)
