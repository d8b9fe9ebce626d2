"""Views of top-tagging jets (kinematic variables, graphs, substructure), and augmentations.

The views are made from cached data: the original files need not be read again after a change here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench import DataError
from hepbench_datasets import TOP_TAGGING, clouds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from hepbench import Array, Inputs

KINEMATIC = (
    *("part_deta", "part_dphi", "part_pt_log", "part_e_log"),
    *("part_logptrel", "part_logerel", "part_deltaR"),
)
"""The columns of ``cloud`` for ``features="kinematic"``; see ``transform``."""
KINEMATIC_UNITS = ("", "rad", "log GeV", "log GeV", "", "", "")

MOMENTA = 4
"""Number of columns of ``cloud`` for ``features="momenta"``."""

STEP = 1e-4
"""Step in radian to which angles are rounded, so that graphs are the same on every machine."""
FARTHEST = 1 << 17
"""Largest number of angle steps between a particle and the jet axis in eta."""

RADIUS = 0.8
"""Radius of the jets."""
AXES = (1, 2, 3)
ROUNDS = 10
"""Iterations of k-means for the subjet axes."""
WIDTHS = (32, 48, 64, 96, 128, 200)
"""Numbers of particles to which jets are padded for substructure, so that sums do not depend on the
batch."""
BATCH = 500

FEATURES = (
    *("mass", "pt", "particles", "width", "ptd", "major", "minor", "leading"),
    *(f"tau{n}" for n in AXES),
    *("tau21", "tau32", "c2", "d2"),
    *("subjet_mass_low", "subjet_mass_middle", "subjet_mass_high"),
    *("subjet_fraction_1", "subjet_fraction_2", "subjet_fraction_3"),
)
"""The columns of ``table``; see ``summarise``."""
UNITS = (*("GeV", "GeV"), *[""] * 13, *["GeV"] * 3, *[""] * 3)
"""The units of FEATURES."""


def transform(inputs: Inputs, *, particles: int, features: str, **_others: Any) -> Inputs:
    """Return the first particles of jets as ``cloud`` and ``mask``: momenta or kinematic variables.

    ``momenta`` are px, py, pz and energy as read. ``kinematic`` are the seven features of
    ParticleNet, Qu and Gouskos, arXiv:1902.08570, table 2, with the columns KINEMATIC: eta and phi
    relative to the jet axis, with eta mirrored if the jet's eta is negative; the logarithms of pt
    and energy in GeV, and of their fractions of the jet's pt and energy; and the distance from the
    jet axis. The jet is the sum of all its particles, not only of the first ones. Padding is 0.

    Raises:
        DataError: ``particles`` is not from 1 to 200, or ``features`` is neither ``momenta`` nor
            ``kinematic``.
    """
    cloud, mask = inputs["cloud"], inputs["mask"]
    if isinstance(particles, bool) or particles not in range(1, cloud.shape[1] + 1):
        msg = f"top-tagging: particles is {particles!r}; 1 to {cloud.shape[1]} are allowed"
        raise DataError(msg)
    if features not in {"momenta", "kinematic"}:
        msg = f"top-tagging: features is {features!r}; momenta and kinematic are allowed"
        raise DataError(msg)
    if features == "kinematic":
        starts = range(0, max(len(cloud), 1), BATCH)
        pieces = [_kinematic(cloud[s : s + BATCH], mask[s : s + BATCH], particles) for s in starts]
        return {"cloud": np.concatenate(pieces), "mask": mask[:, :particles]}
    return {"cloud": cloud[:, :particles], "mask": mask[:, :particles]}


def names(*, features: str, **_others: Any) -> tuple[str, ...]:
    """Return the names of the particles' features that ``transform`` returns."""
    return KINEMATIC if features == "kinematic" else TOP_TAGGING.inputs["cloud"].names


def units(*, features: str, **_others: Any) -> tuple[str, ...]:
    """Return the units of the particles' features that ``transform`` returns."""
    return KINEMATIC_UNITS if features == "kinematic" else TOP_TAGGING.inputs["cloud"].units


def graph(inputs: Inputs, *, particles: int, k: int, **_others: Any) -> Inputs:
    """Return ``neighbours`` (N, P, k): the nearest particles in eta and phi to each particle.

    See ``clouds.neighbours``; the distances are those of angles rounded to STEP.

    Raises:
        DataError: as ``transform``, or ``k`` is below 1.
    """
    if k < 1:
        msg = f"top-tagging: k is {k!r}; at least 1 is expected"
        raise DataError(msg)
    transformed = transform(inputs, particles=particles, features="kinematic")
    places = np.rint(transformed["cloud"][..., :2] / STEP).astype(np.int64) + FARTHEST
    found = clouds.neighbours(places[..., 0], places[..., 1], transformed["mask"], k=k)
    return {"neighbours": found.astype(np.min_scalar_type(particles - 1))}


def _kinematic(cloud: Array, mask: Array, particles: int) -> Array:
    jet = cloud.sum(axis=1, dtype=np.float64)[:, None]
    jet_pt, jet_eta, jet_phi = _angles(jet)
    first = cloud[:, :particles].astype(np.float64)
    mask = mask[:, :particles]
    # padding gets the value 1 here; its results are replaced by 0 below
    pt, eta, phi = _angles(np.where(mask[..., None], first, 1.0))
    energy = np.where(mask, first[..., 3], 1.0)
    deta = np.where(jet_eta < 0, -1, 1) * (eta - jet_eta)
    dphi = _wrapped(phi - jet_phi)
    columns = (
        *(deta, dphi, np.log(pt), np.log(energy)),
        *(np.log(pt / jet_pt), np.log(energy / jet[..., 3]), np.hypot(deta, dphi)),
    )
    return np.where(mask[..., None], np.stack(columns, axis=-1), 0).astype(np.float32)


def summarise(inputs: Inputs, **_others: Any) -> Inputs:
    """Return jet substructure computed from particles, ``table`` (N, 21), columns FEATURES.

    - mass and pt of the jet in GeV, and its number of particles;
    - weighted by the fraction of the pt, in rapidity and phi: the mean distance from the axis
      (width); the square root of the sum of squared fractions (ptD); the square roots of the larger
      and the smaller eigenvalue of the second moments (major, minor); the largest fraction
      (leading);
    - tau_N, N-subjettiness with beta = 1 divided by the jet radius (arXiv:1011.2268), and ratios.
      The axes are those of k-means, as in arXiv:1108.2701, from one start: the hardest particle,
      then each time the particle with the largest pt times distance from the axes so far;
    - C2 and D2, energy correlations with beta = 1 (arXiv:1305.0007, arXiv:1409.6298);
    - of the three subjets, the groups of particles around the axes: masses of their pairs in GeV,
      rising, and fractions of the pt, falling.

    No feature depends on the direction of the jet or, for massless particles, on a boost along the
    beam. The shapes of a single particle and ratios with denominator 0 are 0.
    """
    cloud, mask = inputs["cloud"], inputs["mask"]
    table = np.zeros((len(cloud), len(FEATURES)), np.float32)
    counts = mask.sum(axis=1)
    group = np.searchsorted(WIDTHS, counts)
    for i, width in enumerate(WIDTHS):
        rows = np.flatnonzero(group == i)
        for start in range(0, len(rows), BATCH):
            some = rows[start : start + BATCH]
            # real particles first, in any mask
            order = np.argsort(~mask[some], axis=1, kind="stable")[:, :width]
            parts = np.take_along_axis(cloud[some], order[:, :, None], axis=1)
            table[some] = _summaries(parts.astype(np.float64), counts[some])
    return {"table": table}


def _summaries(parts: Array, counts: Array) -> Array:
    """Compute the substructure of jets (n, features) from momenta (n, P, 4) padded by zeros."""
    jet = parts.sum(axis=1)
    pt = np.hypot(parts[..., 0], parts[..., 1])
    fraction = pt / np.maximum(pt.sum(axis=1, keepdims=True), 1e-9)
    points = _points(parts, jet)
    distance = np.hypot(*np.moveaxis(points, 2, 0))
    columns = [
        *(_mass(jet), np.hypot(jet[:, 0], jet[:, 1]), counts),
        *((fraction * distance).sum(axis=1), np.sqrt((fraction**2).sum(axis=1))),
        *_moments(points, fraction),
        fraction.max(axis=1),
    ]
    taus, nearest = zip(*(_subjettiness(points, fraction, n) for n in AXES), strict=True)
    columns += [*taus, _ratio(taus[1], taus[0]), _ratio(taus[2], taus[1])]
    columns += _correlations(points, fraction)
    columns += _subjets(parts, fraction, nearest[-1])
    return np.stack(columns, axis=1)


def _points(parts: Array, jet: Array) -> Array:
    """Return the particles' rapidity and phi relative to the jet axis, (n, P, 2)."""
    real = parts[..., 3] > 0
    rapidity = _rapidity(np.where(real[..., None], parts, (1.0, 0.0, 0.0, 1.0)))
    phi = np.arctan2(parts[..., 1], parts[..., 0])
    along = rapidity - _rapidity(jet)[:, None]
    around = _wrapped(phi - np.arctan2(jet[:, 1], jet[:, 0])[:, None])
    return np.where(real[..., None], np.stack([along, around], axis=-1), 0.0)


def _rapidity(momenta: Array) -> Array:
    """Return the rapidities of particles, accurate also for fast particles along the beam."""
    transverse = np.hypot(momenta[..., 0], momenta[..., 1])
    squared = momenta[..., 3] ** 2 - (momenta[..., :3] ** 2).sum(axis=-1)
    # rounding gives massless particles a squared mass of either sign
    mass = np.sqrt(np.where(squared > 1e-5 * momenta[..., 3] ** 2, squared, 0.0))
    return np.arcsinh(momenta[..., 2] / np.maximum(np.hypot(transverse, mass), 1e-9))


def _mass(momenta: Array) -> Array:
    squared = momenta[..., 3] ** 2 - (momenta[..., :3] ** 2).sum(axis=-1)
    return np.sqrt(np.maximum(squared, 0.0))


def _angles(momenta: Array) -> tuple[Array, Array, Array]:
    """Return pt, eta and phi of momenta."""
    pt = np.hypot(momenta[..., 0], momenta[..., 1])
    return pt, np.arcsinh(momenta[..., 2] / pt), np.arctan2(momenta[..., 1], momenta[..., 0])


def _wrapped(phi: Array) -> Array:
    return (phi + np.pi) % (2 * np.pi) - np.pi


def _ratio(a: Array, b: Array) -> Array:
    return np.where(b > 0, a / np.where(b > 0, b, 1.0), 0.0)


def _moments(points: Array, fraction: Array) -> tuple[Array, Array]:
    """Return major and minor axis of jets: square roots of the second moments' eigenvalues."""
    centre = (fraction[..., None] * points).sum(axis=1, keepdims=True)
    x, y = np.moveaxis(points - centre, 2, 0)
    a, b, c = ((fraction * product).sum(axis=1) for product in (x * x, y * y, x * y))
    half, spread = (a + b) / 2, np.hypot((a - b) / 2, c)
    return np.sqrt(half + spread), np.sqrt(np.maximum(half - spread, 0.0))


def _subjettiness(points: Array, fraction: Array, n: int) -> tuple[Array, Array]:
    """Return the N-subjettiness tau_n of jets, and the subjet axis nearest to each particle."""
    axes = _seeds(points, fraction, n)
    for _ in range(ROUNDS):
        nearest = _distances(points, axes).argmin(axis=2)
        weights = fraction[:, :, None] * (nearest[:, :, None] == np.arange(n))
        weight = weights.sum(axis=1)
        # sum over the particle axis only, in the order of the particles: the same in any batch
        middle = (weights[..., None] * points[:, :, None]).sum(axis=1)
        found = middle / np.where(weight > 0, weight, 1.0)[..., None]
        axes = np.where((weight > 0)[..., None], found, axes)
    distances = _distances(points, axes)
    return (fraction * distances.min(axis=2)).sum(axis=1) / RADIUS, distances.argmin(axis=2)


def _seeds(points: Array, fraction: Array, n: int) -> Array:
    """Return the first n subjet axes (N, n, 2) for k-means, starting at the hardest particle."""
    rows = np.arange(len(points))
    axes = [points[rows, fraction.argmax(axis=1)]]
    while len(axes) < n:
        distance = _distances(points, np.stack(axes, axis=1)).min(axis=2)
        axes.append(points[rows, (fraction * distance).argmax(axis=1)])
    return np.stack(axes, axis=1)


def _distances(points: Array, axes: Array) -> Array:
    """Return the distances (N, P, n) between particles and subjet axes."""
    gaps = points[:, :, None] - axes[:, None]
    return np.hypot(gaps[..., 0], gaps[..., 1])


def _correlations(points: Array, fraction: Array) -> tuple[Array, Array]:
    """Return the energy correlation ratios C2 and D2 of jets.

    Each pair is counted twice and each triple six times, so the sums are divided by 2 and 6.
    """
    weighted = _distances(points, points) * fraction[:, None]
    pairs = (weighted * fraction[:, :, None]).sum(axis=(1, 2)) / 2
    # d_ik z_k d_kj z_j, summed over k, and then times d_ij z_i
    triples = (weighted.transpose(0, 2, 1) * (weighted @ weighted)).sum(axis=(1, 2)) / 6
    return _ratio(triples, pairs**2), _ratio(triples, pairs**3)


def _subjets(parts: Array, fraction: Array, nearest: Array) -> list[Array]:
    """Return the masses of pairs of three subjets, and the subjets' fractions of the jet's pt."""
    belongs = nearest[:, :, None] == np.arange(3)
    momenta = (belongs[..., None] * parts[:, :, None]).sum(axis=1)
    pairs = [_mass(momenta[:, i] + momenta[:, j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    fractions = (belongs * fraction[:, :, None]).sum(axis=1)
    return [*np.sort(pairs, axis=0), *np.sort(fractions, axis=1).T[::-1]]


def rotations(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Rotate each jet of a batch by a random angle around the beam, or around its axis.

    The rotation around the beam is a symmetry of collisions and of a detector without gaps. The
    rotation around the jet axis is a symmetry of showers as long as jets are narrow; colour
    connections with the rest of the event break it. Padding stays 0. Preprocessing must scale the
    two rotated components by the same factor.
    """
    import torch

    cloud = inputs["cloud"].clone()
    angle = 2 * torch.pi * torch.rand(len(cloud), 1, device=cloud.device)
    # px and py, or eta and phi relative to the axis
    x, y = inputs["cloud"][..., 0], inputs["cloud"][..., 1]
    cloud[..., 0] = angle.cos() * x - angle.sin() * y
    cloud[..., 1] = angle.sin() * x + angle.cos() * y
    return {**inputs, "cloud": cloud}


def flips(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Mirror each jet of a batch at random: along the beam, in phi, in both or not at all.

    Momenta change the signs of pz and py, kinematic features those of eta and phi relative to the
    axis; both are symmetries. If preprocessing subtracted means, they are ignored, because they are
    nearly 0.
    """
    import torch

    columns = (1, 2) if inputs["cloud"].shape[-1] == MOMENTA else (0, 1)
    cloud = inputs["cloud"].clone()
    for column in columns:
        chosen = torch.rand(len(cloud), 1, device=cloud.device) < 0.5
        cloud[..., column] = torch.where(chosen, -cloud[..., column], cloud[..., column])
    return {**inputs, "cloud": cloud}
