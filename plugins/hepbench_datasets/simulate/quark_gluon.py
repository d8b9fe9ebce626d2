"""Simulate quark and gluon jets: light quarks (1) against gluons (0).

The jets are of the same kind as those of Andrews et al., arXiv:1902.08276, who used the simulation
of CMS, but they are not the same data. Protons at 8 TeV make two hard gluons or two hard light
quarks (u, d, s); events with a quark and a gluon belong to neither class, as the name QCDToGGQQ of
the original says. Jets are anti-kt with radius 0.5, |eta| < 1.39, and a parton of the class within
0.4.

- pt: 80 to 200 GeV, flat in four bins in both classes, so that pt does not separate them. The
  original has 70 to 337 GeV.
- Pile-up: each event gets as much as 20 inelastic collisions on average, as in 2012 (see
  ``pile_up.py``). It is in the images; ``pt`` and ``m0`` are measured without it, as if it were
  subtracted completely. Those of the original may contain a remainder.
- Correlations: both jets of an event may be used, while the original has one; they share their
  pile-up. A collision of the pool is in the pile-up of about 20 events of its chunk, rotated
  differently each time.
- Units: GeV in all channels, with the energy of an HCAL tower spread evenly over its 25 pixels, as
  the authors' converter writes them (``convert_root2pq_jet.py`` of their MLAnalyzer): it divides by
  1, hence the RH1 in the file names. A user printed one jet with -0.2 to 13 in ECAL and up to 0.13
  in HCAL, which agrees, and the authors' factor of 25 on HCAL then makes towers comparable with
  crystals and tracks. Largest values of 9 and 0.43, published without a number of jets, then cannot
  be those of the file.
- Window: it extends 12 HCAL towers from its centre, so the authors leave out jets whose hottest
  tower is beyond the 16 towers of the barrel (``RHAnalyzer_runEvtSel_jet.cc``); here the jet axis
  must be in the barrel. Rows of pixels are fifths of towers, which widen in the endcaps.
- Calorimeters: hadrons leave the energies before any calibration (``detector.uncalibrated``), and
  towers have the thresholds of CMS, scheme B.
- Hits: a gluon jet has hits in 795 pixels on average, a quark jet in 684; the original has 794 and
  693. Tracks: 64 and 56; ECAL: 275 and 251; HCAL: 22 and 18 towers. Without pile-up: 22 and 15, 139
  and 113, 15 and 11. No constant is fitted to these numbers, but such close agreement is a
  coincidence: beyond |eta| of 1.74 real towers share their energy between two columns, which is
  left out and would change the number of hits by a tenth.

The detector is that of ``detector.py``, the images are three channels of ``jet_images.py``. Each
chunk of ``CHUNK`` jets has its own seed, so a file depends only on the seed; the jets of a smaller
file are the first ones of a larger file. The first and second jet are one quark and one gluon jet,
and so on for each pair.
"""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench import SparseImages
from hepbench_datasets import QUARK_GLUON
from hepbench_datasets.simulate import arguments, detector, jet_images, marked, pile_up, processes
from hepbench_datasets.simulate.jets import Jets, concatenate, fill_bins

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from hepbench import Array

FILE = "quark-gluon_data-set_n139306.hdf5"

CHUNK = 1000
"""Number of jets in a chunk, half of them quark jets, equally many in each bin of pt.

Another number would give another dataset.
"""
BATCH_EVENTS = 50
STORED = 4
"""Number of jets in a chunk of the file: three quarters of a megabyte."""
GLUON, QUARK = 0, 1

ENERGY = 8000.0
# events are drawn from a nearly flat spectrum, because otherwise most of them would be rejected
HARD = (
    *("PhaseSpace:pTHatMin = 70.", "PhaseSpace:pTHatMax = 270."),
    *("PhaseSpace:bias2Selection = on", "PhaseSpace:bias2SelectionRef = 100."),
)
COLLISIONS = {
    GLUON: (
        *("HardQCD:gg2gg = on", "HardQCD:qqbar2gg = on"),
        "PhaseSpace:bias2SelectionPow = 5.5",
    ),
    QUARK: (
        *("HardQCD:qq2qq = on", "HardQCD:gg2qqbar = on", "HardQCD:qqbar2qqbarNew = on"),
        *("HardQCD:nQuarkNew = 3", "PhaseSpace:bias2SelectionPow = 4.5"),
    ),
}
PARTONS = {GLUON: (21,), QUARK: (1, 2, 3)}
"""PDG codes of the partons of each class of jets."""
HARD_STATUS = 23
"""Pythia's status code of particles from the hard collision."""

JET_RADIUS, JET_ETA = 0.5, 1.39
PT_BINS = (80.0, 110.0, 140.0, 170.0, 200.0)
MATCH_RADIUS = 0.4

TOWERS = jet_images.Towers(spot=0.1, barrel=0.9, endcap=1.4)
"""Settings of the HCAL towers, with thresholds of CMS's scheme B (``CaloTowerSchemeB_cfi.py``).

Spots are small enough not to be visible in the spectrum.
"""

TOWER_EDGES = (
    *(jet_images.TOWER * np.arange(20)),
    *(1.74, 1.83, 1.93, 2.043, 2.172, 2.322, 2.5, 2.65, 3.0),
)
"""Edges of the HCAL towers in |eta|."""

PILE_UP = 15.0
"""Mean number of pile-up collisions in each event.

They have as many particles as 20 inelastic collisions, see ``pile_up.py``.
"""
POOL = 500
"""Number of simulated pile-up collisions in the pool of each chunk."""
POOL_ETA = JET_ETA + jet_images.REACH


def generate(
    folder: Path, *, events: int, seed: int, jobs: int, progress: Callable[[int], None]
) -> Path:
    """Simulate quark and gluon jets, and write them into a file in the layout of the original.

    ``X_jets`` is (N, 125, 125, 3) float32 with the channels track pt, ECAL and HCAL last, chunked
    and LZF; ``m0``, ``pt`` and ``y`` are (N,) float32.

    Args:
        folder: created if missing; the file appears there only when it is complete.
        events: number of jets.
        seed: equal seeds give equal bytes, for any ``jobs``.
        jobs: number of processes.
        progress: called with the number of jets so far.

    Returns:
        The path of the file.

    Raises:
        DataError: a generator is not installed, a file of that name exists, ``events`` is below 2
            or ``jobs`` below 1, or a process ended too early.
    """
    _require(events, seed=seed, jobs=jobs)
    path = Path(folder) / FILE
    arguments.require_free_folder(QUARK_GLUON, path.parent)
    # closing stops the processes here on Ctrl-C, not when the generator is garbage-collected
    with closing(_chunks(events, seed=seed, jobs=jobs)) as chunks:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{FILE}.{os.getpid()}.part")
        try:
            _write(part, chunks, events, progress)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return path


def _write(
    path: Path,
    chunks: Generator[Jets, None, None],
    events: int,
    progress: Callable[[int], None],
) -> None:
    done = 0
    with marked.hdf5(path) as file:
        side = jet_images.SIDE
        stored = (min(events, STORED), side, side, 3)
        file.create_dataset(
            "X_jets", (events, *stored[1:]), "<f4", chunks=stored, compression="lzf"
        )
        for name in ("m0", "pt", "y"):
            file.create_dataset(name, (events,), "<f4", chunks=True, compression="lzf")
        for jets in chunks:
            rows = slice(done, done + len(jets))
            file["X_jets"][rows] = jets.images.dense().transpose(0, 2, 3, 1)
            for name, column in {"m0": jets.mass, "pt": jets.pt, "y": jets.labels}.items():
                file[name][rows] = column
            done = rows.stop
            progress(done)


def simulate(events: int, *, seed: int, jobs: int) -> Jets:
    """Return the simulated jets that ``generate`` writes.

    Raises:
        DataError: as ``generate``.
    """
    _require(events, seed=seed, jobs=jobs)
    return concatenate(list(_chunks(events, seed=seed, jobs=jobs)))


def _require(events: int, *, seed: int, jobs: int) -> None:
    detector.require_generators()
    arguments.require_valid(QUARK_GLUON, events=events, seed=seed, jobs=jobs)


def _chunks(events: int, *, seed: int, jobs: int) -> Generator[Jets, None, None]:
    """Yield the chunks of simulated jets in order."""
    pieces = [(seed, index) for index in range(-(-events // CHUNK))]
    done = processes.in_order(chunk, pieces, jobs=jobs)
    with closing(done):
        for (_, index), jets in zip(pieces, done, strict=True):
            yield jets[: events - index * CHUNK]


def chunk(piece: tuple[int, int]) -> Jets:
    """Simulate the jets of one chunk, given by seed and index."""
    gluons, quarks, others, last = np.random.SeedSequence(piece).spawn(4)
    pool = pile_up.simulate(POOL, seeds=others, energy=ENERGY, eta=POOL_ETA)
    jets = concatenate(
        [simulate_class(label, seeds, pool) for label, seeds in enumerate((gluons, quarks))]
    )
    return jets[_in_pairs(len(jets), np.random.default_rng(last))]


def _in_pairs(jets: int, rng: np.random.Generator) -> Array:
    """Return a random order of jets in which each pair has one jet of each class.

    The jets of the first class are the first half.
    """
    half = jets // 2
    pairs = np.stack([rng.permutation(half), half + rng.permutation(half)], axis=1)
    return rng.permuted(pairs, axis=1).ravel()


def simulate_class(label: int, seeds: np.random.SeedSequence, pool: pile_up.Pool) -> Jets:
    """Simulate the jets of one class for a chunk, equally many in each bin of pt."""
    rng = np.random.default_rng(seeds)
    pythia = detector.start_pythia(
        (*HARD, *COLLISIONS[label]), seed=int(seeds.generate_state(1)[0]), energy=ENERGY
    )
    free = np.full(len(PT_BINS) - 1, CHUNK // 2 // (len(PT_BINS) - 1))
    found = []
    while free.any():
        found.append(_select(pythia, label, free, pool=pool, rng=rng))
    return concatenate(found)


def _select(
    pythia: Any, label: int, free: Array, *, pool: pile_up.Pool, rng: np.random.Generator
) -> Jets:
    """Simulate some events; return the jets for bins of pt with free places."""
    particles, status = detector.collisions(pythia, BATCH_EVENTS)
    seen = particles.select(detector.visible(particles, status))
    response = detector.respond(seen, rng)
    measured, _ = detector.combine(seen, response)
    jets = detector.cluster(measured, events=BATCH_EVENTS, radius=JET_RADIUS, pt=PT_BINS[0])
    partons = np.isin(np.abs(particles.pdg), PARTONS[label]) & (np.abs(status) == HARD_STATUS)
    wanted = detector.near(jets, particles.select(partons), radius=MATCH_RADIUS)
    wanted &= (jets.pt < PT_BINS[-1]) & (np.abs(jets.eta) < JET_ETA)
    event, which = np.nonzero(wanted)
    pt, eta, phi, mass = (values[event, which] for values in vars(jets).values())
    chosen = fill_bins(pt, PT_BINS, free)
    event, eta, phi = event[chosen], eta[chosen], phi[chosen]
    seen, response = pile_up.overlay((seen, response), pool, np.unique(event), PILE_UP, rng)
    response = detector.uncalibrated(seen, response)
    seen, response = (replace(part, eta=in_towers(part.eta)) for part in (seen, response))
    images = jet_images.draw_energies(seen, response, (event, in_towers(eta), phi), rng, TOWERS)
    return Jets(
        images=SparseImages.from_dense(images),
        labels=np.full(len(images), label),
        mass=mass[chosen].astype(np.float32),
        pt=pt[chosen].astype(np.float32),
    )


def in_towers(eta: Array) -> Array:
    """Convert eta to a scale on which all HCAL towers are as wide as in the barrel.

    Rows of images follow this scale; particles beyond the last tower are moved outside of any
    image.
    """
    places = jet_images.TOWER * np.arange(len(TOWER_EDGES))
    return np.copysign(np.interp(np.abs(eta), TOWER_EDGES, places, right=2 * places[-1]), eta)
