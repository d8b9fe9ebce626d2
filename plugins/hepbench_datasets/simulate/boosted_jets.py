"""Simulate boosted jets: top quarks (signal) against light quarks and gluons (background).

The channels are those of Andrews et al., arXiv:2104.14659, who used the simulation of CMS. No
publication fully describes the original file, so this is the same kind of data, not the same data.
Protons at 8 TeV; signal is a pair of top quarks whose W bosons decay to quarks, background is two
hard jets. Jets are anti-kt with radius 0.8, |eta| < 1.37, a mass of 100 to 220 GeV, and a pt of 400
to 600 GeV, flat in four bins in both classes; a signal jet has a top quark within 0.4. So neither
pt nor the tail of the mass separates the classes. The detector is that of ``detector.py``, the
images are those of ``jet_images.py``; there is no pile-up.

Each chunk of ``CHUNK`` jets has its own seed, so a file depends only on the seed; the jets of a
smaller file are the first ones of a larger file. Unlabelled jets are the same mixture with other
seeds.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench import SparseImages
from hepbench_datasets import BOOSTED_JETS
from hepbench_datasets.simulate import arguments, detector, jet_images, marked, processes
from hepbench_datasets.simulate.jets import Jets, concatenate, fill_bins

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from hepbench import Array, Role

LABELLED = "Dataset_Specific_labelled_full_only_for_2i.h5"
UNLABELLED = "Dataset_Specific_Unlabelled.h5"

CHUNK = 200
"""Number of jets in a chunk, half of them signal, equally many in each bin of pt.

Another number would give another dataset.
"""
BATCH_EVENTS = 60
ROLES: tuple[Role, ...] = ("labelled", "unlabelled")
"""Roles of the simulated files, in an order that the random seeds depend on."""

ENERGY = 8000.0
# events are drawn from a nearly flat spectrum, because otherwise most of them would be rejected
HARD = (
    *("PhaseSpace:pTHatMin = 370.", "PhaseSpace:pTHatMax = 700."),
    *("PhaseSpace:bias2Selection = on", "PhaseSpace:bias2SelectionPow = 5."),
    "PhaseSpace:bias2SelectionRef = 400.",
)
BACKGROUND = ("HardQCD:all = on",)
SIGNAL = (
    *("Top:gg2ttbar = on", "Top:qqbar2ttbar = on"),
    *("24:onMode = off", "24:onIfAny = 1 2 3 4 5"),
)

JET_RADIUS, JET_ETA = 0.8, 1.37
PT_BINS = (400.0, 450.0, 500.0, 550.0, 600.0)
MASSES = (100.0, 220.0)
TOP, TOP_DECAYS = 6, 62
"""PDG code of the top quark, and Pythia's status code of a particle that decays next."""
MATCH_RADIUS = 0.4


def generate(
    folder: Path, *, events: int, seed: int, jobs: int, progress: Callable[[int], None]
) -> Path:
    """Simulate boosted jets; write half of them into the labelled file, half into the unlabelled.

    As in the originals ``jet`` is (N, 125, 125, 8) float32, contiguous and uncompressed: half a
    megabyte per jet.

    Args:
        folder: created if missing; the files appear there only when they are complete.
        events: number of jets; if it is odd, the labelled file gets one more.
        seed: equal seeds give equal bytes, for any ``jobs``.
        jobs: number of processes.
        progress: called with the number of jets so far.

    Returns:
        The path of the labelled file.

    Raises:
        DataError: a generator is not installed, a file exists, ``events`` is below 2 or ``jobs``
            below 1, or a process ended too early.
    """
    wanted = _wanted(events, seed=seed, jobs=jobs)
    folder = Path(folder)
    arguments.require_free_folder(BOOSTED_JETS, folder)
    # closing stops the processes here on Ctrl-C, not when the generator is garbage-collected
    with closing(_chunks(wanted, seed=seed, jobs=jobs)) as chunks, ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        names = dict(zip(ROLES, (LABELLED, UNLABELLED), strict=True))
        parts = {role: folder / f"{name}.{os.getpid()}.part" for role, name in names.items()}
        for part in parts.values():
            stack.callback(part.unlink, missing_ok=True)
        _write(parts, chunks, wanted, progress)
        for role, part in parts.items():
            part.replace(folder / names[role])
    return folder / LABELLED


def _write(
    paths: dict[Role, Path],
    chunks: Generator[tuple[Role, Jets], None, None],
    wanted: dict[Role, int],
    progress: Callable[[int], None],
) -> None:
    done = dict.fromkeys(ROLES, 0)
    with ExitStack() as stack:
        files = {role: stack.enter_context(marked.hdf5(paths[role])) for role in ROLES}
        for role, file in files.items():
            columns = {"jet": (*jet_images.SHAPE[1:], jet_images.SHAPE[0])}
            if role == "labelled":
                columns |= dict.fromkeys(("Y", "m", "pT"), (1,))
            for name, shape in columns.items():
                file.create_dataset(name, (wanted[role], *shape), "<f4")
        for role, jets in chunks:
            rows = slice(done[role], done[role] + len(jets))
            columns = {"Y": jets.labels, "m": jets.mass, "pT": jets.pt}
            files[role]["jet"][rows] = jets.images.dense().transpose(0, 2, 3, 1)
            for name in columns.keys() & files[role].keys():
                files[role][name][rows] = columns[name][:, None]
            done[role] = rows.stop
            progress(sum(done.values()))


def simulate(events: int, *, seed: int, jobs: int) -> dict[Role, Jets]:
    """Return the simulated jets that ``generate`` writes, by role, all with labels.

    Raises:
        DataError: as ``generate``.
    """
    wanted = _wanted(events, seed=seed, jobs=jobs)
    found: dict[Role, list[Jets]] = {role: [] for role in ROLES}
    for role, jets in _chunks(wanted, seed=seed, jobs=jobs):
        found[role].append(jets)
    return {role: concatenate(chunks) for role, chunks in found.items()}


def _wanted(events: int, *, seed: int, jobs: int) -> dict[Role, int]:
    """Return the number of jets to simulate for each role."""
    detector.require_generators()
    arguments.require_valid(BOOSTED_JETS, events=events, seed=seed, jobs=jobs)
    return {"labelled": events - events // 2, "unlabelled": events // 2}


def _chunks(
    wanted: dict[Role, int], *, seed: int, jobs: int
) -> Generator[tuple[Role, Jets], None, None]:
    """Yield the chunks of simulated jets in order, role by role."""
    pieces = [
        (seed, role, index)
        for role, events in wanted.items()
        for index in range(-(-events // CHUNK))
    ]
    done = processes.in_order(chunk, pieces, jobs=jobs)
    with closing(done):
        for (_, role, index), jets in zip(pieces, done, strict=True):
            yield role, jets[: wanted[role] - index * CHUNK]


def chunk(piece: tuple[int, Role, int]) -> Jets:
    """Simulate the jets of one chunk, given by seed, role and index, in random order."""
    seed, role, index = piece
    seeds = np.random.SeedSequence([seed, ROLES.index(role), index])
    *classes, last = seeds.spawn(3)
    jets = concatenate([simulate_class(label, stream) for label, stream in enumerate(classes)])
    return jets[np.random.default_rng(last).permutation(CHUNK)]


def simulate_class(label: int, seeds: np.random.SeedSequence) -> Jets:
    """Simulate the jets of one class for a chunk, equally many in each bin of pt."""
    rng = np.random.default_rng(seeds)
    pythia = detector.start_pythia(
        (*HARD, *(SIGNAL if label else BACKGROUND)),
        seed=int(seeds.generate_state(1)[0]),
        energy=ENERGY,
    )
    free = np.full(len(PT_BINS) - 1, CHUNK // 2 // (len(PT_BINS) - 1))
    found = []
    while free.any():
        found.append(_select(pythia, label, free, rng))
    return concatenate(found)


def _select(pythia: Any, label: int, free: Array, rng: np.random.Generator) -> Jets:
    """Simulate some events; return the jets for bins of pt with free places."""
    particles, status = detector.collisions(pythia, BATCH_EVENTS, origins=True)
    seen = particles.select(detector.visible(particles, status))
    response = detector.respond(seen, rng)
    measured, _ = detector.combine(seen, response)
    jets = detector.cluster(measured, events=BATCH_EVENTS, radius=JET_RADIUS, pt=PT_BINS[0])
    wanted = (jets.pt < PT_BINS[-1]) & (np.abs(jets.eta) < JET_ETA)
    wanted &= (jets.mass > MASSES[0]) & (jets.mass < MASSES[1])
    if label:
        tops = (np.abs(particles.pdg) == TOP) & (np.abs(status) == TOP_DECAYS)
        wanted &= detector.near(jets, particles.select(tops), radius=MATCH_RADIUS)
    event, which = np.nonzero(wanted)
    pt, eta, phi, mass = (values[event, which] for values in vars(jets).values())
    chosen = fill_bins(pt, PT_BINS, free)
    images = jet_images.draw(seen, response, (event[chosen], eta[chosen], phi[chosen]), rng)
    return Jets(
        images=SparseImages.from_dense(images),
        labels=np.full(len(images), label),
        mass=mass[chosen].astype(np.float32),
        pt=pt[chosen].astype(np.float32),
    )
