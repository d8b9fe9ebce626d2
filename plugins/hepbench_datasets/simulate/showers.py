"""Simulate showers of electrons and photons in the crystals of a calorimeter barrel.

Along the crystals a shower follows a gamma distribution whose parameters differ from shower to
shower; transversely it has a core and a tail that widen with depth and consist of spots of equal
energy. All follow Grindhammer and Peters, hep-ex/0001020, appendix A for homogeneous media, and the
integral over a crystal is exact. With these formulas the energy in 3 x 3 crystals around a crystal
that is hit in its middle fluctuates by 2.2 % / sqrt(E) at 50 GeV and in 5 x 5 by 1.1 %; CMS expects
2 and 1.5 %.

Crystals are those of CMS, JINST 3 S08004 (2008): 23 cm long, with axes 3 degrees off the collision
point. The images show this tilt along eta, 0.045 +- 0.007, but not along phi, 0.02 +- 0.01, so the
tilt along phi is left out. Gaps between modules and electronic crosstalk are left out too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepbench_datasets.simulate.cascade import FACE

if TYPE_CHECKING:
    from hepbench import Array
    from hepbench_datasets.simulate.cascade import Particles

CRYSTAL = 2 * np.pi / 360
"""Size of a crystal in eta and in phi, radian."""
WIDTH_CM, LENGTH_CM = 2.25, 23.0
X0_CM, MOLIERE_CM, CRITICAL, ATOMIC = 0.89, 2.19, 0.0084, 68.36
"""Properties of PbWO4: radiation length and Moliere radius in cm, critical energy in GeV, effective
atomic number."""

CORE, TAIL, ALONG_PHI = 0.81, 0.95, 1.16
"""Scale factors of the shower's radii of core and tail, and of both along phi (errors: 0.02).

They were measured on the original images; the factors of the source are 1. Along phi the field
bends the softest electrons of a shower.
"""
INNER = 0.965
"""Scale factor of the energy fraction in a shower's core.

CMS found it in a test beam for the same source (CMSSW, SimGeneral/GFlash).
"""
TILT = 0.052
"""Tangent of a crystal's tilt: the angle between its axis and a line to the collision point.

It holds for positive eta. The tilt moves a shower closer to the neighbour on one side.
"""

SLICES = (np.arange(12) + 0.5) * 2 * LENGTH_CM / X0_CM / 12
"""Depths in radiation lengths at which the shower profile is evaluated.

The first half is in the crystal.
"""
REACH = 4
"""Number of crystals around the hit one that share a shower's energy.

Energy farther away, 1 %, is left out.
"""
BATCH = 4000
"""Number of showers that are simulated at a time."""
SPOTS, SPOTS_POWER = 93 * np.log(ATOMIC), 0.876
"""Number of energy spots in a shower of 1 GeV, and power of the energy with which it grows."""
QUANTUM = 0.021**2
"""Energy in GeV of one portion of light: a crystal's signal fluctuates by 2.1 % / sqrt(E).

Source: JINST 3 S08004.
"""


def deposits(
    particles: Particles,
    eta: Array,
    vertex: Array,
    origin: tuple[Array, Array],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> Array:
    """Simulate the energies in the crystals of a part of the barrel, (E, rows, columns) GeV.

    Args:
        particles: at the face of the calorimeter.
        eta: (E,) of the direction in each event.
        vertex: (E,) position along the beam where the event's particle began, in metres.
        origin: two (E,): eta and phi of the part's lower corner in crystals, phi relative to the
            phi of the event's particle at the beam.
        size: number of rows along eta and of columns along phi.
        rng: for fluctuations.
    """
    event = particles.event
    slope = np.sinh(eta)[event]
    nominal = particles.path / FACE * slope + vertex[event] / FACE
    place = np.arcsinh(nominal) / CRYSTAL - origin[0][event]
    across = particles.phi / CRYSTAL - origin[1][event]
    energy = particles.pt * np.cosh(eta)[event]
    aslant = (slope - nominal) / (1 + slope * nominal)
    tangents = TILT * np.sign(nominal) + aslant, np.tan(particles.angle)
    around = np.arange(-REACH, REACH + 1)
    total = np.zeros(len(eta) * size[0] * size[1])
    for start in range(0, len(particles), BATCH):
        part = slice(start, start + BATCH)
        row, column = (np.floor(axis[part]).astype(np.int64) for axis in (place, across))
        hits = (
            (place[part] - row, tangents[0][part]),
            (across[part] - column, tangents[1][part]),
        )
        fractions = crystal_fractions(energy[part], particles.charge[part] == 0, hits, rng)
        shower = fluctuate(fractions, energy[part, None, None], rng)
        rows, columns = row[:, None, None] + around[:, None], column[:, None, None] + around
        inside = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
        crystal = (event[part, None, None] * size[0] + rows) * size[1] + columns
        total += np.bincount(crystal[inside], shower[inside], len(total))
    portions = rng.standard_gamma(total / QUANTUM)
    return (QUANTUM * portions).reshape(len(eta), *size)


def fluctuate(fractions: Array, energy: Array, rng: np.random.Generator) -> Array:
    """Redistribute the energy of each shower in random spots, with the same sum.

    Args:
        fractions: (N, 9, 9), fractions of each shower.
        energy: (N, 1, 1) GeV.
        rng: for the number of spots in each crystal.

    Returns:
        (N, 9, 9) GeV.
    """
    spots = rng.standard_gamma(fractions * SPOTS * energy**SPOTS_POWER)
    whole, drawn = (each.sum(axis=(1, 2), keepdims=True) for each in (fractions, spots))
    return energy * spots * (whole / drawn)


def crystal_fractions(
    energy: Array, photon: Array, hits: tuple[tuple[Array, Array], ...], rng: np.random.Generator
) -> Array:
    """Return the energy fractions of showers in the crystals around the hit one, (N, 9, 9).

    Args:
        energy: (N,) GeV.
        photon: (N,) bool, True if the shower begins with a conversion.
        hits: along eta and along phi: the position in the crystal, 0 to 1, and the tangent of the
            angle to its axis, (N,) each.
        rng: for fluctuations.
    """
    depth, weight, age = longitudinal_profile(energy, photon, rng)
    core, tail, inner = radial_profile(energy, age)
    edges = np.arange(-REACH, REACH + 2.0)
    found = np.zeros((len(energy), len(edges) - 1, len(edges) - 1))
    parts = (CORE * core, inner), (TAIL * tail, 1 - inner)
    for k, shift in enumerate(depth * X0_CM / WIDTH_CM):
        edge = [edges - (place + tangent * shift)[:, None] for place, tangent in hits]
        x, y = edge[0][:, :, None], edge[1][:, None, :] / ALONG_PHI
        for radius, fraction in parts:
            square = integrate(x, y, radius[:, k, None, None])
            found += (weight[:, k] * fraction[:, k])[:, None, None] * square
    return found


def longitudinal_profile(
    energy: Array, photon: Array, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Return the longitudinal shower profile: depths (K,), weights and ages at each depth (N, K).

    The logarithms of the depth of the maximum and of the shape parameter are normal and correlated
    (appendix A.1.2 of the source). The weights add up to 1 minus the energy that leaves the crystal
    at the back. A typical shower has its maximum at age 1; other showers get the same mean age, and
    so the same width.
    """
    grown = np.log(np.maximum(energy / CRITICAL, 15))
    same, other = rng.standard_normal((2, len(energy)))
    correlation = 0.705 - 0.023 * grown
    same *= np.sqrt((1 + correlation) / 2)
    other *= np.sqrt((1 - correlation) / 2)
    maximum = (grown - 0.812) * np.exp((same + other) / (-1.4 + 1.26 * grown))
    shape = 0.81 + (0.458 + 2.26 / ATOMIC) * grown
    usual = 1 - 1 / shape
    shape = np.maximum(shape * np.exp((same - other) / (-0.58 + 0.86 * grown)), 1.1)
    begins = np.where(photon, rng.exponential(9 / 7, len(energy)), 0)
    depth = np.maximum(SLICES - begins[:, None], 1e-3) / maximum[:, None]
    profile = np.exp((shape - 1)[:, None] * (np.log(depth) - depth))
    inside = len(SLICES) // 2
    weight = profile[:, :inside] / profile.sum(axis=1, keepdims=True)
    age = depth[:, :inside] * ((1 - 1 / shape) / usual)[:, None]
    return SLICES[:inside], weight, age


def radial_profile(energy: Array, age: Array) -> tuple[Array, Array, Array]:
    """Return the radial shower profile: radii of core and tail, and the core's energy fraction.

    Appendix A.1.3 of the source, with the scale factors of the radii applied elsewhere.
    """
    log = np.log(np.maximum(energy, 0.05))[:, None]
    age = np.minimum(age, 4)
    core = 0.0251 + 0.00319 * log + (0.1162 - 0.000381 * ATOMIC) * age
    since = age - 0.645
    tail = np.exp(-2.59 * since) + np.exp((0.3585 + 0.0421 * log) * since)
    tail = np.minimum((0.659 - 0.00309 * ATOMIC) * tail, 8)
    exponent = (0.401 + 0.00187 * ATOMIC - age) / (1.313 - 0.0686 * log)
    inner = (2.632 - 0.00094 * ATOMIC) * np.exp(exponent - np.exp(exponent))
    scale = MOLIERE_CM / WIDTH_CM
    return scale * core, scale * tail, np.clip(INNER * inner, 0, 1)


def integrate(x: Array, y: Array, radius: Array) -> Array:
    """Integrate the density R^2 / (pi (x^2 + y^2 + R^2)^2) over rectangles between edges.

    Args:
        x: (N, A + 1, 1), rising.
        y: (N, 1, B + 1), rising.
        radius: (N, 1, 1), R.

    Returns:
        (N, A, B).
    """
    far_x, far_y = np.sqrt(x**2 + radius**2), np.sqrt(y**2 + radius**2)
    corner = x / far_x * np.arctan(y / far_x) + y / far_y * np.arctan(x / far_y)
    return np.diff(np.diff(corner, axis=1), axis=2) / (2 * np.pi)
