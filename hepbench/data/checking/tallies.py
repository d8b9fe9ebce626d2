"""Tallies: sums, extremes and counts of inputs, by channel and class, added up chunk by chunk. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.data.checking.findings import STATISTICS
from hepbench.specs.errors import PluginError
from hepbench.specs.sparse_images import SparseImages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from hepbench.specs.types import Array


def channel_names(shape: Sequence[int], names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the checked channels or features; unnamed ones are numbered from 0.

    Raises:
        PluginError: the number of names differs from the number of channels or features.
    """
    size = shape[0] if len(shape) == 3 else shape[-1] if shape else 1
    found = tuple(names) or tuple(map(str, range(size)))
    if len(found) != size:
        msg = f"{len(found)} names for {size} channels or features"
        raise PluginError(msg)
    return found


class Tally:
    """Running sums, extremes and counts of one input.

    Args:
        shape: shape of one example: channels come first in an image (C, H, W), features last in
            any other input.
        names: names of its channels or features.
        groups: number of groups of examples.

    Attributes:
        examples, empty: (groups,) number of examples, and of images without a hit.

    Raises:
        PluginError: the number of names differs from the number of channels or features.
    """

    def __init__(self, shape: Sequence[int], names: Sequence[str], groups: int) -> None:
        self.image = len(shape) == 3
        self.names = channel_names(shape, names)
        size = len(self.names)
        self.examples = np.zeros(groups, np.int64)
        self.empty = np.zeros(groups, np.int64)
        self._values = np.zeros(groups, np.int64)
        self._sums = np.zeros((groups, size))
        self._hits = np.zeros((groups, size), np.int64)
        self._least = np.full((groups, size), np.inf)
        self._most = np.full((groups, size), -np.inf)

    def add(
        self, array: Array, groups: NDArray[np.int64], mask: NDArray[np.bool_] | None = None
    ) -> None:
        """Add n examples to what is counted of the checked files.

        Args:
            array: (n, ...) finite numbers.
            groups: (n,) group of each example.
            mask: (n, P) of a cloud (n, P, F): True for particles that count.
        """
        if isinstance(array, SparseImages):
            self._add_hits(array, groups)
            return
        for group in np.unique(groups):
            rows = groups == group
            chosen = np.asarray(array)[rows]
            self.examples[group] += len(chosen)
            if self.image:
                self.empty[group] += (~(chosen != 0).reshape(len(chosen), -1).any(1)).sum()
            columns = self._columns(chosen, None if mask is None else mask[rows])
            if columns.size:
                self._add(group, columns)

    def _columns(self, chosen: NDArray[Any], mask: NDArray[np.bool_] | None) -> NDArray[Any]:
        """Return (K, features, values of each)."""
        if self.image:
            return chosen.reshape(len(chosen), len(self.names), -1)
        flat = chosen if mask is None else chosen[mask]
        return flat.reshape(-1, len(self.names), 1)

    def _add(self, group: int, columns: NDArray[Any]) -> None:
        self._values[group] += columns.shape[0] * columns.shape[2]
        self._sums[group] += columns.sum((0, 2), dtype=np.float64)
        self._hits[group] += (columns != 0).sum((0, 2))
        self._least[group] = np.minimum(self._least[group], columns.min((0, 2)))
        self._most[group] = np.maximum(self._most[group], columns.max((0, 2)))

    def _add_hits(self, images: SparseImages, groups: NDArray[np.int64]) -> None:
        pixels = math.prod(images.image[1:])
        counts = np.bincount(groups, minlength=len(self.examples))
        self.examples += counts
        self._values += counts * pixels
        none = images.ends == images.starts
        self.empty += np.bincount(groups[none], minlength=len(self.empty))
        rows, positions, values = images.hits()
        places = groups[rows] * len(self.names) + positions // pixels
        size = self._sums.size
        self._sums += np.bincount(places, values, minlength=size).reshape(self._sums.shape)
        self._hits += np.bincount(places, minlength=size).reshape(self._hits.shape)
        if len(places):
            # hits of one channel of one image lie side by side; 'at' is slow for each of them
            first = np.flatnonzero(np.diff(places, prepend=-1))
            at = places[first]
            np.minimum.at(self._least.reshape(-1), at, np.minimum.reduceat(values, first))
            np.maximum.at(self._most.reshape(-1), at, np.maximum.reduceat(values, first))

    def statistics(self, groups: Sequence[int]) -> Iterator[tuple[str, dict[str, float]]]:
        """Yield each channel or feature with its STATISTICS over some of the groups.

        ``nonzero`` is the fraction of pixels, or of rows, that is not 0. Yields nothing without
        examples.
        """
        chosen = list(groups)
        values = int(self._values[chosen].sum())
        if not values:
            return
        hits = self._hits[chosen].sum(0)
        # every pixel without a hit is 0
        outside = np.where(hits < values, 0.0, np.nan)
        least = np.fmin(self._least[chosen].min(0), outside)
        most = np.fmax(self._most[chosen].max(0), outside)
        columns = (self._sums[chosen].sum(0) / values, least, most, hits / values)
        for i, name in enumerate(self.names):
            found = (float(column[i]) for column in columns)
            yield name, dict(zip(STATISTICS, found, strict=True))

    def empty_fraction(self, groups: Sequence[int]) -> float | None:
        """Return the fraction of images without a hit in some of the groups; None if not an image."""
        chosen = list(groups)
        examples = int(self.examples[chosen].sum())
        return int(self.empty[chosen].sum()) / examples if self.image and examples else None
