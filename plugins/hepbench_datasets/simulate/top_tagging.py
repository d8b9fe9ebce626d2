"""Simulate top tagging: top quarks (signal) against light quarks and gluons (background).

Kasieczka et al., SciPost Phys. 7, 014 (2019), arXiv:1902.09914, section 2: protons at 14 TeV by
Pythia without pile-up; energy flow of Delphes's ATLAS detector, here that of ``energy_flow.py``;
the leading anti-kt jet of radius 0.8 of each event, if it has a pt of 550 to 650 GeV and |eta| < 2.
A signal jet has a top quark and the three quarks of its decay within 0.8. The 200 constituents of
largest pt are kept.

Choices that are not published were made with 2,000 of the original jets: the minimum momentum of
the hard process from the spectra of pt, the towers from the number of particles. Multiple parton
interactions are on, although the paper says that it ignores them: without them there are half as
many soft particles 0.6 to 0.8 from the axis as in those jets, with them there are as many.

The jets are split 3 : 1 : 1 into files, as in the original, with its layout, which is that of
pandas and PyTables; the files are written by h5py alone.

Each chunk of ``CHUNK`` jets has its own seed, so a file depends only on the seed; the jets of
smaller files are the first ones of larger files.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench_datasets import TOP_TAGGING, pandas_table
from hepbench_datasets.simulate import arguments, detector, energy_flow, marked, processes
from hepbench_datasets.simulate.detector import BOTTOM, Particles

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from hepbench import Array

SIZES = {"train.h5": 3, "val.h5": 1, "test.h5": 1}
"""Relative sizes of the simulated files, in an order that the random seeds depend on."""

CHUNK = 200
"""Number of jets in a chunk, half of them signal; another number would give another dataset."""
BATCH_EVENTS = 60
PARTICLES = 200

ENERGY = 14_000.0
HARD = (
    "PhaseSpace:pTHatMin = 500.",
    # Pythia's default: K0S and Lambda decay
    "ParticleDecays:limitTau0 = off",
)
BACKGROUND = ("HardQCD:all = on",)
SIGNAL = (
    *("Top:gg2ttbar = on", "Top:qqbar2ttbar = on"),
    *("24:onMode = off", "24:onIfAny = 1 2 3 4 5"),
)

JET_RADIUS, JET_ETA = 0.8, 2.0
JET_PT = (550.0, 650.0)
MATCH_RADIUS = 0.8
TOP, TOP_DECAYS, DECAY_QUARK = 6, 62, 23
"""PDG code of the top quark; Pythia's status codes of a particle that decays next, and of a quark
from the decay."""
QUARKS = 3

BLOCKS = {
    "<f4": [
        *(f"{component}_{i}" for i in range(PARTICLES) for component in ("E", "PX", "PY", "PZ")),
        *("truthE", "truthPX", "truthPY", "truthPZ"),
    ],
    "<i8": ["ttv", "is_signal_new"],
}
"""The columns of a file by dtype."""


@dataclass(frozen=True)
class Jets:
    """N simulated jets with their particles.

    Attributes:
        momenta: (N, 200, 4) float32, px, py, pz and energy in GeV, sorted by pt and padded by
            zeros.
        truth: (N, 4) float32, momentum of the top quark; zeros for background.
        labels: (N,) int64, 1 for top quarks.
    """

    momenta: Array
    truth: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Any) -> Jets:
        return Jets(*(column[rows] for column in vars(self).values()))


def generate(
    folder: Path, *, events: int, seed: int, jobs: int, progress: Callable[[int], None]
) -> Path:
    """Simulate jets; write ``train.h5``, ``val.h5`` and ``test.h5`` in the ratio 3 : 1 : 1.

    Columns have the names and dtypes of the originals. ``ttv`` is the index of the file, from 0;
    its meaning in the originals is unknown, and it is not read.

    Args:
        folder: created if missing; the files appear there only when they are complete.
        events: number of jets.
        seed: equal seeds give equal bytes, for any ``jobs``.
        jobs: number of processes.
        progress: called with the number of jets so far.

    Returns:
        The path of ``train.h5``.

    Raises:
        DataError: a generator or h5py is not installed, a file exists, ``events`` is below 5 or
            ``jobs`` below 1, or a process ended too early.
    """
    wanted = _wanted(events, seed=seed, jobs=jobs)
    folder = Path(folder)
    arguments.require_free_folder(TOP_TAGGING, folder)
    # closing stops the processes here on Ctrl-C, not when the generator is garbage-collected
    with closing(_chunks(wanted, seed=seed, jobs=jobs)) as chunks, ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        parts = {name: folder / f"{name}.{os.getpid()}.part" for name in SIZES}
        for part in parts.values():
            stack.callback(part.unlink, missing_ok=True)
        _write(parts, chunks, wanted, progress)
        for name, part in parts.items():
            part.replace(folder / name)
    return folder / "train.h5"


def _write(
    paths: Mapping[str, Path],
    chunks: Generator[tuple[str, Jets], None, None],
    wanted: Mapping[str, int],
    progress: Callable[[int], None],
) -> None:
    done = dict.fromkeys(SIZES, 0)
    with ExitStack() as stack:
        tables = {}
        for name in SIZES:
            file = stack.enter_context(marked.hdf5(paths[name]))
            tables[name] = pandas_table.create(file, "table", BLOCKS, wanted[name])
        for name, jets in chunks:
            rows = np.zeros(len(jets), tables[name].dtype)
            rows["index"] = done[name] + np.arange(len(jets))
            # momenta are (px, py, pz, energy); the file has the energy first
            momenta = np.roll(jets.momenta, 1, axis=2).reshape(len(jets), 4 * PARTICLES)
            rows["values_block_0"] = np.hstack([momenta, np.roll(jets.truth, 1, axis=1)])
            rows["values_block_1"] = np.stack(
                [np.full(len(jets), list(SIZES).index(name)), jets.labels], axis=1
            )
            tables[name][done[name] : done[name] + len(jets)] = rows
            done[name] += len(jets)
            progress(sum(done.values()))


def simulate(events: int, *, seed: int, jobs: int) -> dict[str, Jets]:
    """Return the simulated jets that ``generate`` writes, by file.

    Raises:
        DataError: as ``generate``.
    """
    wanted = _wanted(events, seed=seed, jobs=jobs)
    found: dict[str, list[Jets]] = {name: [] for name in SIZES}
    for name, jets in _chunks(wanted, seed=seed, jobs=jobs):
        found[name].append(jets)
    return {name: concatenate(chunks) for name, chunks in found.items()}


def concatenate(parts: list[Jets]) -> Jets:
    """Concatenate several sets of simulated jets."""
    columns = zip(*(vars(jets).values() for jets in parts), strict=True)
    return Jets(*(np.concatenate(column) for column in columns))


def _wanted(events: int, *, seed: int, jobs: int) -> dict[str, int]:
    """Return the number of jets to simulate for each file."""
    detector.require_generators()
    least = sum(SIZES.values())
    arguments.require_valid(TOP_TAGGING, events=events, seed=seed, jobs=jobs, least=least)
    wanted = {name: events * share // least for name, share in SIZES.items()}
    return wanted | {"train.h5": events - wanted["val.h5"] - wanted["test.h5"]}


def _chunks(
    wanted: Mapping[str, int], *, seed: int, jobs: int
) -> Generator[tuple[str, Jets], None, None]:
    """Yield the chunks of simulated jets in order, file by file."""
    pieces = [
        (seed, name, index)
        for name, events in wanted.items()
        for index in range(-(-events // CHUNK))
    ]
    done = processes.in_order(chunk, pieces, jobs=jobs)
    with closing(done):
        for (_, name, index), jets in zip(pieces, done, strict=True):
            yield name, jets[: wanted[name] - index * CHUNK]


def chunk(piece: tuple[int, str, int]) -> Jets:
    """Simulate the jets of one chunk, given by seed, file and index, in random order."""
    seed, name, index = piece
    seeds = np.random.SeedSequence([seed, list(SIZES).index(name), index])
    *classes, last = seeds.spawn(3)
    jets = concatenate(
        [simulate_class(label, CHUNK // 2, each) for label, each in enumerate(classes)]
    )
    return jets[np.random.default_rng(last).permutation(CHUNK)]


def simulate_class(label: int, jets: int, seeds: np.random.SeedSequence) -> Jets:
    """Simulate the jets of one class for a chunk."""
    rng = np.random.default_rng(seeds)
    pythia = detector.start_pythia(
        (*HARD, *(SIGNAL if label else BACKGROUND)),
        seed=int(seeds.generate_state(1)[0]),
        energy=ENERGY,
    )
    found: list[Jets] = []
    while sum(map(len, found)) < jets:
        particles, status = detector.collisions(pythia, BATCH_EVENTS)
        found.append(_select(particles, status, label, rng))
    return concatenate(found)[:jets]


def _select(particles: Particles, status: Array, label: int, rng: np.random.Generator) -> Jets:
    """Return the leading jets of simulated events that pass the selection."""
    parts = energy_flow.flow(particles.select(detector.visible(particles, status)), rng)
    jets, member = detector.leading(parts, events=BATCH_EVENTS, radius=JET_RADIUS)
    pt, eta = jets.pt[:, 0], jets.eta[:, 0]
    wanted = (pt > JET_PT[0]) & (pt < JET_PT[1]) & (np.abs(eta) < JET_ETA)
    truth = np.zeros((BATCH_EVENTS, 4), np.float32)
    if label:
        inside, truth = match_tops(jets, particles, status)
        wanted &= inside
    return Jets(
        momenta=pad_particles(parts.select(member), BATCH_EVENTS)[wanted],
        truth=truth[wanted],
        labels=np.full(wanted.sum(), label),
    )


def match_tops(jets: detector.Jets, particles: Particles, status: Array) -> tuple[Array, Array]:
    """Find the jets that contain a top quark's decay, (E,) bool, and the top's momentum (E, 4)."""
    kind = np.abs(particles.pdg)
    tops = particles.select((kind == TOP) & (np.abs(status) == TOP_DECAYS))
    quarks = particles.select((kind <= BOTTOM) & (np.abs(status) == DECAY_QUARK))
    # a bottom quark has the sign of its top quark; quarks from W bosons have the sign of their charge
    sides = np.where(np.abs(quarks.pdg) == BOTTOM, quarks.pdg, quarks.charge) > 0
    whole, truth = np.zeros(BATCH_EVENTS, bool), np.zeros((BATCH_EVENTS, 4), np.float32)
    for side in (True, False):
        inside = _inside(jets, quarks) & (sides == side)
        three = np.bincount(quarks.event[inside], minlength=BATCH_EVENTS) == QUARKS
        found = tops.select(_inside(jets, tops) & ((tops.pdg > 0) == side) & three[tops.event])
        whole[found.event] = True
        truth[found.event] = momenta(found)
    return whole, truth


def _inside(jets: detector.Jets, particles: Particles) -> Array:
    """Find the particles that are near the jet of their event, (N,) bool."""
    deta = particles.eta - jets.eta[particles.event, 0]
    dphi = detector.wrap(particles.phi - jets.phi[particles.event, 0])
    return np.hypot(deta, dphi) < MATCH_RADIUS


def momenta(particles: Particles) -> Array:
    """Return the momenta of particles, (N, 4) float32: px, py, pz and energy."""
    pt, eta, phi = particles.pt, particles.eta, particles.phi
    columns = (pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), particles.energy)
    return np.stack(columns, axis=1).astype(np.float32)


def pad_particles(parts: Particles, events: int) -> Array:
    """Return the particles of each jet, (E, 200, 4): sorted by pt and padded by zeros."""
    order = np.lexsort((-parts.pt, parts.event))
    parts = parts.select(order)
    counts = np.bincount(parts.event, minlength=events)
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = place < PARTICLES
    made = np.zeros((events, PARTICLES, 4), np.float32)
    made[parts.event[kept], place[kept]] = momenta(parts)[kept]
    return made
