"""Views of top-tagging jets: particles in other variables, a table of what they show; augmentations.

A change here needs no second reading of the files.
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
"""The columns of ``cloud`` where ``features`` is ``kinematic``; see ``transform``."""
KINEMATIC_UNITS = ("", "rad", "log GeV", "log GeV", "", "", "")

MOMENTA = 4
"""Columns of ``cloud`` where ``features`` is ``momenta``."""

STEP = 1e-4
"""Radian, finer than any detector; by whole numbers of it graphs are the same on every machine."""
FARTHEST = 1 << 17
"""Steps; no particle is so far from the axis of its jet in eta."""

RADIUS = 0.8
"""Of the jets."""
AXES = (1, 2, 3)
ROUNDS = 10
"""Of the search for axes."""
WIDTHS = (32, 48, 64, 96, 128, 200)
"""Jets of at most so many particles are computed together: sums over as many numbers for each jet,
whatever jets stand beside it."""
BATCH = 500

FEATURES = (
    *("mass", "pt", "particles", "width", "ptd", "major", "minor", "leading"),
    *(f"tau{n}" for n in AXES),
    *("tau21", "tau32", "c2", "d2"),
    *("subjet_mass_low", "subjet_mass_middle", "subjet_mass_high"),
    *("subjet_share_1", "subjet_share_2", "subjet_share_3"),
)
"""The columns of ``table``; see ``summarise``."""
UNITS = (*("GeV", "GeV"), *[""] * 13, *["GeV"] * 3, *[""] * 3)
"""Of FEATURES."""


def transform(inputs: Inputs, *, particles: int, features: str, **_others: Any) -> Inputs:
    """Return ``cloud`` (N, P, F) and ``mask`` (N, P) of the first particles, as asked for.

    ``momenta`` are px, py, pz and energy as read. ``kinematic`` are the seven of ParticleNet, Qu and
    Gouskos, arXiv:1902.08570, table 2, by KINEMATIC: eta and phi from the axis of the jet, eta
    mirrored where the jet's is negative; the logarithms of pt and energy in GeV, and of their shares
    of those of the jet; and the distance from its axis. The jet is the sum of all its particles,
    not of the first alone. Padding is 0.

    Raises:
        DataError: ``particles`` is not from 1 to 200, or ``features`` neither of the two.
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
    """Return the columns of the ``cloud`` that ``transform`` makes."""
    return KINEMATIC if features == "kinematic" else TOP_TAGGING.inputs["cloud"].names


def units(*, features: str, **_others: Any) -> tuple[str, ...]:
    """Return their units."""
    return KINEMATIC_UNITS if features == "kinematic" else TOP_TAGGING.inputs["cloud"].units


def graph(inputs: Inputs, *, particles: int, k: int, **_others: Any) -> Inputs:
    """Return ``neighbours`` (N, P, k), the particles that are nearest to each in eta and phi.

    See ``clouds.neighbours``; distances are those of angles rounded to STEP.

    Raises:
        DataError: as ``transform``, or ``k`` is below 1.
    """
    if k < 1:
        msg = f"top-tagging: k is {k!r}; a number above 0 is expected"
        raise DataError(msg)
    made = transform(inputs, particles=particles, features="kinematic")
    places = np.rint(made["cloud"][..., :2] / STEP).astype(np.int64) + FARTHEST
    found = clouds.neighbours(places[..., 0], places[..., 1], made["mask"], k=k)
    return {"neighbours": found.astype(np.min_scalar_type(particles - 1))}


def _kinematic(cloud: Array, mask: Array, particles: int) -> Array:
    jet = cloud.sum(axis=1, dtype=np.float64)[:, None]
    jet_pt, jet_eta, jet_phi = _angles(jet)
    first = cloud[:, :particles].astype(np.float64)
    mask = mask[:, :particles]
    # what stands in for padding is thrown away
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
    """Return what all particles of a jet show as a ``table`` (N, 21) float32, by columns FEATURES.

    - of the sum of all: mass and pt in GeV; how many particles there are;
    - by share of the pt, in rapidity and phi: the mean distance from the axis (width); the root of
      the sum of squared shares (ptD); the roots of the larger and the smaller second moment; the
      largest share;
    - tau_N, N-subjettiness of beta = 1 over the radius (arXiv:1011.2268), and ratios. Axes are those
      of k-means, as in arXiv:1108.2701, from one start: the hardest particle, then the one
      with the most pt times distance from those before;
    - C2 and D2, energy correlations of beta = 1 (arXiv:1305.0007, arXiv:1409.6298);
    - of the three groups of particles that belong to the axes: masses of the pairs, from low to high,
      in GeV, and shares of the pt, from high to low.

    Nothing of it depends on the direction of the jet or, for particles without mass, on a boost along
    the beam. A single particle has no shape: 0, and so is a ratio to 0.
    """
    cloud, mask = inputs["cloud"], inputs["mask"]
    table = np.zeros((len(cloud), len(FEATURES)), np.float32)
    counts = mask.sum(axis=1)
    group = np.searchsorted(WIDTHS, counts)
    for i, width in enumerate(WIDTHS):
        rows = np.flatnonzero(group == i)
        for start in range(0, len(rows), BATCH):
            some = rows[start : start + BATCH]
            # real particles first, wherever they stand
            order = np.argsort(~mask[some], axis=1, kind="stable")[:, :width]
            parts = np.take_along_axis(cloud[some], order[:, :, None], axis=1)
            table[some] = _summaries(parts.astype(np.float64), counts[some])
    return {"table": table}


def _summaries(parts: Array, counts: Array) -> Array:
    """Return (n, features) of (n, P, 4) whose padding is zero."""
    jet = parts.sum(axis=1)
    pt = np.hypot(parts[..., 0], parts[..., 1])
    share = pt / np.maximum(pt.sum(axis=1, keepdims=True), 1e-9)
    points = _points(parts, jet)
    distance = np.hypot(*np.moveaxis(points, 2, 0))
    columns = [
        *(_mass(jet), np.hypot(jet[:, 0], jet[:, 1]), counts),
        *((share * distance).sum(axis=1), np.sqrt((share**2).sum(axis=1))),
        *_moments(points, share),
        share.max(axis=1),
    ]
    taus, nearest = zip(*(_subjettiness(points, share, n) for n in AXES), strict=True)
    columns += [*taus, _ratio(taus[1], taus[0]), _ratio(taus[2], taus[1])]
    columns += _correlations(points, share)
    columns += _subjets(parts, share, nearest[-1])
    return np.stack(columns, axis=1)


def _points(parts: Array, jet: Array) -> Array:
    """Return (n, P, 2) rapidity and phi from the axis of the jet, 0 for padding."""
    real = parts[..., 3] > 0
    rapidity = _rapidity(np.where(real[..., None], parts, (1.0, 0.0, 0.0, 1.0)))
    phi = np.arctan2(parts[..., 1], parts[..., 0])
    along = rapidity - _rapidity(jet)[:, None]
    around = _wrapped(phi - np.arctan2(jet[:, 1], jet[:, 0])[:, None])
    return np.where(real[..., None], np.stack([along, around], axis=-1), 0.0)


def _rapidity(momenta: Array) -> Array:
    """Return rapidities, by a formula that keeps its digits for fast particles along the beam."""
    transverse = np.hypot(momenta[..., 0], momenta[..., 1])
    squared = momenta[..., 3] ** 2 - (momenta[..., :3] ** 2).sum(axis=-1)
    # rounding gives particles without mass a squared one of either sign
    mass = np.sqrt(np.where(squared > 1e-5 * momenta[..., 3] ** 2, squared, 0.0))
    return np.arcsinh(momenta[..., 2] / np.maximum(np.hypot(transverse, mass), 1e-9))


def _mass(momenta: Array) -> Array:
    squared = momenta[..., 3] ** 2 - (momenta[..., :3] ** 2).sum(axis=-1)
    return np.sqrt(np.maximum(squared, 0.0))


def _angles(momenta: Array) -> tuple[Array, Array, Array]:
    """Return pt, eta and phi."""
    pt = np.hypot(momenta[..., 0], momenta[..., 1])
    return pt, np.arcsinh(momenta[..., 2] / pt), np.arctan2(momenta[..., 1], momenta[..., 0])


def _wrapped(phi: Array) -> Array:
    return (phi + np.pi) % (2 * np.pi) - np.pi


def _ratio(a: Array, b: Array) -> Array:
    return np.where(b > 0, a / np.where(b > 0, b, 1.0), 0.0)


def _moments(points: Array, share: Array) -> tuple[Array, Array]:
    """Return the roots of the larger and the smaller second moment around the centre."""
    centre = (share[..., None] * points).sum(axis=1, keepdims=True)
    x, y = np.moveaxis(points - centre, 2, 0)
    a, b, c = ((share * product).sum(axis=1) for product in (x * x, y * y, x * y))
    half, spread = (a + b) / 2, np.hypot((a - b) / 2, c)
    return np.sqrt(half + spread), np.sqrt(np.maximum(half - spread, 0.0))


def _subjettiness(points: Array, share: Array, n: int) -> tuple[Array, Array]:
    """Return (N,) tau_n over the radius, and (N, P) which axis each particle belongs to."""
    axes = _seeds(points, share, n)
    for _ in range(ROUNDS):
        nearest = _distances(points, axes).argmin(axis=2)
        ours = share[:, :, None] * (nearest[:, :, None] == np.arange(n))
        weight = ours.sum(axis=1)
        # over the axis of sums alone, in the order of the particles: the same in any batch
        middle = (ours[..., None] * points[:, :, None]).sum(axis=1)
        found = middle / np.where(weight > 0, weight, 1.0)[..., None]
        axes = np.where((weight > 0)[..., None], found, axes)
    distances = _distances(points, axes)
    return (share * distances.min(axis=2)).sum(axis=1) / RADIUS, distances.argmin(axis=2)


def _seeds(points: Array, share: Array, n: int) -> Array:
    """Return (N, n, 2): the hardest particle, then what has most pt times distance from these."""
    rows = np.arange(len(points))
    axes = [points[rows, share.argmax(axis=1)]]
    while len(axes) < n:
        distance = _distances(points, np.stack(axes, axis=1)).min(axis=2)
        axes.append(points[rows, (share * distance).argmax(axis=1)])
    return np.stack(axes, axis=1)


def _distances(points: Array, axes: Array) -> Array:
    """Return (N, P, n)."""
    gaps = points[:, :, None] - axes[:, None]
    return np.hypot(gaps[..., 0], gaps[..., 1])


def _correlations(points: Array, share: Array) -> tuple[Array, Array]:
    """Return C2 and D2: the correlation of three over the second and third power of that of two.

    Sums over all pairs and triples, each of which is counted two and six times.
    """
    weighted = _distances(points, points) * share[:, None]
    pairs = (weighted * share[:, :, None]).sum(axis=(1, 2)) / 2
    # d_ik z_k d_kj z_j, summed over k, and then times d_ij z_i
    triples = (weighted.transpose(0, 2, 1) * (weighted @ weighted)).sum(axis=(1, 2)) / 6
    return _ratio(triples, pairs**2), _ratio(triples, pairs**3)


def _subjets(parts: Array, share: Array, nearest: Array) -> list[Array]:
    """Return masses of the pairs of three subjets, rising, and their shares, falling."""
    belongs = nearest[:, :, None] == np.arange(3)
    momenta = (belongs[..., None] * parts[:, :, None]).sum(axis=1)
    pairs = [_mass(momenta[:, i] + momenta[:, j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    shares = (belongs * share[:, :, None]).sum(axis=1)
    return [*np.sort(pairs, axis=0), *np.sort(shares, axis=1).T[::-1]]


def rotations(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Turn each jet of a batch by any angle: momenta around the beam, kinematic features around its axis.

    The former is a symmetry of collisions and of a detector without gaps; the latter one of showers
    as long as jets are narrow, not of the pull of whatever else was in the collision. Padding stays
    0. Preprocessing must leave the two components as large as they were, compared to each other.
    """
    import torch

    cloud = inputs["cloud"].clone()
    angle = 2 * torch.pi * torch.rand(len(cloud), 1, device=cloud.device)
    # px and py, or eta and phi from the axis
    x, y = inputs["cloud"][..., 0], inputs["cloud"][..., 1]
    cloud[..., 0] = angle.cos() * x - angle.sin() * y
    cloud[..., 1] = angle.sin() * x + angle.cos() * y
    return {**inputs, "cloud": cloud}


def flips(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Mirror each jet of a batch along the beam, in phi, in both or in none, by chance.

    Of momenta pz and py change their signs, of kinematic features eta and phi from the axis:
    symmetries both. Means that preprocessing may have subtracted are taken for 0, which they nearly
    are.
    """
    import torch

    columns = (1, 2) if inputs["cloud"].shape[-1] == MOMENTA else (0, 1)
    cloud = inputs["cloud"].clone()
    for column in columns:
        chosen = torch.rand(len(cloud), 1, device=cloud.device) < 0.5
        cloud[..., column] = torch.where(chosen, -cloud[..., column], cloud[..., column])
    return {**inputs, "cloud": cloud}
