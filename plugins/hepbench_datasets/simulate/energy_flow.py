"""Simulate energy flow: tracks, and calorimeter towers for energy that tracks do not explain.

The detector is that of Delphes's ATLAS card: field, size, efficiencies, resolutions and thresholds
are those of ``delphes_card_ATLAS.tcl``. Both layers of the calorimeter have towers of 0.1 by 10
degrees, as in older versions of the card; newer versions have crystals of 0.0174 by 1 degree, with
which 2,000 jets that were simulated by Delphes do not agree. If a tower measures more than its
tracks explain, above threshold and by two standard deviations, the excess becomes a photon or a
neutral hadron at a random place in the tower; otherwise tracks and tower together measure the
tracks. All particles are massless. Energies and momenta in GeV, angles in radian, lengths in
metres.

Sources: Delphes 3, arXiv:1307.6346, its ATLAS card and ``SimpleCalorimeter.cc``.
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
"""Largest |eta| of tracks in the barrel, and of all tracks."""
EFFICIENCY = {
    ELECTRON: ((0.73, 0.50), (0.95, 0.83), (0.99, 0.90)),
    MUON: ((0.75, 0.70), (0.99, 0.98), (0.99, 0.98)),
    0: ((0.70, 0.60), (0.95, 0.85), (0.95, 0.85)),
}
"""Track efficiency by PDG code (0: charged hadrons), pt range, and barrel or endcap."""
RESOLUTION_ETA = (0.5, 1.5)
RESOLUTION = {
    ELECTRON: ((0.03, 1.3e-3), (0.05, 1.7e-3), (0.15, 3.1e-3)),
    MUON: ((0.01, 1.0e-4), (0.015, 1.5e-4), (0.025, 3.5e-4)),
    0: ((0.06, 1.3e-3), (0.10, 1.7e-3), (0.25, 3.1e-3)),
}
"""Relative resolution of a track's pt: a constant and a factor of pt, added in quadrature."""

K_SHORT, LAMBDA = 310, 3122
ECAL_OF_STRANGE = 0.3
"""Fraction of the energy that K0S and Lambda leave in the first calorimeter layer."""
ETA_EDGES = np.array([-3.3, -3.0, -2.8, *(np.arange(-26, 27) / 10), 2.8, 3.0, 3.3])
"""Edges of calorimeter towers in eta; particles farther out are not measured.

No jet of |eta| < 2 and radius 0.8 reaches them.
"""
COLUMNS = 36
"""Number of towers around the beam."""


@dataclass(frozen=True)
class Layer:
    """One of the two calorimeter layers: thresholds and resolution.

    Attributes:
        threshold: smallest energy of a tower, and of its excess.
        significance: the same in units of the resolution.
        resolution: (eta, energy) -> energy.
        pdg: PDG code of an excess.
    """

    threshold: float
    significance: float
    resolution: Callable[[Array, Array], Array]
    pdg: int


@dataclass(frozen=True)
class Deposits:
    """The deposits of N particles in the calorimeter, and their tracks.

    Attributes:
        event: (N,) int64.
        eta, phi: (N,) float64, position.
        energy: (N,) float64, 0 for particles that do not reach the calorimeter.
        track, spread: (N,) float64, energy of the track and its resolution; 0 without a track.
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
    """Simulate energy flow; return tracks and towers with excess energy, by event.

    Args:
        particles: stable particles without neutrinos.
        rng: for efficiencies, resolutions and positions in towers.

    Returns:
        Candidates with energy ``pt cosh(eta)``; ``pdg`` is the track's code, 22 for an excess in
        the first layer and 0 in the second.
    """
    tracked, track_pt, spread = _tracks(particles, rng)
    deposits = _deposits(particles, track_pt, spread)
    factor = np.ones(len(track_pt))
    found = []
    for layer, fraction in zip((ECAL, HCAL), _layer_fractions(np.abs(particles.pdg)), strict=True):
        excess, layer_factor = _measure(layer, deposits, fraction, rng)
        found.append(excess)
        factor *= layer_factor
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


def _deposits(particles: Particles, track_pt: Array, spread: Array) -> Deposits:
    """Return positions and energies of particles at the calorimeter, and energies of tracks."""
    eta, phi, reached = helix(particles, field=FIELD_TESLA, radius=RADIUS, end=HALF_LENGTH)
    stretch = np.cosh(particles.eta)
    return Deposits(
        event=particles.event,
        eta=eta,
        phi=phi,
        energy=np.where(reached, particles.energy, 0.0),
        track=np.where(reached, track_pt * stretch, 0.0),
        spread=np.where(reached, spread * stretch, 0.0),
    )


def _tracks(particles: Particles, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Simulate tracks: return which particles have one, (N,) bool, its pt and its resolution."""
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
    # Delphes limits the relative resolution to 1
    fraction = np.minimum(np.hypot(floor, slope * pt), 1.0)
    measured = np.where(found, _log_normal(pt, fraction * pt, rng), 0.0)
    return found, measured, fraction * measured


def _measure(
    layer: Layer, deposits: Deposits, fraction: Array, rng: np.random.Generator
) -> tuple[Particles, Array]:
    """Simulate a calorimeter layer: its towers with excess energy, and (N,) factors for tracks."""
    inside = np.abs(deposits.eta) < ETA_EDGES[-1]
    hits = np.flatnonzero(inside & (fraction > 0) & (deposits.energy > 0))
    key, tower = np.unique(_towers(deposits, hits), return_inverse=True)
    values = (fraction * deposits.energy, deposits.track, deposits.spread**2)
    energy, track, variance = (np.bincount(tower, each[hits], len(key)) for each in values)
    place, column = np.divmod(key, COLUMNS)
    event, row = np.divmod(place, len(ETA_EDGES))
    middle = (ETA_EDGES[row] + ETA_EDGES[row + 1]) / 2
    measured = _log_normal(energy, layer.resolution(middle, energy), rng)
    spread = layer.resolution(middle, measured)
    measured[measured < np.maximum(layer.threshold, layer.significance * spread)] = 0
    excess = measured - track
    real = (excess > layer.threshold) & (
        excess > layer.significance * np.sqrt(variance + spread**2)
    )
    # in towers without excess, the two measurements of the tracks are averaged by their weights
    weight = np.where(real | (track == 0), 0.0, variance / np.maximum(variance + spread**2, 1e-12))
    factor = np.ones(len(inside))
    factor[hits] = (1 + weight * (measured / np.where(track > 0, track, 1.0) - 1))[tower]
    chosen = (event[real], row[real], column[real], excess[real])
    return _candidates(*chosen, pdg=layer.pdg, rng=rng), factor


def _towers(deposits: Deposits, hits: Array) -> Array:
    """Return the index of the calorimeter tower that each selected deposit falls into."""
    row = np.digitize(deposits.eta[hits], ETA_EDGES) - 1
    column = ((deposits.phi[hits] + np.pi) / (2 * np.pi) * COLUMNS).astype(np.int64)
    return (deposits.event[hits] * len(ETA_EDGES) + row) * COLUMNS + column % COLUMNS


def _candidates(
    event: Array, row: Array, column: Array, energy: Array, *, pdg: int, rng: np.random.Generator
) -> Particles:
    """Create one particle at a random position in each calorimeter tower."""
    across, around = rng.random((2, len(event)))
    eta = ETA_EDGES[row] + across * (ETA_EDGES[row + 1] - ETA_EDGES[row])
    phi = (column + around) / COLUMNS * 2 * np.pi - np.pi
    kind = np.full(len(event), pdg)
    return _massless(event, kind, 0.0 * eta, energy / np.cosh(eta), eta, phi)


def _layer_fractions(kind: Array) -> tuple[Array, Array]:
    """Return the fractions of a particle's energy that the two calorimeter layers get."""
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
    """Draw values with this mean and standard deviation from a log-normal distribution."""
    width = np.log1p((spread / mean) ** 2)
    return mean * np.exp(np.sqrt(width) * rng.standard_normal(len(mean)) - width / 2)
