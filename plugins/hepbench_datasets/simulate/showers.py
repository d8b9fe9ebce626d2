"""Showers of electrons and photons in lead tungstate: the energy in each crystal of a barrel.

Along the crystals a shower is a gamma distribution whose parameters differ from shower to shower;
across them it has a core and a tail, wider with depth, of spots of equal energy. All follow Grindhammer
and Peters, hep-ex/0001020, appendix A for homogeneous media, and the integral over a crystal is exact.
With them 3 x 3 crystals around one that is hit in its middle fluctuate by 2.2 % / sqrt(E) at 50 GeV, 5 x 5
by 1.1 %, where CMS expects 2 and 1.5 %.

Crystals are those of CMS, JINST 3 S08004 (2008): 23 cm long, their axes 3 degrees off the collisions.
Along eta the images show as much, 0.045 +- 0.007; along phi none, 0.02 +- 0.01, and there it is left out.
So are gaps between modules, and what leaks into neighbours through electronics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepbench_datasets.simulate.cascade import FACE

if TYPE_CHECKING:
    from hepbench import Array
    from hepbench_datasets.simulate.cascade import Particles

CRYSTAL = 2 * np.pi / 360
"""Radian, in eta and in phi."""
WIDTH_CM, LENGTH_CM = 2.25, 23.0
X0_CM, MOLIERE_CM, CRITICAL, ATOMIC = 0.89, 2.19, 0.0084, 68.36
"""Of PbWO4: radiation length and Moliere radius, critical energy in GeV, effective atomic number."""

CORE, TAIL, ALONG_PHI = 0.81, 0.95, 1.16
"""Measured: scales of the radii of core and tail, and of both along phi, in which the field bends the
softest electrons of a shower. The source's own are 1; errors are 0.02."""
INNER = 0.965
"""Scale of the core's share that CMS found in a test beam for the same source (CMSSW, SimGeneral/GFlash)."""
TILT = 0.052
"""Tangent of the angle between the axis of a crystal and a line to the collisions, where eta is positive.
A shower is so far nearer to the neighbour on one side."""

SLICES = (np.arange(12) + 0.5) * 2 * LENGTH_CM / X0_CM / 12
"""Depths in radiation lengths at which the profile is taken; the first half is in the crystal."""
REACH = 4
"""Crystals around the one that is hit; what is beyond is left out, 1 % of the energy."""
BATCH = 4000
"""Showers in memory at a time."""
SPOTS, SPOTS_POWER = 93 * np.log(ATOMIC), 0.876
"""Spots in a shower of 1 GeV, and how they grow with its energy."""
QUANTUM = 0.021**2
"""GeV: the light of a crystal fluctuates as if it came in such portions, by 2.1 % / sqrt(E) (JINST 3
S08004)."""


def deposits(
    particles: Particles,
    eta: Array,
    vertex: Array,
    origin: tuple[Array, Array],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> Array:
    """Return (E, rows, columns) GeV in the crystals of a part of the barrel.

    Args:
        particles: at the face.
        eta: (E,) of the direction in each event.
        vertex: (E,) metres along the beam at which its particle began.
        origin: (E,) each, eta and phi of the part's lower corner in crystals, phi from where the
            event's particle began.
        size: rows along eta, columns along phi.
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
        hits = (place[part] - row, tangents[0][part]), (across[part] - column, tangents[1][part])
        shared = shares(energy[part], particles.charge[part] == 0, hits, rng)
        shared = spotted(shared, energy[part, None, None], rng)
        rows, columns = row[:, None, None] + around[:, None], column[:, None, None] + around
        inside = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
        crystal = (event[part, None, None] * size[0] + rows) * size[1] + columns
        total += np.bincount(crystal[inside], shared[inside], len(total))
    portions = rng.standard_gamma(total / QUANTUM)
    return (QUANTUM * portions).reshape(len(eta), *size)


def spotted(shared: Array, energy: Array, rng: np.random.Generator) -> Array:
    """Return GeV in crystals of showers that are made of spots; what each holds in all stays.

    Args:
        shared: (N, 9, 9), parts of each shower.
        energy: (N, 1, 1) GeV.
        rng: for how many spots are where.
    """
    spots = rng.standard_gamma(shared * SPOTS * energy**SPOTS_POWER)
    whole, drawn = (each.sum(axis=(1, 2), keepdims=True) for each in (shared, spots))
    return energy * spots * (whole / drawn)


def shares(
    energy: Array, photon: Array, hits: tuple[tuple[Array, Array], ...], rng: np.random.Generator
) -> Array:
    """Return (N, 9, 9), which part of each shower is in the crystals around the one that it hits.

    Args:
        energy: (N,) GeV.
        photon: (N,) bool, True where the shower begins with a conversion.
        hits: along eta and along phi, the place in the crystal, 0 to 1, and the tangent of the
            angle to its axis, (N,) each.
        rng: for fluctuations.
    """
    depth, weight, age = along(energy, photon, rng)
    core, tail, inner = across(energy, age)
    edges = np.arange(-REACH, REACH + 2.0)
    found = np.zeros((len(energy), len(edges) - 1, len(edges) - 1))
    parts = (CORE * core, inner), (TAIL * tail, 1 - inner)
    for k, shift in enumerate(depth * X0_CM / WIDTH_CM):
        edge = [edges - (place + tangent * shift)[:, None] for place, tangent in hits]
        x, y = edge[0][:, :, None], edge[1][:, None, :] / ALONG_PHI
        for radius, share in parts:
            square = within(x, y, radius[:, k, None, None])
            found += (weight[:, k] * share[:, k])[:, None, None] * square
    return found


def along(energy: Array, photon: Array, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Return depths (K,) in radiation lengths, and weight and age of each shower there, (N, K).

    Logarithms of the depth of the maximum and of the shape are normal and correlated (A.1.2 there).
    Weights add to 1 less what leaves the crystal behind. At an age of 1 a usual shower is greatest;
    others have the same mean age, which keeps them as wide.
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


def across(energy: Array, age: Array) -> tuple[Array, Array, Array]:
    """Return radii of core and tail in widths of a crystal, and the core's share, (N, K) each.

    A.1.3 there, before the scales of radii above.
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


def within(x: Array, y: Array, radius: Array) -> Array:
    """Return the parts between edges of the density R^2 / (pi (x^2 + y^2 + R^2)^2).

    Args:
        x: (N, A + 1, 1), rising.
        y: (N, 1, B + 1), rising.
        radius: (N, 1, 1).

    Returns:
        (N, A, B).
    """
    far_x, far_y = np.sqrt(x**2 + radius**2), np.sqrt(y**2 + radius**2)
    corner = x / far_x * np.arctan(y / far_x) + y / far_y * np.arctan(x / far_y)
    return np.diff(np.diff(corner, axis=1), axis=2) / (2 * np.pi)
