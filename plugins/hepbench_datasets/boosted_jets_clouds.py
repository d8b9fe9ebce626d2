"""Boosted jets as point clouds and graphs of their pixels: see ``clouds``.

They are made from the images of the chosen ``size``, so that all networks see the same pixels. In
the cache, 256 points take 11.5 kB per jet and their 16 neighbours 4.1 kB; the sparse image takes
11.7 kB, a dense image would take 500 kB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepbench_datasets import BOOSTED_JETS, clouds
from hepbench_datasets.boosted_jets_views import ENERGIES, resize

if TYPE_CHECKING:
    from hepbench import Inputs

CHANNELS = BOOSTED_JETS.inputs["image"].names
FEATURES = clouds.features(CHANNELS)
"""The columns of ``cloud``."""
UNITS = clouds.units([""] * len(CHANNELS))
HOT = {CHANNELS.index(name): 1.0 for name in ENERGIES.values()}


def cloud(inputs: Inputs, *, size: int, points: int, **_others: Any) -> Inputs:
    """Return the jets' pixels as ``cloud`` (N, points, 11) and ``mask``: see ``clouds.cloud``.

    The energy of a pixel is the sum of tracks, ECAL and HCAL, in GeV if the file is in GeV. An HCAL
    tower is spread over 25 pixels, so tracks and crystals mostly come first: in the bundled sample
    256 points are a quarter of the pixels and hold 89 % of the energy.
    """
    images = resize(inputs, size=size)["image"]
    return clouds.cloud(images, points=points, energies=HOT, **clouds.LAYOUTS[size])


def graph(inputs: Inputs, *, size: int, points: int, k: int, **_others: Any) -> Inputs:
    """Return the nearest pixels, ``neighbours`` (N, points, k): see ``clouds.graph``."""
    images = resize(inputs, size=size)["image"]
    return clouds.graph(images, points=points, k=k, energies=HOT)
