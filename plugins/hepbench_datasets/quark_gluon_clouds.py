"""Quark and gluon jets as point clouds and graphs of their pixels: see ``clouds``.

They are made from the images of ``quark_gluon_views.prepare``, so that all networks see the same
pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepbench_datasets import QUARK_GLUON, clouds, quark_gluon_views
from hepbench_datasets.quark_gluon_views import HCAL_FACTOR, prepare

if TYPE_CHECKING:
    from hepbench import Inputs

CHANNELS = QUARK_GLUON.inputs["image"].names
FEATURES = clouds.features(CHANNELS)
"""The columns of ``cloud``."""


def cloud(inputs: Inputs, *, size: int, scale: str, points: int, **_others: Any) -> Inputs:
    """Return the jets' pixels as ``cloud`` (N, points, 6) and ``mask``: see ``clouds.cloud``."""
    images = prepare(inputs, size=size, scale=scale)["image"]
    hot = _energies(scale)
    return clouds.cloud(images, points=points, energies=hot, **clouds.LAYOUTS[size])


def units(*, scale: str, **_others: Any) -> tuple[str, ...]:
    """Return the units of the cloud's features (FEATURES)."""
    return clouds.units(quark_gluon_views.units(scale=scale))


def graph(inputs: Inputs, *, size: int, scale: str, points: int, k: int, **_others: Any) -> Inputs:
    """Return the nearest pixels, ``neighbours`` (N, points, k): see ``clouds.graph``."""
    images = prepare(inputs, size=size, scale=scale)["image"]
    return clouds.graph(images, points=points, k=k, energies=_energies(scale))


def _energies(scale: str) -> dict[int, float]:
    """Return the energy that a pixel value of 1 stands for in each channel, in a common unit.

    In the authors' scale each of the 25 pixels of an HCAL tower has the energy of the whole tower.
    """
    worth = dict.fromkeys(range(len(CHANNELS)), 1.0)
    if scale == "authors":
        worth[CHANNELS.index("hcal")] /= HCAL_FACTOR
    return worth
