"""Simulate the readout of crystals: noise, dead towers, zero suppression, hits, times.

The original images hold the reduced hits of the CMS barrel; each rule below is visible in 200 of
them. Towers of 5 x 5 crystals with much transverse energy are read out completely, and so are their
neighbours; elsewhere a crystal must be far above noise. Negative amplitudes are not hits. The kept
hits are those in clusters, those above a threshold anywhere, and those next to a dead tower. The
energy of a dead tower is known from the trigger and divided equally among its crystals.

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
"""Noise and pedestal of a crystal in GeV.

Measured on isolated hits, and on the number of crystals without energy in clusters.
"""
CALIBRATION = 0.02
"""Relative spread of the crystals' calibration.

Measured by how often a crystal beside the middle is the hottest.
"""
DEAD_TOWERS = 0.007
"""Fraction of dead towers; measured."""
TRIGGER_STEP = 0.5
"""Smallest step of transverse energy in the trigger, in GeV."""
FULL_READOUT, SUPPRESSED = 2.0, 0.20
"""In GeV: transverse energy above which a tower and its neighbours are read out completely; energy
above which a crystal is read out elsewhere."""

DOMINO, PEAK = 0.10, 0.35
"""In GeV: smallest energy of five crystals in a hybrid cluster, and of its hottest five."""
SEED, JOINING = 0.23, 0.08
"""In GeV: smallest energy of the hottest crystal in a particle-flow cluster, and of others."""
KEPT = 0.095
"""In GeV: a crystal above this energy is kept, also outside clusters."""

TIME_NOISE, TIME_CONSTANT, TIME_RANGE = 35.1, 0.3, 125.0
"""In ns: time resolution at the noise energy; time resolution at large energies; largest time.

The largest time is that of the original, for five samples around the expected time.
"""


def read_out(
    deposited: Array, corner: tuple[Array, Array], slant: Array, rng: np.random.Generator
) -> Array:
    """Simulate the readout; return the stored energy of each crystal, (N, S, S) GeV.

    Args:
        deposited: (N, S, S) GeV, with clusters in the middle.
        corner: two (N,) int64: row and column, within its tower, of the first crystal.
        slant: (N,) energy divided by transverse energy.
        rng: for noise, calibration and dead towers.
    """
    n, side, _ = deposited.shape
    across = (side + 2 * TOWER - 2) // TOWER
    tower = _towers(corner, side, across)
    energy = deposited * (1 + CALIBRATION * rng.standard_normal(deposited.shape))
    sums = np.bincount(tower.ravel(), energy.ravel(), n * across**2).reshape(n, across, across)
    transverse = sums / slant[:, None, None]
    dead = rng.random(sums.shape) < DEAD_TOWERS
    full_readout = dilate(transverse > FULL_READOUT).ravel()[tower]
    in_dead_tower = dead.ravel()[tower]
    energy += PEDESTAL + NOISE * rng.standard_normal(deposited.shape)
    energy[in_dead_tower | (energy <= np.where(full_readout, 0, SUPPRESSED))] = 0
    energy[~(in_clusters(energy) | (energy > KEPT) | dilate(in_dead_tower))] = 0
    trigger_energy = np.floor(transverse / TRIGGER_STEP) * TRIGGER_STEP * slant[:, None, None]
    return energy + np.where(dead, trigger_energy / TOWER**2, 0).ravel()[tower]


def times(energy: Array, rng: np.random.Generator) -> Array:
    """Return the measured time of each crystal in ns, 0 where there is no energy."""
    found = np.zeros(energy.shape)
    hit = energy > 0
    width = np.hypot(TIME_NOISE * NOISE / energy[hit], TIME_CONSTANT)
    found[hit] = np.clip(width * rng.standard_normal(width.shape), -TIME_RANGE, TIME_RANGE)
    return found


def in_clusters(energy: Array) -> Array:
    """Find the crystals in clusters and around their hottest crystals, (N, S, S) bool.

    A hybrid cluster runs along phi: neighbouring columns of five crystals in the five middle rows,
    one of which is hot enough. A particle-flow cluster grows from its hottest crystal, here by two
    steps. The 5 x 5 crystals around the hottest crystal of either kind belong to the cluster.
    """
    n, side, _ = energy.shape
    rows = slice(side // 2 - 2, side // 2 + 3)
    # an empty column keeps the images apart
    columns = np.pad(energy[:, rows].sum(axis=1), ((0, 0), (0, 1))).ravel()
    run = np.cumsum(columns <= DOMINO)
    hot = np.bincount(run, columns > PEAK) > 0
    found = np.zeros(energy.shape, bool)
    found[:, rows] = (hot[run] & (columns > DOMINO)).reshape(n, 1, side + 1)[..., :side]
    seeds = (energy > SEED) & (energy >= neighbourhood_max(energy))
    cluster = seeds
    for _ in range(2):
        cluster = dilate(cluster) & (energy > JOINING)
    return found | cluster | dilate(dilate(seeds))


def dilate(cells: Array) -> Array:
    """Return (N, S, S) bool, True for each True crystal and its eight neighbours."""
    return neighbourhood_max(cells)


def neighbourhood_max(cells: Array) -> Array:
    """Return the maximum of each crystal and its eight neighbours, (N, S, S)."""
    wide = np.pad(cells, ((0, 0), (1, 1), (1, 1)))
    wide = np.maximum(np.maximum(wide[:, :-2], wide[:, 1:-1]), wide[:, 2:])
    return np.maximum(np.maximum(wide[..., :-2], wide[..., 1:-1]), wide[..., 2:])


def _towers(corner: tuple[Array, Array], side: int, across: int) -> Array:
    """Return the index of the tower that each crystal belongs to, (N, S, S)."""
    row, column = ((np.arange(side) + first[:, None]) // TOWER for first in corner)
    window = np.arange(len(row))[:, None, None] * across
    return (window + row[:, :, None]) * across + column[:, None, :]
