"""Compact images of quark and gluon jets: 0.6 kB a jet, of 800 hits. See ``compact``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepbench_datasets import compact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepbench import Array, SparseImages

CURVES: Mapping[str, compact.Curve] = {
    "track_pt": compact.log(0.01, 0.005),
    "ecal": compact.root(1.0, 0.004),
    "hcal": compact.root(0.0, 0.008),
}
"""By channel, in GeV. Half a step is 0.25 % of a track's momentum; 4 MeV in ECAL, 13 at 10 GeV; and 8
MeV times the root of the GeV in HCAL: what is coarser shows in spectra."""


def encode(images: SparseImages) -> dict[str, Array]:
    """Return arrays of bytes that ``decode`` makes the same images of, within half a step.

    Args:
        images: N of (3, 125, 125): track pt, ECAL, HCAL in towers of 5 x 5 equal pixels.

    Raises:
        DataError: a value is far out of range.
    """
    rows, positions, values = images.hits()
    channel, place = np.divmod(positions, compact.SIDE**2)
    arrays = {}
    for i, (name, curve) in enumerate(CURVES.items()):
        some = channel == i
        hits = rows[some], place[some], values[some]
        row, where, value = compact.towers(*hits) if name == "hcal" else hits
        arrays |= compact.placed(name, row, where, len(images))
        arrays[name] = compact.steps(curve, value)
    return arrays


def decode(arrays: Mapping[str, Array]) -> SparseImages:
    """Return the images of ``encode``'s arrays."""
    layers = []
    for name, curve in CURVES.items():
        hits = (*compact.places(name, arrays), compact.values(curve, arrays[name]))
        layers.append(compact.spread(*hits) if name == "hcal" else hits)
    return compact.stacked(layers, arrays["hcal_counts"].shape[1])
