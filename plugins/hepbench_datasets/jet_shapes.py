"""Compute jet shapes in one detector layer: mass, axes, dispersion, core fraction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hepbench import Array

SIDE = 125
PIXEL = 2 * np.pi / 360
"""Size of a crystal in radian."""


def distances(place: Array) -> Array:
    """Return the distances of pixels from the jet axis (the centre of their image), in radian."""
    return np.hypot(*_axes(place))


def shapes(
    row: Array, place: Array, energy: Array, n: int, *, cone: float, core: float
) -> Iterator[Array]:
    """Yield the jet shapes mass, major and minor axis, ptD and core fraction in one layer.

    - mass: invariant mass of massless pixels, divided by the sum of energies;
    - major and minor axis: square roots of the larger and the smaller eigenvalue of the second
      moments;
    - ptD: square root of the sum of squared energies, divided by the sum of energies;
    - core: fraction of the energy within ``core`` of the centre.

    All shapes of an empty image are 0.

    Args:
        row, place, energy: (K,) index of the image, index of the pixel in 125 x 125, and energy of
            each hit; negative energies count as 0.
        n: number of images.
        cone, core: radii around the centre in radian; hits outside the cone are ignored.
    """
    distance = distances(place)
    inside = distance < cone
    eta, phi = (axis[inside] for axis in _axes(place))
    # negative energies count as 0, as in clouds: a negative sum would have no square root
    row, energy = row[inside], np.maximum(energy[inside], 0)

    def total(weights: Array) -> Array:
        return np.bincount(row, weights, n)

    sum_energy = total(energy)
    scale = 1 / np.where(sum_energy > 0, sum_energy, 1)
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
