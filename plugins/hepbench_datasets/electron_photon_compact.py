"""Compact images of electrons and photons: 0.1 kB an image, of 48 hits. See ``compact``.

Energy and time of a crystal have one place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepbench import DataError, SparseImages
from hepbench_datasets import compact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepbench import Array

SIDE = 32
UNIT = 50.0
"""GeV and nanoseconds for which a 1 stands."""
LATEST = 125.0
"""Nanoseconds: no time is further from 0."""

CURVES: Mapping[str, compact.Curve] = {
    "energy": compact.root(0.0, 0.01),
    "time": compact.signed(0.3, 0.15),
}
"""GeV and ns. Half a step is 2 MeV where noise is 50, and 55 MeV of 30 GeV, where the resolution is
200; and 22 picoseconds of a time near 0, where the resolution is 300, 8 % of one far away."""


def encode(images: SparseImages) -> dict[str, Array]:
    """Return arrays of bytes that ``decode`` makes the same images of, within half a step.

    Energies below 0.1 MeV become the smallest there is, so that no hit is lost.

    Args:
        images: N of (2, 32, 32), energy and time at the same places.

    Raises:
        DataError: there is a time without energy, or a value is far out of range.
    """
    rows, positions, values = images.hits()
    channel, place = np.divmod(positions, SIDE**2)
    energy, time = channel == 0, channel == 1
    if not np.array_equal(place[energy], place[time]):
        msg = "compact images: times must be where energies are, and nowhere else"
        raise DataError(msg)
    arrays = compact.placed("hits", rows[energy], place[energy], len(images))
    hits = np.maximum(values[energy] * UNIT, 1e-4)
    arrays["energy"] = compact.steps(CURVES["energy"], hits)
    arrays["time"] = compact.steps(CURVES["time"], values[time] * UNIT)
    return arrays


def decode(arrays: Mapping[str, Array]) -> SparseImages:
    """Return the images of ``encode``'s arrays, 300,000 in a second."""
    found = {name: compact.values(curve, arrays[name]) for name, curve in CURVES.items()}
    # the middle of the last step is beyond the range
    found["time"] = np.clip(found["time"], -LATEST, LATEST)
    place = compact.places("hits", arrays)
    layers = [(*place, found[name] / UNIT) for name in CURVES]
    return compact.stacked(layers, arrays["hits_counts"].shape[1], side=SIDE)
