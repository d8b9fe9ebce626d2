"""Boosted jets as clouds and graphs of their pixels: see ``clouds``.

Of images of half the resolution where these are asked for, so that all see the same pixels. In the
cache 256 points take 11.5 kB a jet and their 16 neighbours 4.1 kB; the sparse image takes 11.7 kB,
and would take 500 kB were it dense.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepbench_datasets import BOOSTED_JETS, clouds
from hepbench_datasets.boosted_jets_views import ENERGIES, resize

if TYPE_CHECKING:
    from hepbench import Inputs

CHANNELS = BOOSTED_JETS.inputs["image"].names
FEATURES = clouds.features(CHANNELS)
"""Of ``cloud``."""
UNITS = clouds.units([""] * len(CHANNELS))
HOT = {CHANNELS.index(name): 1.0 for name in ENERGIES.values()}


def cloud(inputs: Inputs, *, size: int, points: int, **_others: Any) -> Inputs:
    """Return ``cloud`` (N, points, 11) by FEATURES, and ``mask``: see ``clouds.cloud``.

    Energies are those of tracks, ECAL and HCAL, in GeV where the file has them so. As a tower of
    HCAL is 25 pixels, each with its share of the energy, tracks and crystals mostly come first: in
    the simulated sample 256 points are a quarter of the pixels and hold 89 % of the energy.
    """
    images = resize(inputs, size=size)["image"]
    return clouds.cloud(images, points=points, energies=HOT, **clouds.LAYOUTS[size])


def graph(inputs: Inputs, *, size: int, points: int, k: int, **_others: Any) -> Inputs:
    """Return ``neighbours`` (N, points, k): see ``clouds.graph``."""
    images = resize(inputs, size=size)["image"]
    return clouds.graph(images, points=points, k=k, energies=HOT)
