"""Energy flow: tracks, and towers for what the tracks in them do not explain, in flat numpy arrays.

The detector is Delphes's of ATLAS: field and size, efficiencies, resolutions and thresholds are those
of ``delphes_card_ATLAS.tcl``. Both layers of the calorimeter have towers of 0.1 by 10 degrees, as in
older versions of the card; newer ones have crystals of 0.0174 by a degree, with which 2,000 jets that
were simulated by Delphes do not agree. Where more is measured in a tower than the tracks in it explain,
above threshold and by two standard deviations, that is a photon or a neutral hadron anywhere in the
tower; where it is not, tracks and tower together measure the tracks. All are without mass. Energies
and momenta in GeV, angles in radian, lengths in metres.

Sources: Delphes 3, arXiv:1307.6346, its card of ATLAS and ``SimpleCalorimeter.cc``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hepbench_datasets.simulate.detector import (
    ELECTRON,
    MUON,
    PHOTON,
    Particles,
    helix,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from hepbench import Array

FIELD_TESLA, RADIUS, HALF_LENGTH = 2.0, 1.15, 3.51

TRACK_PT = 0.1
TRACK_ETA = (1.5, 2.5)
"""Where the barrel ends, and where the tracker does."""
EFFICIENCY = {
    ELECTRON: ((0.73, 0.50), (0.95, 0.83), (0.99, 0.90)),
    MUON: ((0.75, 0.70), (0.99, 0.98), (0.99, 0.98)),
    0: ((0.70, 0.60), (0.95, 0.85), (0.95, 0.85)),
}
"""In barrel and endcap, by pt: up to 1 GeV, up to 100 GeV, above. 0: charged hadrons."""
RESOLUTION_ETA = (0.5, 1.5)
RESOLUTION = {
    ELECTRON: ((0.03, 1.3e-3), (0.05, 1.7e-3), (0.15, 3.1e-3)),
    MUON: ((0.01, 1.0e-4), (0.015, 1.5e-4), (0.025, 3.5e-4)),
    0: ((0.06, 1.3e-3), (0.10, 1.7e-3), (0.25, 3.1e-3)),
}
"""Of pt, as a share: a constant and what is multiplied by pt, to be added in quadrature."""

K_SHORT, LAMBDA = 310, 3122
ECAL_OF_STRANGE = 0.3
"""Share of the energy that K0S and Lambda, where they are stable, leave in the first layer."""
ETA_EDGES = np.array([-3.3, -3.0, -2.8, *(np.arange(-26, 27) / 10), 2.8, 3.0, 3.3])
"""Of towers; what is beyond is not measured: no jet of |eta| < 2 and radius 0.8 goes there."""
COLUMNS = 36
"""Towers around."""


@dataclass(frozen=True)
class Layer:
    """One of the two layers of the calorimeter.

    Attributes:
        threshold: energy of a tower, and of what is left of it, at least.
        significance: the same in units of the resolution.
        resolution: (eta, energy) -> energy.
        pdg: code of what is left.
    """

    threshold: float
    significance: float
    resolution: Callable[[Array, Array], Array]
    pdg: int


@dataclass(frozen=True)
class Deposits:
    """What N particles leave in the calorimeter, and the tracks that belong to them.

    Attributes:
        event: (N,) int64.
        eta, phi: (N,) float64, where.
        energy: (N,) float64, 0 for what does not get there.
        track, spread: (N,) float64, energy of the track and its resolution; 0 without one.
    """

    event: Array
    eta: Array
    phi: Array
    energy: Array
    track: Array
    spread: Array


def _ecal_resolution(eta: Array, energy: Array) -> Array:
    return np.where(
        np.abs(eta) <= 3.2,
        np.hypot(0.0017 * energy, 0.101 * np.sqrt(energy)),
        np.hypot(0.0350 * energy, 0.285 * np.sqrt(energy)),
    )


def _hcal_resolution(eta: Array, energy: Array) -> Array:
    root = np.sqrt(energy)
    barrel = np.hypot(np.hypot(0.0302 * energy, 0.5205 * root), 1.59)
    return np.select(
        [np.abs(eta) <= 1.7, np.abs(eta) <= 3.2],
        [barrel, np.hypot(0.0500 * energy, 0.706 * root)],
        np.hypot(0.0942 * energy, 1.00 * root),
    )


ECAL = Layer(0.5, 2.0, _ecal_resolution, PHOTON)
HCAL = Layer(1.0, 2.0, _hcal_resolution, 0)


def flow(particles: Particles, rng: np.random.Generator) -> Particles:
    """Return tracks and what is left of towers, in the order of their events.

    Args:
        particles: stable ones, without neutrinos.
        rng: of efficiencies, resolutions and places in towers.

    Returns:
        Candidates of energy ``pt cosh(eta)``; ``pdg`` is that of a track, 22 for what is left in
        the first layer of a tower and 0 in the second.
    """
    tracked, track_pt, spread = _tracks(particles, rng)
    eta, phi, reached = helix(particles, field=FIELD_TESLA, radius=RADIUS, end=HALF_LENGTH)
    stretch = np.cosh(particles.eta)
    deposits = Deposits(
        event=particles.event,
        eta=eta,
        phi=phi,
        energy=np.where(reached, particles.energy, 0.0),
        track=np.where(reached, track_pt * stretch, 0.0),
        spread=np.where(reached, spread * stretch, 0.0),
    )
    factor = np.ones(len(eta))
    found = []
    for layer, share in zip((ECAL, HCAL), _shares(np.abs(particles.pdg)), strict=True):
        left, change = _measured(layer, deposits, share, rng)
        found.append(left)
        factor *= change
    tracks = particles.select(tracked)
    track_pt = (track_pt * factor)[tracked]
    found.append(
        _massless(tracks.event, tracks.pdg, tracks.charge, track_pt, tracks.eta, tracks.phi)
    )
    columns = {
        name: np.concatenate([vars(part)[name] for part in found])
        for name, values in vars(found[0]).items()
        if values is not None
    }
    whole = Particles(**columns)
    return whole.select(np.argsort(whole.event, kind="stable"))


def _tracks(particles: Particles, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Return which have a track, (N,) bool, its pt, and the resolution of that, or 0."""
    eta, pt = np.abs(particles.eta), particles.pt
    kind = np.abs(particles.pdg)
    endcap = (eta > TRACK_ETA[0]).astype(np.int64)
    by_pt = np.digitize(pt, (1.0, 100.0), right=True)
    by_eta = np.digitize(eta, RESOLUTION_ETA, right=True)
    tables = [np.array([each[k] for k in (ELECTRON, MUON, 0)]) for each in (EFFICIENCY, RESOLUTION)]
    row = np.select([kind == ELECTRON, kind == MUON], [0, 1], 2)
    efficiency = tables[0][row, by_pt, endcap]
    inside = (particles.charge != 0) & (pt > TRACK_PT) & (eta <= TRACK_ETA[1])
    found = inside & (rng.random(len(pt)) < efficiency)
    floor, slope = tables[1][row, by_eta].T
    # Delphes takes no resolution above one
    share = np.minimum(np.hypot(floor, slope * pt), 1.0)
    measured = np.where(found, _log_normal(pt, share * pt, rng), 0.0)
    return found, measured, share * measured


def _measured(
    layer: Layer, deposits: Deposits, share: Array, rng: np.random.Generator
) -> tuple[Particles, Array]:
    """Return what is left of the towers of a layer, and (N,) by how much tracks change there."""
    inside = np.abs(deposits.eta) < ETA_EDGES[-1]
    hits = np.flatnonzero(inside & (share > 0) & (deposits.energy > 0))
    key, tower = np.unique(_towers(deposits, hits), return_inverse=True)
    values = (share * deposits.energy, deposits.track, deposits.spread**2)
    energy, track, variance = (np.bincount(tower, each[hits], len(key)) for each in values)
    place, column = np.divmod(key, COLUMNS)
    event, row = np.divmod(place, len(ETA_EDGES))
    middle = (ETA_EDGES[row] + ETA_EDGES[row + 1]) / 2
    measured = _log_normal(energy, layer.resolution(middle, energy), rng)
    spread = layer.resolution(middle, measured)
    measured[measured < np.maximum(layer.threshold, layer.significance * spread)] = 0
    left = measured - track
    real = (left > layer.threshold) & (left > layer.significance * np.sqrt(variance + spread**2))
    # of towers with nothing else in them, both measurements of the tracks count by their weights
    weight = np.where(real | (track == 0), 0.0, variance / np.maximum(variance + spread**2, 1e-12))
    factor = np.ones(len(inside))
    factor[hits] = (1 + weight * (measured / np.where(track > 0, track, 1.0) - 1))[tower]
    chosen = (event[real], row[real], column[real], left[real])
    return _candidates(*chosen, pdg=layer.pdg, rng=rng), factor


def _towers(deposits: Deposits, hits: Array) -> Array:
    """Return a number for the tower of an event that each of some deposits is in."""
    row = np.digitize(deposits.eta[hits], ETA_EDGES) - 1
    column = ((deposits.phi[hits] + np.pi) / (2 * np.pi) * COLUMNS).astype(np.int64)
    return (deposits.event[hits] * len(ETA_EDGES) + row) * COLUMNS + column % COLUMNS


def _candidates(
    event: Array, row: Array, column: Array, energy: Array, *, pdg: int, rng: np.random.Generator
) -> Particles:
    """Return a particle anywhere in each of some towers."""
    across, around = rng.random((2, len(event)))
    eta = ETA_EDGES[row] + across * (ETA_EDGES[row + 1] - ETA_EDGES[row])
    phi = (column + around) / COLUMNS * 2 * np.pi - np.pi
    kind = np.full(len(event), pdg)
    return _massless(event, kind, 0.0 * eta, energy / np.cosh(eta), eta, phi)


def _shares(kind: Array) -> tuple[Array, Array]:
    """Return the shares of the energy that go to either layer."""
    light = np.isin(kind, (ELECTRON, PHOTON))
    strange = np.isin(kind, (K_SHORT, LAMBDA))
    muon = kind == MUON
    ecal = np.select([light, strange], [1.0, ECAL_OF_STRANGE], 0.0)
    return ecal, np.where(muon, 0.0, 1 - ecal)


def _massless(
    event: Array, pdg: Array, charge: Array, pt: Array, eta: Array, phi: Array
) -> Particles:
    return Particles(event, pdg, charge, pt, eta, phi, pt * np.cosh(eta))


def _log_normal(mean: Array, spread: Array, rng: np.random.Generator) -> Array:
    """Return values above 0 of this mean and standard deviation."""
    width = np.log1p((spread / mean) ** 2)
    return mean * np.exp(np.sqrt(width) * rng.standard_normal(len(mean)) - width / 2)
