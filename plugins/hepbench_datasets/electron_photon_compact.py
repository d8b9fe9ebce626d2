"""Compact images of electrons and photons: 0.1 kB per image of 48 hits. See ``compact``.

Energy and time of a crystal share one position.
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
"""GeV and ns that a pixel value of 1 stands for."""
LATEST = 125.0
"""Largest absolute value of a time, in ns."""

CURVES: Mapping[str, compact.Curve] = {
    "energy": compact.root(0.0, 0.01),
    "time": compact.signed(0.3, 0.15),
}
"""How values in GeV and ns are rounded to steps.

Half a step is 2 MeV at small energies, where the noise is 50 MeV, and 55 MeV at 30 GeV, where the
resolution is 200 MeV; it is 22 ps for a time near 0, where the resolution is 300 ps, and 8 % of a
large time.
"""


def encode(images: SparseImages) -> dict[str, Array]:
    """Compress images of electrons and photons into arrays of bytes, with values rounded to steps.

    Energies below 0.1 MeV are stored as 0.1 MeV, so that no hit is lost.

    Args:
        images: N of (2, 32, 32), energy and time at the same positions.

    Raises:
        DataError: energies and times are at different positions, or a value is far out of range.
    """
    rows, positions, values = images.hits()
    channel, place = np.divmod(positions, SIDE**2)
    energy, time = channel == 0, channel == 1
    if not np.array_equal(place[energy], place[time]):
        msg = "compact images: energies and times are in different crystals; the same crystals are needed"
        raise DataError(msg)
    arrays = compact.encode_places("hits", rows[energy], place[energy], len(images))
    hits = np.maximum(values[energy] * UNIT, 1e-4)
    arrays["energy"] = compact.steps(CURVES["energy"], hits)
    arrays["time"] = compact.steps(CURVES["time"], values[time] * UNIT)
    return arrays


def decode(arrays: Mapping[str, Array]) -> SparseImages:
    """Rebuild the images of electrons and photons that ``encode`` compressed."""
    found = {name: compact.values(curve, arrays[name]) for name, curve in CURVES.items()}
    # the middle of the last step can lie beyond the range of times
    found["time"] = np.clip(found["time"], -LATEST, LATEST)
    place = compact.decode_places("hits", arrays)
    layers = [(*place, found[name] / UNIT) for name in CURVES]
    return compact.stack_channels(layers, arrays["hits_counts"].shape[1], side=SIDE)
