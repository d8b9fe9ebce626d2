"""Simulated jets and their images, and how equally many are taken from each range of pt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench import SparseImages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepbench import Array


@dataclass(frozen=True)
class Jets:
    """N jets.

    Attributes:
        images: N of (C, 125, 125).
        labels: (N,) int64, 1 for signal.
        mass, pt: (N,) float32, GeV, of all that was measured.
    """

    images: SparseImages
    labels: Array
    mass: Array
    pt: Array

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Any) -> Jets:
        return Jets(*(column[rows] for column in vars(self).values()))


def joined(several: Sequence[Jets]) -> Jets:
    """Return the jets of several, one behind another."""
    columns = [[getattr(jets, name) for jets in several] for name in ("labels", "mass", "pt")]
    images = SparseImages.concatenate([jets.images for jets in several])
    return Jets(images, *(np.concatenate(column) for column in columns))


def fill_bins(pt: Array, bins: Sequence[float], free: Array) -> Array:
    """Return which jets are taken, the first ones of each bin of pt, and lower ``free`` by them."""
    which = np.digitize(pt, bins) - 1
    chosen = []
    for i in range(len(free)):
        first = np.flatnonzero(which == i)[: free[i]]
        free[i] -= len(first)
        chosen.append(first)
    return np.sort(np.concatenate(chosen))
