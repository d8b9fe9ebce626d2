"""Pile-up: the other collisions of a bunch crossing, laid over the one that is looked at.

Non-diffractive collisions are measured once by the detector of ``detector.py`` and drawn many times
from a pool: each time turned by any angle around the beam and mirrored in eta or not, under which
the detector is the same. All begin at its centre; crossings before and after leave nothing.

Diffractive collisions leave little, and are left out, as Pythia takes ten times as long to prepare
for them: 15 non-diffractive collisions have as many visible particles as 20 inelastic ones (191 and
143 each).

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
LEAST = 0.05
"""GeV; particles that leave less, and no track, are dropped."""


@dataclass(frozen=True)
class Pool:
    """Collisions to draw from.

    Attributes:
        particles, response: of all, in the order of their collisions; origins are not kept.
        starts: (E + 1,) int64, where the particles of each begin, and the end.
    """

    particles: Particles
    response: Response
    starts: Array


def simulate(events: int, *, seeds: np.random.SeedSequence, energy: float, eta: float) -> Pool:
    """Return a pool of so many collisions.

    Args:
        events: at least 1.
        seeds: of collisions and detector.
        energy: of both protons together, GeV.
        eta: what is farther from the middle of the detector than that is dropped.
    """
    seed = int(seeds.generate_state(1)[0])
    pythia = detector.start_pythia(NON_DIFFRACTIVE, seed=seed, energy=energy)
    particles, status = detector.collisions(pythia, events)
    particles = particles.select(detector.visible(particles, status))
    response = detector.respond(particles, np.random.default_rng(seeds))
    left = response.tracked | (response.reached & (response.ecal + response.hcal > LEAST))
    left &= np.minimum(np.abs(particles.eta), np.abs(response.eta)) < eta
    particles, response = particles.select(left), response.select(left)
    return Pool(particles, response, np.searchsorted(particles.event, np.arange(events + 1)))


def overlay(
    measured: tuple[Particles, Response],
    pool: Pool,
    events: Array,
    mean: float,
    rng: np.random.Generator,
) -> tuple[Particles, Response]:
    """Return what was measured in some events, and with it the pile-up of each of them.

    Args:
        measured: particles of many events, in their order, and what the detector measures of them.
        pool: where pile-up is drawn from.
        events: (E,) int64, the events that are kept, each once and rising.
        mean: collisions in each event's pile-up, on average; their number is Poisson's.
        rng: of how many, which and how they are turned.
    """
    counts = rng.poisson(mean, len(events))
    drawn = rng.integers(0, len(pool.starts) - 1, counts.sum())
    turn = rng.random(len(drawn)) * 2 * np.pi
    side = rng.integers(0, 2, len(drawn)) * 2 - 1
    sizes = pool.starts[drawn + 1] - pool.starts[drawn]
    index = np.arange(sizes.sum()) + np.repeat(pool.starts[drawn] - np.cumsum(sizes) + sizes, sizes)
    event = np.repeat(np.repeat(events, counts), sizes)
    particles, response = (
        _turned(part.select(index), np.repeat(turn, sizes), np.repeat(side, sizes))
        for part in (pool.particles, pool.response)
    )
    particles = replace(particles, event=event)
    kept = np.isin(measured[0].event, events)
    order = np.argsort(np.concatenate([measured[0].event[kept], event]), kind="stable")
    return (
        _merged(measured[0].select(kept), particles, order),
        _merged(measured[1].select(kept), response, order),
    )


def _turned(part: Part, turn: Array, side: Array) -> Part:
    return replace(part, eta=side * part.eta, phi=detector.wrap(part.phi + turn))


def _merged(first: Part, second: Part, order: Array) -> Part:
    """Return both one behind the other, and then in an order."""
    columns = {
        name: np.concatenate([values, getattr(second, name)])[order]
        for name, values in vars(first).items()
        if values is not None
    }
    return type(first)(**columns)
