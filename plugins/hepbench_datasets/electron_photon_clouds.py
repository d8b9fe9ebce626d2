"""Electrons and photons as point clouds and graphs of their crystals: see ``clouds``.

Each crystal with energy or a time is a point; the crystals with the most energy are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepbench_datasets import ELECTRON_PHOTON, clouds

if TYPE_CHECKING:
    from hepbench import Inputs

CHANNELS = ELECTRON_PHOTON.inputs["image"].names
FEATURES = clouds.features(CHANNELS)
"""The columns of ``cloud``."""
UNITS = clouds.units(ELECTRON_PHOTON.inputs["image"].units)
HOT = {CHANNELS.index("energy"): 1.0}
MIDDLE = (16.0, 16.0)
"""Row and column of the crystal with the most energy, on which images are centred."""


def cloud(inputs: Inputs, *, points: int, **_others: Any) -> Inputs:
    """Return the hit crystals as ``cloud`` (N, points, 5) and ``mask``: see ``clouds.cloud``."""
    return clouds.cloud(
        inputs["image"], points=points, energies=HOT, pixel=clouds.CRYSTAL, middle=MIDDLE
    )


def graph(inputs: Inputs, *, points: int, k: int, **_others: Any) -> Inputs:
    """Return the nearest crystals, ``neighbours`` (N, points, k): see ``clouds.graph``."""
    return clouds.graph(inputs["image"], points=points, k=k, energies=HOT)
