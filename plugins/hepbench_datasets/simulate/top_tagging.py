"""Top tagging anew: top quarks (signal) against light quarks and gluons (background), simulated.

Kasieczka et al., SciPost Phys. 7, 014 (2019), arXiv:1902.09914, section 2: protons at 14 TeV by
Pythia without pile-up; energy flow of Delphes's detector of ATLAS, here that of ``energy_flow.py``;
the leading anti-kt jet of radius 0.8 of each event, where it has 550 to 650 GeV of pt and |eta| < 2.
Of a signal jet a top quark and the three quarks that it decays to are within 0.8. The 200
constituents of largest pt are kept.

What is printed nowhere was chosen by 2,000 of the original jets: the least momentum of the hard
process by the spectra of pt, towers by how many particles there are. And there are multiple parton
interactions, which the paper says it ignores: without them there are half as many soft particles 0.6
to 0.8 from the axis as in those jets, with them as many.

Files hold jets as 3 to 1 to 1, as those of the original, and have its layout, which is that of
pandas and PyTables: it is written by h5py alone.

A chunk of ``CHUNK`` jets has its own seed, so a file depends on the seed alone; the jets of smaller
files are the first ones of larger.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench_datasets import TOP_TAGGING, pandas_table
from hepbench_datasets.simulate import detector, energy_flow, marked, processes, refusals
from hepbench_datasets.simulate.detector import BOTTOM, Particles

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from hepbench import Array

SHARES = {"train.h5": 3, "val.h5": 1, "test.h5": 1}
"""Their places are part of the seeds."""

CHUNK = 200
"""Half of them signal. Other chunks would be another data set."""
BATCH_EVENTS = 60
PARTICLES = 200

ENERGY = 14_000.0
HARD = (
    "PhaseSpace:pTHatMin = 500.",
    # as Pythia has it by itself: K0S and Lambda decay
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
"""PDG code, and Pythia's status of a particle that decays next, and of a quark that comes of it."""
QUARKS = 3

BLOCKS = {
    "<f4": [
        *(f"{component}_{i}" for i in range(PARTICLES) for component in ("E", "PX", "PY", "PZ")),
        *("truthE", "truthPX", "truthPY", "truthPZ"),
    ],
    "<i8": ["ttv", "is_signal_new"],
}
"""The columns of a file, by dtype."""


@dataclass(frozen=True)
class Jets:
    """N jets.

    Attributes:
        momenta: (N, 200, 4) float32, px, py, pz and energy in GeV, in the order of pt, then zeros.
        truth: (N, 4) float32, of the top quark; zeros where there is none.
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
    """Write ``train.h5``, ``val.h5`` and ``test.h5``, three fifths of the jets and a fifth each.

    Columns have the names and dtypes of the originals. ``ttv`` counts the files from 0; what it
    does in the originals is not known, and it is not read.

    Args:
        folder: made where there is none; the files appear there only when they are whole.
        events: jets.
        seed: the same one gives the same bytes, whatever ``jobs`` is.
        jobs: processes.
        progress: called with the number of jets done so far.

    Returns:
        The path of ``train.h5``.

    Raises:
        DataError: a generator or h5py is not installed, a file exists, ``events`` is less than 5 or
            ``jobs`` than 1, or a process came to an end too early.
    """
    wanted = _wanted(events, seed=seed, jobs=jobs)
    folder = Path(folder)
    refusals.require_room(TOP_TAGGING, folder)
    # closing: on Ctrl-C the processes are stopped here, not whenever the generator is collected
    with closing(_chunks(wanted, seed=seed, jobs=jobs)) as chunks, ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        parts = {name: folder / f"{name}.{os.getpid()}.part" for name in SHARES}
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
    done = dict.fromkeys(SHARES, 0)
    with ExitStack() as stack:
        tables = {}
        for name in SHARES:
            file = stack.enter_context(marked.hdf5(paths[name]))
            tables[name] = pandas_table.create(file, "table", BLOCKS, wanted[name])
        for name, jets in chunks:
            rows = np.zeros(len(jets), tables[name].dtype)
            rows["index"] = done[name] + np.arange(len(jets))
            # px, py, pz and energy here, the energy first there
            momenta = np.roll(jets.momenta, 1, axis=2).reshape(len(jets), 4 * PARTICLES)
            rows["values_block_0"] = np.hstack([momenta, np.roll(jets.truth, 1, axis=1)])
            rows["values_block_1"] = np.stack(
                [np.full(len(jets), list(SHARES).index(name)), jets.labels], axis=1
            )
            tables[name][done[name] : done[name] + len(jets)] = rows
            done[name] += len(jets)
            progress(sum(done.values()))


def simulate(events: int, *, seed: int, jobs: int) -> dict[str, Jets]:
    """Return the jets that ``generate`` writes, by file.

    Raises:
        DataError: as ``generate``.
    """
    wanted = _wanted(events, seed=seed, jobs=jobs)
    found: dict[str, list[Jets]] = {name: [] for name in SHARES}
    for name, jets in _chunks(wanted, seed=seed, jobs=jobs):
        found[name].append(jets)
    return {name: joined(chunks) for name, chunks in found.items()}


def joined(several: list[Jets]) -> Jets:
    """Return the jets of several, one behind another."""
    columns = zip(*(vars(jets).values() for jets in several), strict=True)
    return Jets(*(np.concatenate(column) for column in columns))


def _wanted(events: int, *, seed: int, jobs: int) -> dict[str, int]:
    """Return how many jets there are to be in each file."""
    detector.require_generators()
    least = sum(SHARES.values())
    refusals.require(TOP_TAGGING, events=events, seed=seed, jobs=jobs, least=least)
    wanted = {name: events * share // least for name, share in SHARES.items()}
    return wanted | {"train.h5": events - wanted["val.h5"] - wanted["test.h5"]}


def _chunks(
    wanted: Mapping[str, int], *, seed: int, jobs: int
) -> Generator[tuple[str, Jets], None, None]:
    """Yield the chunks in their order, those of one file after the other's; last ones are cut."""
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
    """Return the jets of one chunk, given by seed, file and number, in a random order."""
    seed, name, index = piece
    seeds = np.random.SeedSequence([seed, list(SHARES).index(name), index])
    *classes, last = seeds.spawn(3)
    jets = joined([simulate_class(label, CHUNK // 2, each) for label, each in enumerate(classes)])
    return jets[np.random.default_rng(last).permutation(CHUNK)]


def simulate_class(label: int, jets: int, seeds: np.random.SeedSequence) -> Jets:
    """Return the first jets of one class of a chunk."""
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
    return joined(found)[:jets]


def _select(particles: Particles, status: Array, label: int, rng: np.random.Generator) -> Jets:
    """Return the leading jets of a batch of events that are what is asked for."""
    parts = energy_flow.flow(particles.select(detector.visible(particles, status)), rng)
    jets, member = detector.leading(parts, events=BATCH_EVENTS, radius=JET_RADIUS)
    pt, eta = jets.pt[:, 0], jets.eta[:, 0]
    wanted = (pt > JET_PT[0]) & (pt < JET_PT[1]) & (np.abs(eta) < JET_ETA)
    truth = np.zeros((BATCH_EVENTS, 4), np.float32)
    if label:
        inside, truth = matched(jets, particles, status)
        wanted &= inside
    return Jets(
        momenta=padded(parts.select(member), BATCH_EVENTS)[wanted],
        truth=truth[wanted],
        labels=np.full(wanted.sum(), label),
    )


def matched(jets: detector.Jets, particles: Particles, status: Array) -> tuple[Array, Array]:
    """Return (E,) bool, near which jets are a top quark and all three of its quarks; (E, 4) its
    momentum.
    """
    kind = np.abs(particles.pdg)
    tops = particles.select((kind == TOP) & (np.abs(status) == TOP_DECAYS))
    quarks = particles.select((kind <= BOTTOM) & (np.abs(status) == DECAY_QUARK))
    # a bottom quark has the sign of its top quark, what comes of a W boson that of its charge
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
    """Return (N,) bool, whether a particle is near the jet of its event."""
    deta = particles.eta - jets.eta[particles.event, 0]
    dphi = detector.wrap(particles.phi - jets.phi[particles.event, 0])
    return np.hypot(deta, dphi) < MATCH_RADIUS


def momenta(particles: Particles) -> Array:
    """Return (N, 4) float32 px, py, pz and energy."""
    pt, eta, phi = particles.pt, particles.eta, particles.phi
    columns = (pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), particles.energy)
    return np.stack(columns, axis=1).astype(np.float32)


def padded(parts: Particles, events: int) -> Array:
    """Return (E, 200, 4) float32: the particles of each event in the order of their pt, then zeros."""
    order = np.lexsort((-parts.pt, parts.event))
    parts = parts.select(order)
    counts = np.bincount(parts.event, minlength=events)
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = place < PARTICLES
    made = np.zeros((events, PARTICLES, 4), np.float32)
    made[parts.event[kept], place[kept]] = momenta(parts)[kept]
    return made
