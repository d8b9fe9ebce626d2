"""Compact images of boosted jets: 0.7 kB per jet of 1400 hits. See ``compact``.

The three track channels share one list of positions, and so do the three pixel layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepbench import DataError, SparseImages
from hepbench_datasets import compact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepbench import Array

TRACKS, ECAL, HCAL, PIXELS = (0, 1, 2), 3, 4, (5, 6, 7)

CURVES: Mapping[str, compact.Curve] = {
    "track_pt": compact.log(0.01, 0.005),
    "track_d0": compact.signed(0.005, 0.1),
    "track_dz": compact.signed(0.005, 0.1),
    "ecal": compact.root(1.0, 0.01),
    "hcal": compact.root(0.0, 0.05),
}
"""How values in GeV and cm are rounded to steps.

Half a step is 0.25 % of a track's momentum; 10 MeV in ECAL, 66 MeV at 10 GeV; 50 MeV times the
square root of the energy in GeV in HCAL; and 2.5 micrometres of d0 and dz near 0, 5 % far from 0.
"""
LAYER_HITS = 16
"""Every pixel of a pixel layer holds fewer hits than this."""


def encode(images: SparseImages) -> dict[str, Array]:
    """Compress images of boosted jets into arrays of bytes, with values rounded to steps.

    Args:
        images: N of (8, 125, 125): track pt, d0 and dz at the same positions, ECAL, HCAL in towers
            of 5 x 5 equal pixels, three pixel layers in hits.

    Raises:
        DataError: d0 or dz are at other positions than track pt, or a value is far out of range.
    """
    rows, positions, values = images.hits()
    channel, place = np.divmod(positions, compact.SIDE**2)
    hits = {c: (rows[channel == c], place[channel == c], values[channel == c]) for c in range(8)}
    if any(not np.array_equal(hits[c][1], hits[0][1]) for c in TRACKS):
        msg = (
            "compact images: d0 or dz are in other pixels than track pt; the same pixels are needed"
        )
        raise DataError(msg)
    arrays = compact.encode_places("tracks", *hits[0][:2], len(images))
    for name, c in zip(("track_pt", "track_d0", "track_dz"), TRACKS, strict=True):
        arrays[name] = compact.steps(CURVES[name], hits[c][2])
    arrays |= compact.encode_places("ecal", *hits[ECAL][:2], len(images))
    arrays["ecal"] = compact.steps(CURVES["ecal"], hits[ECAL][2])
    row, tower, energy = compact.towers(*hits[HCAL])
    arrays |= compact.encode_places("hcal", row, tower, len(images))
    arrays["hcal"] = compact.steps(CURVES["hcal"], energy)
    some = channel >= PIXELS[0]
    key, which = np.unique(rows[some] * compact.SIDE**2 + place[some], return_inverse=True)
    layers = values[some] * float(LAYER_HITS) ** (channel[some] - PIXELS[0])
    arrays |= compact.encode_places("pixels", *np.divmod(key, compact.SIDE**2), len(images))
    arrays["pixels"] = compact.to_bytes(np.bincount(which, layers, len(key)))
    return arrays


def decode(arrays: Mapping[str, Array]) -> SparseImages:
    """Rebuild the images of boosted jets that ``encode`` compressed, 8,000 per second."""
    found = {name: compact.values(curve, arrays[name]) for name, curve in CURVES.items()}
    track = compact.decode_places("tracks", arrays)
    layers = [(*track, found[name]) for name in ("track_pt", "track_d0", "track_dz")]
    layers.append((*compact.decode_places("ecal", arrays), found["ecal"]))
    layers.append(compact.towers_to_pixels(*compact.decode_places("hcal", arrays), found["hcal"]))
    row, place = compact.decode_places("pixels", arrays)
    numbers = compact.from_bytes(arrays["pixels"])
    for power in range(len(PIXELS)):
        hits = numbers // LAYER_HITS**power % LAYER_HITS
        some = np.flatnonzero(hits)
        layers.append((row[some], place[some], hits[some]))
    return compact.stack_channels(layers, arrays["tracks_counts"].shape[1])
