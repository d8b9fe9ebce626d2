"""Simulated jets with images, and a choice of equally many jets in each bin of pt."""

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
    """N simulated jets with their images.

    Attributes:
        images: N of (C, 125, 125).
        labels: (N,) int64, 1 for signal.
        mass, pt: (N,) float32, measured, in GeV.
    """

    images: SparseImages
    labels: Array
    mass: Array
    pt: Array

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Any) -> Jets:
        return Jets(*(column[rows] for column in vars(self).values()))


def concatenate(parts: Sequence[Jets]) -> Jets:
    """Concatenate several sets of simulated jets."""
    columns = [[getattr(jets, name) for jets in parts] for name in ("labels", "mass", "pt")]
    images = SparseImages.concatenate([jets.images for jets in parts])
    return Jets(images, *(np.concatenate(column) for column in columns))


def fill_bins(pt: Array, bins: Sequence[float], free: Array) -> Array:
    """Return the indices of the first jets for bins of pt with free places; update ``free``."""
    which = np.digitize(pt, bins) - 1
    chosen = []
    for i in range(len(free)):
        first = np.flatnonzero(which == i)[: free[i]]
        free[i] -= len(first)
        chosen.append(first)
    return np.sort(np.concatenate(chosen))
