"""Row samples: rows chosen by a hash while data are read chunk by chunk. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.specs.sparse_images import SparseImages, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from hepbench.specs.types import Array


Columns = dict[str, Any]


class RowSample:
    """The rows with the smallest ranks among all rows that were added.

    Ranks are hashes, so these rows are a random choice that does not depend on the order of rows.

    Args:
        size: the most rows that are kept.
        limit_bytes: the most memory that they may take; a dense image counts with all its pixels.
    """

    def __init__(self, size: int, limit_bytes: int) -> None:
        self.size = size
        self._limit_bytes = limit_bytes
        self._chunks: list[tuple[NDArray[np.uint64], Columns]] = []
        self._kept = 0
        self._highest = np.uint64(np.iinfo(np.uint64).max)

    def add(
        self, ranks: NDArray[np.uint64], columns: Callable[[NDArray[np.int64]], Mapping[str, Array]]
    ) -> None:
        """Add n rows.

        Args:
            ranks: (n,) hash of each row.
            columns: returns the columns of some of these rows by name, (rows, ...) each.
        """
        chosen = np.flatnonzero(ranks <= self._highest)
        if not len(chosen):
            return
        kept = {name: _copied(array) for name, array in columns(chosen).items()}
        if not self._chunks:
            row_bytes = sum(_bytes(array) for array in kept.values()) / len(chosen)
            self.size = max(min(self.size, int(self._limit_bytes / max(row_bytes, 1))), 2)
        self._chunks.append((ranks[chosen], kept))
        self._kept += len(chosen)
        if self._kept > 2 * self.size:
            self._shrink()

    def columns(self) -> Columns:
        """Return the columns of the chosen rows by name; they are in the order of their ranks."""
        if not self._chunks:
            return {}
        self._shrink()
        return self._chunks[0][1]

    def _shrink(self) -> None:
        ranks = np.concatenate([each for each, _ in self._chunks])
        order = np.argsort(ranks, kind="stable")[: self.size]
        names = self._chunks[0][1]
        rows = {n: _copied(joined([kept[n] for _, kept in self._chunks])[order]) for n in names}
        self._chunks = [(ranks[order], rows)]
        self._kept = len(order)
        if self._kept == self.size:
            self._highest = ranks[order[-1]]


def _copied(array: Array) -> Array:
    """Return rows in memory of their own, so that no other rows stay in memory with them."""
    if isinstance(array, SparseImages):
        return SparseImages.concatenate([array])
    return np.array(array)


def _bytes(array: Array) -> float:
    if isinstance(array, SparseImages):
        return float(8 * (array.ends - array.starts).sum() + 16 * len(array))
    return float(np.asarray(array).nbytes)
