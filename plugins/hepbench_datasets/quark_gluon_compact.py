"""Compact images of quark and gluon jets: 0.6 kB per jet of 800 hits. See ``compact``."""

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
"""Curve of each channel, in GeV. Half a step is 0.25 % of a track's momentum; 4 MeV in ECAL, 13 MeV
at 10 GeV; and 8 MeV times the square root of the energy in GeV in HCAL. Coarser steps would be
visible in spectra."""


def encode(images: SparseImages) -> dict[str, Array]:
    """Compress images of quark and gluon jets into arrays of bytes, with values rounded to steps.

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
        arrays |= compact.encode_places(name, row, where, len(images))
        arrays[name] = compact.steps(curve, value)
    return arrays


def decode(arrays: Mapping[str, Array]) -> SparseImages:
    """Rebuild the images of quark and gluon jets that ``encode`` compressed."""
    layers = []
    for name, curve in CURVES.items():
        hits = (*compact.decode_places(name, arrays), compact.values(curve, arrays[name]))
        layers.append(compact.towers_to_pixels(*hits) if name == "hcal" else hits)
    return compact.stack_channels(layers, arrays["hcal_counts"].shape[1])
