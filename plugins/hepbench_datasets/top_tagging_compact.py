"""Compact particles of top-tagging jets: 0.25 kB per jet of 48 particles. See ``compact``.

Angles are measured from the jet axis in steps of 0.0001; a pt is stored as the number of steps
below the pt of the particle before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepbench import DataError
from hepbench_datasets import compact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepbench import Array

PARTICLES = 200
PT: compact.Curve = compact.log(0.001, 0.001)
"""How pt in GeV is rounded to steps; half a step is 0.05 %."""
ANGLE = 1e-4
OFFSET = 1 << 15
"""Number that is added to the steps of angles, so that none is negative."""


def encode(momenta: Array) -> dict[str, Array]:
    """Compress the momenta of particles into arrays of bytes, with values rounded to steps.

    Args:
        momenta: (N, 200, 4), px, py, pz and energy, sorted by pt and padded by zeros.

    Raises:
        DataError: a particle has a mass or is far out of range, or the particles are not sorted by
            pt.
    """
    px, py, pz, energy = np.moveaxis(momenta.astype(np.float64), 2, 0)
    mask = energy > 0
    momentum = np.sqrt(px**2 + py**2 + pz**2)
    if (np.abs(energy - momentum) > 1e-4 * energy).any():
        msg = (
            "compact particles: a particle has a mass; energy and momentum are expected to be equal"
        )
        raise DataError(msg)
    total = momenta.sum(axis=1, dtype=np.float64)
    axis = np.stack([_eta(*total.T[:3]), np.arctan2(total[:, 1], total[:, 0])]).astype(np.float32)
    row = np.repeat(np.arange(len(momenta)), mask.sum(axis=1))
    steps = np.rint(PT[0](np.hypot(px, py)[mask])).astype(np.int64)
    first = np.diff(row, prepend=-1) > 0
    deta = _eta(px[mask], py[mask], pz[mask]) - axis[0, row]
    dphi = (np.arctan2(py, px)[mask] - axis[1, row] + np.pi) % (2 * np.pi) - np.pi
    return {
        "counts": mask.sum(axis=1).astype(np.uint8),
        "axis": axis,
        "pt": compact.to_bytes(np.where(first, steps, np.roll(steps, 1) - steps)),
        "deta": compact.to_bytes(np.rint(deta / ANGLE) + OFFSET),
        "dphi": compact.to_bytes(np.rint(dphi / ANGLE) + OFFSET),
    }


def decode(arrays: Mapping[str, Array]) -> Array:
    """Rebuild the momenta (N, 200, 4) that ``encode`` compressed."""
    counts = arrays["counts"].astype(np.int64)
    row = np.repeat(np.arange(len(counts)), counts)
    starts = np.cumsum(counts) - counts
    place = np.arange(len(row)) - starts[row]
    gaps = compact.from_bytes(arrays["pt"])
    below = np.cumsum(np.where(place, gaps, 0))
    steps = gaps[starts][row] - (below - below[starts][row])
    pt = PT[1](steps.astype(np.float64))
    deta, dphi = (ANGLE * (compact.from_bytes(arrays[name]) - OFFSET) for name in ("deta", "dphi"))
    eta, phi = arrays["axis"][0, row] + deta, arrays["axis"][1, row] + dphi
    momenta = np.zeros((len(counts), PARTICLES, 4), np.float32)
    components = (pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta))
    momenta[row, place] = np.stack(components, axis=1)
    return momenta


def _eta(px: Array, py: Array, pz: Array) -> Array:
    return np.arcsinh(pz / np.hypot(px, py))
