"""Four-momenta of particles and pixels, ``momenta`` (N, P, 4): px, py, pz and energy.

In the order of ``cloud``. Pixels count as massless particles seen from the collision: their momenta are
relative to the centre of the image, at eta = phi = 0, and the deposit of a pixel is its pt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench_datasets import (
    boosted_jets_clouds,
    clouds,
    electron_photon_clouds,
    quark_gluon_clouds,
)
from hepbench_datasets.boosted_jets_views import resize
from hepbench_datasets.quark_gluon_views import prepare
from hepbench_datasets.top_tagging_views import transform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepbench import Array, Inputs

NAMES = ("part_px", "part_py", "part_pz", "part_energy")
"""The columns of ``momenta``."""
UNITS = ("GeV",) * 4

CRYSTAL_ENERGY = 50.0
"""The energy in GeV that 1 in an image of electrons and photons stands for."""


def top_tagging(inputs: Inputs, *, particles: int, **_others: Any) -> Inputs:
    """Return the momenta of a jet's first particles, as read."""
    return {"momenta": transform(inputs, particles=particles, features="momenta")["cloud"]}


def boosted_jets(inputs: Inputs, **params: Any) -> Inputs:
    """Return the momenta of the pixels of boosted jets, in GeV if the file is in GeV."""
    images = resize(inputs, size=params["size"])["image"]
    cloud = boosted_jets_clouds.cloud(inputs, **params)
    return {"momenta": of_pixels(cloud, images, energies=boosted_jets_clouds.HOT)}


def quark_gluon(inputs: Inputs, **params: Any) -> Inputs:
    """Return the momenta of the pixels of quark and gluon jets."""
    images = prepare(inputs, size=params["size"], scale=params["scale"])["image"]
    cloud = quark_gluon_clouds.cloud(inputs, **params)
    energies = quark_gluon_clouds._energies(params["scale"])
    return {"momenta": of_pixels(cloud, images, energies=energies)}


def electron_photon(inputs: Inputs, **params: Any) -> Inputs:
    """Return the momenta of the crystals hit by electrons and photons."""
    cloud = electron_photon_clouds.cloud(inputs, **params)
    energies = {channel: CRYSTAL_ENERGY * e for channel, e in electron_photon_clouds.HOT.items()}
    return {"momenta": of_pixels(cloud, inputs["image"], energies=energies)}


def of_pixels(cloud: Inputs, images: Array, *, energies: Mapping[int, float]) -> Array:
    """Return the momenta of the points of pixel clouds.

    Args:
        cloud: ``cloud`` and ``mask`` that ``clouds.cloud`` made of the images.
        images: (N, C, H, W), sparse or dense.
        energies: for each channel that is an energy, the energy in GeV of a value of 1.
    """
    points, mask = cloud["cloud"].astype(np.float64), cloud["mask"]
    pt = np.exp(points[..., -1]) * _totals(images, energies)[:, None]
    eta, phi = points[..., 0], points[..., 1]
    columns = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)
    return np.where(mask[..., None], np.stack(columns, axis=-1), 0).astype(np.float32)


def _totals(images: Array, energies: Mapping[int, float]) -> Array:
    """Return the energy of each image, (N,), of which a cloud's ``logerel`` is a fraction."""
    batches = clouds._batches(images)
    parts = [clouds._energies(hits, energies).sum(1, dtype=np.float64) for _, hits in batches]
    return np.concatenate(parts) if parts else np.zeros(0)
