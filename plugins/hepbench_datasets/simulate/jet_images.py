"""Make images of simulated jets: tracks, pixel hits and energies around each jet.

A pixel is one crystal of the electromagnetic barrel; rows run along eta and columns along phi, and
the middle pixel is the middle of the hottest tower of the hadron calorimeter near the jet. Energies
and momenta in GeV, impact parameters in cm, pixel layers in hits.

Sources: Andrews et al., arXiv:2104.14659, channels and centring; CMS, JINST 3 S08004 (2008),
geometry, noise, resolutions; Grindhammer and Peters, hep-ex/0001020, radial profile of showers.
Other values are marked as a choice of this simulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hepbench_datasets.simulate.detector import (
    ELECTRON,
    FIELD_TESLA,
    PHOTON,
    Particles,
    Response,
    wrap,
)

if TYPE_CHECKING:
    from hepbench import Array

SIDE = 125
SHAPE = (8, SIDE, SIDE)
CRYSTAL = 2 * np.pi / 360
TOWER_SIDE = 5
"""Number of crystals along one side of a tower of the hadron calorimeter."""
TOWER = TOWER_SIDE * CRYSTAL

CRYSTAL_CM = 2.2
MOLIERE_CM = 2.19
CORE, CORE_RADIUS, TAIL_RADIUS, LAST_RADIUS = 0.88, 0.22, 1.3, 6.0
"""Fraction of a shower's energy in its core; radii of core, tail and end in Moliere radii.

88 % of an electron's energy is within one Moliere radius.
"""
HADRON_WIDTH = 2.0
"""Ratio of hadron to electron shower widths in the crystals (chosen, not measured)."""
TOWER_SPREAD = 0.022
"""Mean distance in eta-phi of a hadron's deposits behind the crystals (chosen, not measured)."""
ECAL_SPOT, ECAL_SPOTS = 0.08, (3, 1000)
"""GeV per spot of a simulated shower, and smallest and largest number of spots (chosen)."""

ECAL_NOISE = 0.040
ECAL_SIGMAS = 3.0
"""Crystals below this multiple of the noise are not read out."""
ECAL_FAKES = 0.00135
"""Fraction of crystals in which noise alone exceeds the readout threshold."""
HCAL_BARREL_ETA = 16 * TOWER
SEARCH = 4
"""Number of towers on each side of a jet among which the hottest is searched."""

PIXEL_LAYERS = (0.044, 0.073, 0.102)
PIXEL_LENGTH = 0.265
PIXEL_EFFICIENCY = 0.98
PIXEL_FAKES = 3.0
"""Mean number of hits from noise or other particles in a pixel layer's image (chosen)."""
D0_RESOLUTION, DZ_RESOLUTION = (0.0020, 0.0070), (0.0030, 0.0090)
"""Resolution of impact parameters: in cm for hard tracks; in cm GeV / pt for scattering."""

REACH = 1.7
"""Largest distance in eta or phi of a particle that can leave hits in a jet's image."""


@dataclass(frozen=True)
class Towers:
    """Settings for filling and reading out towers of the hadron calorimeter.

    Attributes:
        spot: GeV per spot of a shower, which has at least 3 spots; a choice.
        painted: in GeV; a shower of more energy gets no more spots.
        barrel, endcap: thresholds in GeV; towers below are not read out.
    """

    spot: float = 0.5
    painted: float = 50.0
    barrel: float = 0.7
    endcap: float = 0.7


@dataclass(frozen=True)
class JetSurroundings:
    """The particles around each of J jets; a particle near two jets appears twice.

    Attributes:
        jet: (M,) int64, index of the jet.
        particles, response: M of them.
        eta, phi: (J,) float64, centres of the images.
    """

    jet: Array
    particles: Particles
    response: Response
    eta: Array
    phi: Array


def draw(
    particles: Particles,
    response: Response,
    jets: tuple[Array, Array, Array],
    rng: np.random.Generator,
) -> Array:
    """Make jet images (J, 8, 125, 125): track pt, d0, dz, ECAL, HCAL and three pixel layers.

    Args:
        particles: visible particles of many events, with their origins.
        response: the detector's response to them.
        jets: event, eta and phi, (J,) each.
        rng: for showers, noise and resolutions.
    """
    around = _around(particles, response, jets)
    around, hcal = _hadronic(around, rng, Towers())
    images = np.empty((len(around.eta), *SHAPE), np.float32)
    impact = _impact_parameters(around.particles, rng)
    images[:, 0:3] = _tracks(around, impact)
    images[:, 3] = _electromagnetic(around, rng)
    images[:, 4] = hcal
    for channel, radius in enumerate(PIXEL_LAYERS, 5):
        images[:, channel] = _pixel_hits(around, impact, radius, rng)
    return images


def draw_energies(
    particles: Particles,
    response: Response,
    jets: tuple[Array, Array, Array],
    rng: np.random.Generator,
    towers: Towers,
) -> Array:
    """Make jet images (J, 3, 125, 125) with the channels track pt, ECAL and HCAL only.

    Origins of the particles are not needed.
    """
    around = _around(particles, response, jets)
    around, hcal = _hadronic(around, rng, towers)
    tracks = _tracks(around, ())[:, 0]
    return np.stack([tracks, _electromagnetic(around, rng), hcal], axis=1).astype(np.float32)


def _around(
    particles: Particles, response: Response, jets: tuple[Array, Array, Array]
) -> JetSurroundings:
    event, eta, phi = jets
    starts = np.searchsorted(particles.event, event)
    counts = np.searchsorted(particles.event, event, side="right") - starts
    jet = np.repeat(np.arange(len(event)), counts)
    index = np.arange(len(jet)) + np.repeat(starts - np.cumsum(counts) + counts, counts)
    gaps = (
        (where.eta[index] - eta[jet], wrap(where.phi[index] - phi[jet]))
        for where in (particles, response)
    )
    near = np.any([(np.abs(a) < REACH) & (np.abs(b) < REACH) for a, b in gaps], axis=0)
    index = index[near]
    return JetSurroundings(jet[near], particles.select(index), response.select(index), eta, phi)


def _hadronic(
    around: JetSurroundings, rng: np.random.Generator, kind: Towers
) -> tuple[JetSurroundings, Array]:
    """Make HCAL images (J, 125, 125), and centre the particles on the hottest towers.

    Towers are on a fixed grid. The energy of a tower is spread evenly over its 25 pixels.
    """
    half = SIDE // TOWER_SIDE // 2
    wide = half + SEARCH + 1
    eta, phi = (np.floor(angle / TOWER) for angle in (around.eta, around.phi))
    around = _centred(around, (eta + 0.5) * TOWER, (phi + 0.5) * TOWER)
    energy = np.where(around.response.reached, around.response.hcal, 0.0)
    spots = _spots(energy, kind.spot, (3, round(kind.painted / kind.spot)))
    radius = rng.exponential(TOWER_SPREAD, len(spots[0]))
    towers = _paint(around, spots, radius, rng, cell=TOWER, side=2 * wide + 1)
    rows = around.eta[:, None, None] + (np.arange(2 * wide + 1) - wide)[:, None] * TOWER
    towers[towers < np.where(np.abs(rows) < HCAL_BARREL_ETA, kind.barrel, kind.endcap)] = 0
    inner = towers[:, wide - SEARCH : wide + SEARCH + 1, wide - SEARCH : wide + SEARCH + 1]
    width = inner.shape[2]
    hottest = inner.reshape(len(inner), width**2).argmax(axis=1)
    # without any energy argmax gives the first tower; the jet's own tower, in the middle, is used
    hottest = np.where(inner.any(axis=(1, 2)), hottest, width**2 // 2)
    shift = np.stack(np.divmod(hottest, width), axis=1) - SEARCH
    window = np.arange(-half, half + 1) + wide
    rows, columns = (shift[:, [axis]] + window for axis in (0, 1))
    chosen = towers[np.arange(len(towers))[:, None, None], rows[:, :, None], columns[:, None, :]]
    pixels = chosen.repeat(TOWER_SIDE, axis=1).repeat(TOWER_SIDE, axis=2) / TOWER_SIDE**2
    moved = _centred(around, *(np.stack([around.eta, around.phi]) + shift.T * TOWER))
    return moved, pixels


def _centred(around: JetSurroundings, eta: Array, phi: Array) -> JetSurroundings:
    return JetSurroundings(around.jet, around.particles, around.response, eta, phi)


def _electromagnetic(around: JetSurroundings, rng: np.random.Generator) -> Array:
    """Make ECAL images (J, 125, 125): showers, noise on hit crystals, crystals with noise only."""
    energy = np.where(around.response.reached, around.response.ecal, 0.0)
    spots = _spots(energy, ECAL_SPOT, ECAL_SPOTS)
    light = np.isin(np.abs(around.particles.pdg), (ELECTRON, PHOTON))
    width = np.where(light, 1.0, HADRON_WIDTH)[spots[0]]
    radius = _shower_radius(len(width), rng) * width * MOLIERE_CM / CRYSTAL_CM * CRYSTAL
    image = _paint(around, spots, radius, rng, cell=CRYSTAL, side=SIDE)
    hit = image > 0
    image[hit] += ECAL_NOISE * rng.standard_normal(hit.sum())
    fakes = rng.random(image.shape) < ECAL_FAKES
    level = ECAL_NOISE * (ECAL_SIGMAS + rng.exponential(0.3, fakes.sum()))
    image[fakes] = np.maximum(image[fakes], level)
    image[image <= ECAL_SIGMAS * ECAL_NOISE] = 0
    return image


def _shower_radius(count: int, rng: np.random.Generator) -> Array:
    """Draw distances from a shower's axis in Moliere radii, from 2 r R^2 / (r^2 + R^2)^2."""
    scale = np.where(rng.random(count) < CORE, CORE_RADIUS, TAIL_RADIUS)
    inside = rng.random(count)
    return np.minimum(scale * np.sqrt(inside / (1 - inside)), LAST_RADIUS)


def _spots(energy: Array, size: float, limits: tuple[int, int]) -> tuple[Array, Array]:
    """Divide energy deposits into spots; return index of the deposit and energy of each spot."""
    kept = np.flatnonzero(energy > 0.03)
    counts = np.clip(np.ceil(energy[kept] / size), *limits).astype(np.int64)
    return np.repeat(kept, counts), np.repeat(energy[kept] / counts, counts)


def _paint(
    around: JetSurroundings,
    spots: tuple[Array, Array],
    radius: Array,
    rng: np.random.Generator,
    *,
    cell: float,
    side: int,
) -> Array:
    """Make images (J, side, side) of energy spots in random directions from their deposits."""
    deposit, energy = spots
    direction = rng.random(len(deposit)) * 2 * np.pi
    eta = around.response.eta[deposit] + radius * np.cos(direction)
    phi = around.response.phi[deposit] + radius * np.sin(direction)
    place, inside = _places(around, (around.jet[deposit], eta, phi), cell=cell, side=side)
    count = len(around.eta)
    image = np.bincount(place[inside], energy[inside], count * side**2)
    # bincount returns whole numbers if there is no spot
    return image.reshape(count, side, side).astype(np.float64, copy=False)


def _places(
    around: JetSurroundings, points: tuple[Array, Array, Array], *, cell: float, side: int
) -> tuple[Array, Array]:
    """Return the pixel of each point (jet, eta, phi) in the jets' images, and which are inside."""
    jet, eta, phi = points
    row = np.floor((eta - around.eta[jet]) / cell + 0.5).astype(np.int64) + side // 2
    column = np.floor(wrap(phi - around.phi[jet]) / cell + 0.5).astype(np.int64) + side // 2
    inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
    return (jet * side + row) * side + column, inside


def _impact_parameters(particles: Particles, rng: np.random.Generator) -> tuple[Array, Array]:
    """Simulate the impact parameters (d0, dz) of tracks in cm.

    d0 is positive if the phi of that point is 90 degrees ahead of the track's phi; the curvature
    over these few millimetres is neglected.
    """
    assert particles.origin is not None
    x, y, z = 100 * particles.origin.T
    cosine, sine = np.cos(particles.phi), np.sin(particles.phi)
    d0 = y * cosine - x * sine
    dz = z - (x * cosine + y * sine) * np.sinh(particles.eta)
    pt = np.maximum(particles.pt, 0.3)
    noise = rng.standard_normal((2, len(pt)))
    d0 += noise[0] * np.hypot(D0_RESOLUTION[0], D0_RESOLUTION[1] / pt)
    # tracks at small angles cross more material and are projected along the beam
    slant = np.sqrt(np.cosh(particles.eta))
    dz += noise[1] * np.hypot(DZ_RESOLUTION[0], DZ_RESOLUTION[1] / pt) * slant
    return d0, dz


def _tracks(around: JetSurroundings, impact: tuple[Array, ...]) -> Array:
    """Make images of the tracks: sum of pt, and impact parameters of the hardest track in a pixel.

    Tracks are at their direction at the vertex.
    """
    found = np.flatnonzero(around.response.tracked)
    # if several values are assigned to one pixel, the last one stays: that of the hardest track
    found = found[np.argsort(around.response.track_pt[found], kind="stable")]
    points = (around.jet[found], around.particles.eta[found], around.particles.phi[found])
    place, inside = _places(around, points, cell=CRYSTAL, side=SIDE)
    place, found = place[inside], found[inside]
    size = len(around.eta) * SIDE**2
    images = [np.bincount(place, around.response.track_pt[found], size)]
    for values in impact:
        image = np.zeros(size)
        image[place] = values[found]
        images.append(image)
    return np.stack([image.reshape(-1, SIDE, SIDE) for image in images], axis=1)


def _pixel_hits(
    around: JetSurroundings, impact: tuple[Array, Array], radius: float, rng: np.random.Generator
) -> Array:
    """Make images (J, 125, 125) of charged particles' hits in one pixel layer.

    A hit is at the direction of its point in the layer, seen from the collision.
    """
    particles, (d0, dz) = around.particles, impact
    assert particles.origin is not None
    bend = 0.299792458 * FIELD_TESLA * np.abs(particles.charge) / (2 * particles.pt)
    crossing = (particles.charge != 0) & (radius * bend < 1)
    crossing &= np.hypot(*particles.origin[:, :2].T) < radius
    crossing &= rng.random(len(bend)) < PIXEL_EFFICIENCY
    some = np.flatnonzero(crossing)
    turned = np.arcsin(radius * bend[some])
    phi = particles.phi[some] - np.sign(particles.charge[some]) * turned + d0[some] / 100 / radius
    along = turned / bend[some] * np.sinh(particles.eta[some]) + dz[some] / 100
    points = (around.jet[some], np.arcsinh(along / radius), phi)
    place, inside = _places(around, points, cell=CRYSTAL, side=SIDE)
    inside &= np.abs(along) < PIXEL_LENGTH
    size = len(around.eta) * SIDE**2
    fakes = rng.integers(0, size, rng.poisson(PIXEL_FAKES * len(around.eta)))
    hits = np.bincount(np.concatenate([place[inside], fakes]), minlength=size)
    return hits.reshape(-1, SIDE, SIDE)
