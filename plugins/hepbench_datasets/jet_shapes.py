"""Shapes of jets in one layer of a detector, as sums over pixels: mass, axes, dispersion, core."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hepbench import Array

SIDE = 125
PIXEL = 2 * np.pi / 360
"""Radian, the size of a crystal."""


def distances(place: Array) -> Array:
    """Return how far pixels are from the middle of their image, in radian."""
    return np.hypot(*_axes(place))


def shapes(
    row: Array, place: Array, energy: Array, n: int, *, cone: float, core: float
) -> Iterator[Array]:
    """Yield mass, major and minor axis, ptD and core of the energies in one layer, (n,) each.

    - mass of massless pixels, over the sum of energies;
    - roots of the larger and the smaller second moment: width along and across;
    - root of the sum of squares over the sum, as ptD;
    - the share within ``core``.

    Where an image holds nothing they are 0.

    Args:
        row, place, energy: (K,) which image, which of the 125 x 125 pixels, and what is there; what
            is below 0 is none.
        n: images.
        cone, core: radian around the middle; what is outside of the cone does not count.
    """
    distance = distances(place)
    inside = distance < cone
    eta, phi = (axis[inside] for axis in _axes(place))
    # no more than nothing, as in clouds: of sums below 0 there is no root
    row, energy = row[inside], np.maximum(energy[inside], 0)

    def total(weights: Array) -> Array:
        return np.bincount(row, weights, n)

    whole = total(energy)
    scale = 1 / np.where(whole > 0, whole, 1)
    momentum = (np.cosh(eta), np.sinh(eta), np.cos(phi), np.sin(phi))
    e, z, x, y = (total(energy * component) for component in momentum)
    yield np.sqrt(np.maximum(e**2 - z**2 - x**2 - y**2, 0)) * scale
    eta, phi = (axis - (total(energy * axis) * scale)[row] for axis in (eta, phi))
    a, b, c = (total(energy * product) * scale for product in (eta**2, phi**2, eta * phi))
    half, spread = (a + b) / 2, np.hypot((a - b) / 2, c)
    yield np.sqrt(half + spread)
    yield np.sqrt(np.maximum(half - spread, 0))
    yield np.sqrt(total(energy**2)) * scale
    yield total(energy * (distance[inside] < core)) * scale


def _axes(place: Array) -> Iterator[Array]:
    return (PIXEL * (axis - SIDE // 2) for axis in np.divmod(place, SIDE))
