"""Features of pairs of particles from their four-momenta, invariant under boosts along the beam.

Those of Qu, Li and Qian (2022), arXiv:2202.03772: logarithms of kT = min(pt) deltaR, of
z = min(pt) / (sum of pt), of deltaR (in rapidity and phi) and of the squared mass of the pair. Each is
computed from pt, mass and differences of rapidity and phi, never from differences of large energies:
the squared mass of two narrow massless particles, E^2 - p^2, would be rounding noise in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

FEATURES = 4

SMALLEST = 1e-8
"""Smallest kT, z, deltaR and squared mass, as in weaver-core; also smallest transverse mass."""

MASSLESS = 1e-6
"""Squared masses below this fraction of the squared energy count as 0: float32 rounds such."""


def pairs(momenta: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and second particle of each pair of P particles, (P (P + 1) / 2) indices each.

    The order is (0, 0), (1, 0), (1, 1), (2, 0), ...: each particle with those before it and itself.
    """
    particles = momenta.shape[1]
    place = torch.arange(particles * (particles + 1) // 2, device=momenta.device)
    # the row of a place in a triangle, exact for thousands of particles; exporters know no tril_indices
    first = (((8 * place + 1).double().sqrt() - 1) / 2).floor().long()
    return first, place - first * (first + 1) // 2


def as_matrix(values: Tensor, particles: int) -> Tensor:
    """Return (N, P, P, C) from values of pairs (N, P (P + 1) / 2, C)."""
    index = torch.arange(particles, device=values.device)
    high, low = torch.maximum(index[:, None], index), torch.minimum(index[:, None], index)
    place = high * (high + 1) // 2 + low
    found = values.index_select(1, place.flatten())
    return found.unflatten(1, (particles, particles))


def features(momenta: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return ln kT, ln z, ln deltaR and ln m^2 of pairs, (N, pairs, 4).

    Args:
        momenta: (N, particles, 4), px, py, pz and energy.
        first, second: (pairs,), indices of the particles of a pair.
    """
    columns = torch.stack(_transverse(momenta))
    pt, mt, mass2, rapidity, phi = columns.index_select(2, first)
    other_pt, other_mt, other_mass2, other_rapidity, other_phi = columns.index_select(2, second)
    along, around = rapidity - other_rapidity, _wrapped(phi - other_phi)
    apart = (along.square() + around.square()).sqrt()
    softer = torch.minimum(pt, other_pt)
    # cosh(a) - 1 = 2 sinh^2(a / 2) and 1 - cos(a) = 2 sin^2(a / 2)
    opening = (
        mt * other_mt * _sinh(along / 2).square() + pt * other_pt * (around / 2).sin().square()
    )
    mass2 = mass2 + other_mass2 + 2 * (mt * other_mt - pt * other_pt) + 4 * opening
    z = softer / (pt + other_pt).clamp_min(SMALLEST)
    values = torch.stack([softer * apart, z, apart, mass2], 2)
    return values.clamp_min(SMALLEST).log()


def _transverse(momenta: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return pt, transverse mass, squared mass, rapidity and phi of particles."""
    px, py, pz, energy = momenta.unbind(2)
    pt2 = px.square() + py.square()
    squared = energy.square() - pt2 - pz.square()
    mass2 = squared * (squared > MASSLESS * energy.square())
    mt = (pt2 + mass2).sqrt()
    rapidity = _asinh(pz / mt.clamp_min(SMALLEST))
    # the angle of a particle without pt has no meaning, and its derivative is not finite
    phi = torch.atan2(py, torch.where(pt2 > 0, px, torch.ones_like(px)))
    return pt2.sqrt(), mt, mass2, rapidity, phi


# ONNX has asinh and sinh, but torch's exporter does not know them


def _asinh(x: Tensor) -> Tensor:
    size = x.abs()
    return x.sign() * torch.log1p(size + size.square() / (1 + (1 + size.square()).sqrt()))


def _sinh(x: Tensor) -> Tensor:
    """Return sinh, by its series where the difference of two exponentials would be rounding noise."""
    square = x.square()
    series = x * (1 + square / 6 * (1 + square / 20 * (1 + square / 42)))
    return torch.where(square < 0.25, series, (x.exp() - (-x).exp()) / 2)


def _wrapped(phi: Tensor) -> Tensor:
    return torch.remainder(phi + torch.pi, 2 * torch.pi) - torch.pi
