"""Crystals as they are read out and stored: noise, dead towers, suppression, kept hits, times.

The original images hold the reduced hits of CMS's barrel, and in 200 of them each of its rules
shows. Towers of 5 x 5 crystals with much transverse energy are read out whole, as are their
neighbours; elsewhere a crystal must be far above noise. Amplitudes below 0 are no hits. Of the hits
those in clusters are kept, those above a threshold wherever they are, and those beside a dead tower,
whose own energy is known from the trigger and given to its crystals alike.

Sources: CMS, JINST 3 S08004 (2008), readout; cuts as configured in CMSSW (reducedRecHitsSequence,
hybridSuperClusters, particleFlowClusterECAL); CMS, JINST 5 T03011 (2010), times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hepbench import Array

TOWER = 5
NOISE, PEDESTAL = 0.050, -0.006
"""GeV in each crystal, measured: on isolated hits, and on how many crystals of a cluster have none."""
CALIBRATION = 0.02
"""By how much crystals differ, measured: how often not the middle one is hottest."""
DEAD_TOWERS = 0.007
"""Which share of towers is dead, measured."""
TRIGGER_STEP = 0.5
"""GeV of transverse energy, the unit of the trigger."""
FULL_READOUT, SUPPRESSED = 2.0, 0.20
"""GeV: transverse energy of a tower around which all is read out, energy of a crystal elsewhere."""

DOMINO, PEAK = 0.10, 0.35
"""GeV of five crystals along eta that are in a hybrid cluster, and of its hottest five."""
SEED, GATHERED = 0.23, 0.08
"""GeV of the hottest crystal of a particle-flow cluster, and of those that join it."""
KEPT = 0.095
"""GeV of a crystal that is kept wherever it is."""

TIME_NOISE, TIME_CONSTANT, TIME_RANGE = 35.1, 0.3, 125.0
"""Nanoseconds: the resolution where energy is as large as noise, and where it is much larger; five
samples, how far from its place a pulse is looked for, which is the range in the original."""


def measured(
    deposited: Array, corner: tuple[Array, Array], slant: Array, rng: np.random.Generator
) -> Array:
    """Return (N, S, S) GeV, 0 where nothing is stored.

    Args:
        deposited: (N, S, S) GeV, of clusters in the middle.
        corner: (N,) int64 each, which row and column of its tower the first crystal is.
        slant: (N,) energy over transverse energy.
        rng: for noise, calibration and dead towers.
    """
    n, side, _ = deposited.shape
    across = (side + 2 * TOWER - 2) // TOWER
    tower = _towers(corner, side, across)
    energy = deposited * (1 + CALIBRATION * rng.standard_normal(deposited.shape))
    sums = np.bincount(tower.ravel(), energy.ravel(), n * across**2).reshape(n, across, across)
    transverse = sums / slant[:, None, None]
    dead = rng.random(sums.shape) < DEAD_TOWERS
    whole = grown(transverse > FULL_READOUT).ravel()[tower]
    off = dead.ravel()[tower]
    energy += PEDESTAL + NOISE * rng.standard_normal(deposited.shape)
    energy[off | (energy <= np.where(whole, 0, SUPPRESSED))] = 0
    energy[~(clustered(energy) | (energy > KEPT) | grown(off))] = 0
    counted = np.floor(transverse / TRIGGER_STEP) * TRIGGER_STEP * slant[:, None, None]
    return energy + np.where(dead, counted / TOWER**2, 0).ravel()[tower]


def times(energy: Array, rng: np.random.Generator) -> Array:
    """Return nanoseconds from the expected time, 0 where there is no energy; any shape."""
    found = np.zeros(energy.shape)
    hit = energy > 0
    width = np.hypot(TIME_NOISE * NOISE / energy[hit], TIME_CONSTANT)
    found[hit] = np.clip(width * rng.standard_normal(width.shape), -TIME_RANGE, TIME_RANGE)
    return found


def clustered(energy: Array) -> Array:
    """Return (N, S, S) bool, True for crystals of clusters and those around their hottest.

    A hybrid cluster goes along phi: neighbouring columns of five crystals, in the five rows of the
    middle, of which one is hot enough. A particle-flow cluster grows from its hottest crystal, here
    by two steps. Of either the 5 x 5 crystals around the hottest belong to it.
    """
    n, side, _ = energy.shape
    rows = slice(side // 2 - 2, side // 2 + 3)
    # an empty column keeps the images apart
    columns = np.pad(energy[:, rows].sum(axis=1), ((0, 0), (0, 1))).ravel()
    run = np.cumsum(columns <= DOMINO)
    hot = np.bincount(run, columns > PEAK) > 0
    found = np.zeros(energy.shape, bool)
    found[:, rows] = (hot[run] & (columns > DOMINO)).reshape(n, 1, side + 1)[..., :side]
    seeds = (energy > SEED) & (energy >= largest(energy))
    cluster = seeds
    for _ in range(2):
        cluster = grown(cluster) & (energy > GATHERED)
    return found | cluster | grown(grown(seeds))


def grown(cells: Array) -> Array:
    """Return True also for the eight neighbours of what is True, (N, S, S) bool."""
    return largest(cells)


def largest(cells: Array) -> Array:
    """Return the largest of each cell and its eight neighbours, (N, S, S), none below 0."""
    wide = np.pad(cells, ((0, 0), (1, 1), (1, 1)))
    wide = np.maximum(np.maximum(wide[:, :-2], wide[:, 1:-1]), wide[:, 2:])
    return np.maximum(np.maximum(wide[..., :-2], wide[..., 1:-1]), wide[..., 2:])


def _towers(corner: tuple[Array, Array], side: int, across: int) -> Array:
    """Return (N, S, S) the number of each crystal's tower, ``across`` squared in each window."""
    row, column = ((np.arange(side) + first[:, None]) // TOWER for first in corner)
    window = np.arange(len(row))[:, None, None] * across
    return (window + row[:, :, None]) * across + column[:, None, :]
