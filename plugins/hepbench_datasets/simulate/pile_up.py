"""Simulate pile-up: other collisions of the same bunch crossing, overlaid on an event.

Non-diffractive collisions are measured once by the detector of ``detector.py`` and drawn many times
from a pool. Each draw is rotated by a random angle around the beam and mirrored in eta with
probability 1/2; both are symmetries of the detector. All collisions begin at its centre; earlier
and later bunch crossings leave nothing.

Diffractive collisions deposit little and are left out, because Pythia takes ten times as long to
prepare for them: 15 non-diffractive collisions have as many visible particles as 20 inelastic
collisions (191 and 143 particles per collision).

Source: Pythia 8.3, arXiv:2203.11601, soft collisions with its default tune.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from hepbench_datasets.simulate import detector
from hepbench_datasets.simulate.detector import Particles, Response

if TYPE_CHECKING:
    from hepbench import Array

Part = TypeVar("Part", Particles, Response)

NON_DIFFRACTIVE = ("SoftQCD:nonDiffractive = on",)
MIN_ENERGY = 0.05
"""Smallest energy in GeV of a pile-up particle without a track."""


@dataclass(frozen=True)
class Pool:
    """A pool of simulated pile-up collisions to draw from.

    Attributes:
        particles, response: of all collisions, in order; origins are not kept.
        starts: (E + 1,) int64, index of the first particle of each collision, then the number of
            particles.
    """

    particles: Particles
    response: Response
    starts: Array


def simulate(events: int, *, seeds: np.random.SeedSequence, energy: float, eta: float) -> Pool:
    """Simulate a pool of pile-up collisions.

    Args:
        events: number of collisions, at least 1.
        seeds: for collisions and detector.
        energy: of both protons together, in GeV.
        eta: particles with larger |eta| are dropped.
    """
    seed = int(seeds.generate_state(1)[0])
    pythia = detector.start_pythia(NON_DIFFRACTIVE, seed=seed, energy=energy)
    particles, status = detector.collisions(pythia, events)
    particles = particles.select(detector.visible(particles, status))
    response = detector.respond(particles, np.random.default_rng(seeds))
    visible = response.tracked | (response.reached & (response.ecal + response.hcal > MIN_ENERGY))
    visible &= np.minimum(np.abs(particles.eta), np.abs(response.eta)) < eta
    particles, response = particles.select(visible), response.select(visible)
    return Pool(particles, response, np.searchsorted(particles.event, np.arange(events + 1)))


def overlay(
    measured: tuple[Particles, Response],
    pool: Pool,
    events: Array,
    mean: float,
    rng: np.random.Generator,
) -> tuple[Particles, Response]:
    """Add pile-up collisions to the measured particles of each event.

    Args:
        measured: particles of many events, in order, and the detector's response to them.
        pool: the collisions to draw from.
        events: (E,) int64, the selected events, rising.
        mean: mean number of collisions in each event's pile-up; the number is drawn from a Poisson
            distribution.
        rng: for the number, choice and rotation of collisions.
    """
    counts = rng.poisson(mean, len(events))
    drawn = rng.integers(0, len(pool.starts) - 1, counts.sum())
    turn = rng.random(len(drawn)) * 2 * np.pi
    side = rng.integers(0, 2, len(drawn)) * 2 - 1
    sizes = pool.starts[drawn + 1] - pool.starts[drawn]
    index = np.arange(sizes.sum()) + np.repeat(pool.starts[drawn] - np.cumsum(sizes) + sizes, sizes)
    event = np.repeat(np.repeat(events, counts), sizes)
    particles, response = (
        _rotate(part.select(index), np.repeat(turn, sizes), np.repeat(side, sizes))
        for part in (pool.particles, pool.response)
    )
    particles = replace(particles, event=event)
    kept = np.isin(measured[0].event, events)
    order = np.argsort(np.concatenate([measured[0].event[kept], event]), kind="stable")
    return (
        _merge(measured[0].select(kept), particles, order),
        _merge(measured[1].select(kept), response, order),
    )


def _rotate(part: Part, turn: Array, side: Array) -> Part:
    return replace(part, eta=side * part.eta, phi=detector.wrap(part.phi + turn))


def _merge(first: Part, second: Part, order: Array) -> Part:
    """Merge two sets of measured particles in the given order."""
    columns = {
        name: np.concatenate([values, getattr(second, name)])[order]
        for name, values in vars(first).items()
        if values is not None
    }
    return type(first)(**columns)
