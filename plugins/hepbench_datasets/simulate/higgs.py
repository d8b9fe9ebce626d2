"""Simulate HIGGS: Higgs bosons (signal) against top-quark pairs (background).

Baldi, Sadowski and Whiteson, arXiv:1402.4735: protons at 8 TeV; signal gg -> H0 (425 GeV) -> W H+-
(325 GeV) -> W W h0 (125 GeV) -> W W b b, background t t -> W W b b; one of the two W bosons decays
to an electron or muon, the other to quarks. The original was made by MadGraph, Pythia and a fast
simulation; this is Pythia alone with the detector of ``detector.py``. Choices that the paper does
not state were inferred from 10,977 rows of the original: thresholds are the ends of the spectra,
and the values called "measured" give the best agreement of the spectra.

Multiple parton interactions are off, which agrees better with those rows (they hold few additional
jets) and is three times as fast. The first branching of the initial state is limited to the hard
scale.

Each chunk of ``CHUNK_ROWS`` rows has its own seed, so a file depends only on the seed; the rows of
a smaller file are the first ones of a larger file.
"""

from __future__ import annotations

import gzip
import os
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from hepbench import SIMULATED, Array
from hepbench_datasets import HIGGS
from hepbench_datasets.simulate import arguments, detector, processes
from hepbench_datasets.simulate.detector import BOTTOM, CHARM, ELECTRON, MUON, Jets, Particles
from hepbench_datasets.simulate.higgs_features import features

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

FILE = "HIGGS.csv.gz"
CHUNK_ROWS = 200
CHUNK_SIGNAL = 106
"""Number of signal events in a chunk: 53 % as in the original."""
BATCH_EVENTS = 100

ENERGY = 8000.0
SHOWERS = ("PartonLevel:MPI = off", "SpaceShower:pTmaxMatch = 1")
SIGNAL = (
    *("HiggsBSM:gg2H2 = on", "Higgs:useBSM = on", "HiggsH2:coup2HchgW = 1."),
    *("35:m0 = 425.", "35:mWidth = 5.", "35:mMin = 350.", "35:doForceWidth = on"),
    *("37:m0 = 325.", "37:mWidth = 2.", "37:mMin = 250.", "37:doForceWidth = on"),
    "25:m0 = 125.",
    *("35:onMode = off", "35:onIfMatch = 24 37"),
    *("37:onMode = off", "37:onIfMatch = 24 25"),
    *("25:onMode = off", "25:onIfMatch = 5 -5"),
)
# the weaker initial-state shower is measured from the spectra and the number of jets
BACKGROUND = ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", "SpaceShower:alphaSvalue = 0.11")
W_DECAYS = (
    ("24:onMode = off", "24:onNegIfAny = 11 13", "24:onPosIfAny = 1 2 3 4 5"),
    ("24:onMode = off", "24:onPosIfAny = 11 13", "24:onNegIfAny = 1 2 3 4 5"),
)
"""Pythia's settings for W decays: negative lepton in even chunks, positive in odd chunks."""

LEPTON_PT, LEPTON_ETA = 15.0, 2.5
ISOLATION_RADIUS, ISOLATION = 0.4, 0.2
MISSING_NOISE = 13.0
"""Noise on each component of the missing momentum in GeV, measured on the original."""
JET_RADIUS, JET_PT, JET_ETA = 0.6, 15.0, 3.0
JET_SCALE = 1.02
"""Scale factor of jet energies, measured on the mass of the W boson in the original."""
FLAVOUR_RADIUS, FLAVOUR_PT = 0.4, 4.0

TAG_EFFICIENCY = {BOTTOM: 0.70, CHARM: 0.25, 0: 0.02}
"""Largest tagging efficiency by flavour; mostly the ratios matter, since two jets are tagged."""
TAG_AT_PT = ((15.0, 45.0), (0.55, 1.0))
TAG_AT_ETA = ((1.0, 1.2, 1.4, 1.7, 1.75), (1.0, 0.93, 0.75, 0.2, 0.0))
TIGHT = 0.815
"""Fraction of tags with value 2 instead of 1, measured on the original."""
ORDER_NOISE, BOTTOM_SHIFT = 0.35, 0.12
"""Noise of log(pt), and shift for bottom jets, by which jets are sorted.

They give the fraction of the original, in which the four jets are sorted by pt in 32 % of rows.
"""


def generate(
    folder: Path, *, events: int, seed: int, jobs: int, progress: Callable[[int], None]
) -> Path:
    """Simulate events of HIGGS, and write ``HIGGS.csv.gz`` in the format of the original.

    Args:
        folder: created if missing; the file appears there only when it is complete.
        events: number of rows.
        seed: equal seeds give equal bytes, for any ``jobs``.
        jobs: number of processes.
        progress: called with the number of rows so far.

    Returns:
        The path of the file.

    Raises:
        DataError: a generator is not installed, the file exists, ``events`` or ``jobs`` is below 1,
            or a process ended too early.
    """
    _require(events, seed=seed, jobs=jobs)
    path = Path(folder) / FILE
    arguments.require_free_folder(HIGGS, path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{FILE}.{os.getpid()}.part")
    try:
        # closing stops the processes here on Ctrl-C, not when the generator is garbage-collected
        with closing(_chunks(events, seed=seed, jobs=jobs)) as chunks, part.open("wb") as raw:
            _write(raw, chunks, progress)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def simulate(events: int, *, seed: int, jobs: int) -> tuple[Array, Array]:
    """Return the simulated labels (N,) and features (N, 28) that ``generate`` writes.

    Raises:
        DataError: as ``generate``.
    """
    _require(events, seed=seed, jobs=jobs)
    labels, tables = zip(*_chunks(events, seed=seed, jobs=jobs), strict=True)
    return np.concatenate(labels), np.concatenate(tables)


def _write(
    raw: BinaryIO, chunks: Iterable[tuple[Array, Array]], progress: Callable[[int], None]
) -> None:
    done = 0
    # mtime=0 so that equal rows give equal bytes; the file name in the header marks the rows as
    # simulated, and is lost when they are decompressed
    with gzip.GzipFile(SIMULATED.decode(), "wb", 6, raw, mtime=0) as file:
        for labels, table in chunks:
            file.write(_lines(labels, table))
            done += len(labels)
            progress(done)


def _lines(labels: Array, table: Array) -> bytes:
    line = ",".join(["%.18e"] * (1 + table.shape[1])) + "\n"
    rows = np.column_stack([labels, table.astype(np.float64)]).tolist()
    return "".join(line % tuple(row) for row in rows).encode()


def _require(events: int, *, seed: int, jobs: int) -> None:
    detector.require_generators()
    arguments.require_valid(HIGGS, events=events, seed=seed, jobs=jobs, least=1)


def _chunks(events: int, *, seed: int, jobs: int) -> Generator[tuple[Array, Array], None, None]:
    """Yield the chunks of simulated events in order."""
    count = -(-events // CHUNK_ROWS)
    with closing(processes.in_order(partial(chunk, seed), range(count), jobs=jobs)) as done:
        for index, (labels, table) in enumerate(done):
            wanted = events - index * CHUNK_ROWS
            yield labels[:wanted], table[:wanted]


def chunk(seed: int, index: int) -> tuple[Array, Array]:
    """Simulate one chunk of events; return labels and features in random order."""
    sizes = (CHUNK_ROWS - CHUNK_SIGNAL, CHUNK_SIGNAL)
    tables = [simulate_class(label, n, seed=seed, index=index) for label, n in enumerate(sizes)]
    order = np.random.default_rng([seed, index]).permutation(CHUNK_ROWS)
    return np.repeat((0, 1), sizes)[order], np.concatenate(tables)[order]


def simulate_class(label: int, rows: int, *, seed: int, index: int) -> Array:
    """Simulate one class of a chunk: features (rows, 28) of the first events that are selected."""
    streams = np.random.SeedSequence([seed, index, label]).spawn(2)
    rng, decays = (np.random.default_rng(stream) for stream in streams)
    settings = (*SHOWERS, *(SIGNAL if label else BACKGROUND), *W_DECAYS[index % 2])
    # Pythia itself polarises the W bosons of top quarks
    veto = longitudinal(decays) if label else None
    pythia = detector.start_pythia(
        settings, seed=int(streams[0].generate_state(1)[0]), energy=ENERGY, veto=veto
    )
    selected: list[Array] = []
    while sum(map(len, selected)) < rows:
        visible, hadrons = detector.collide(pythia, BATCH_EVENTS)
        selected.append(select(visible, hadrons, rng))
    return np.concatenate(selected)[:rows]


def longitudinal(rng: np.random.Generator) -> Any:
    """Return a Pythia veto of events, after which every W boson is longitudinally polarised.

    Pythia lets W bosons from H0 -> W H and H -> W h0 decay uniformly in all directions. All other
    particles of these decays have spin 0, so the decay should follow 1 - cos^2 of the angle to the
    flight direction.
    """
    import pythia8mc

    class Longitudinal(pythia8mc.UserHooks):
        def canVetoProcessLevel(self) -> bool:
            return True

        def doVetoProcessLevel(self, process: Any) -> bool:
            bosons = (process[i] for i in range(process.size()))
            chance = 1.0
            for boson in bosons:
                if boson.idAbs() == 24 and process[boson.daughter1()].idAbs() < 20:
                    chance *= 1 - _cosine(process, boson) ** 2
            return bool(rng.random() > chance)

    return Longitudinal()


def _cosine(process: Any, boson: Any) -> float:
    """Return the cosine of a boson's decay angle in its rest frame."""
    mother, daughter = process[boson.mother1()], process[boson.daughter1()]
    energy_mother = (boson.p() * mother.p()) / boson.m()
    energy_daughter = (boson.p() * daughter.p()) / boson.m()
    momentum = np.sqrt(max(energy_mother**2 - mother.m2(), 1e-9))
    momentum *= np.sqrt(max(energy_daughter**2 - daughter.m2(), 1e-9))
    return float((energy_mother * energy_daughter - mother.p() * daughter.p()) / momentum)


def select(visible: Particles, hadrons: Particles, rng: np.random.Generator) -> Array:
    """Return the features (n, 28) of the simulated events that pass the selection.

    The selection is one isolated electron or muon and at least four jets, exactly two of them
    tagged. Muons in jets are not measured, as by a calorimeter.
    """
    parts, tracked = detector.candidates(visible, rng)
    leptons = isolated_leptons(parts, tracked)
    measured = np.abs(parts.pdg) != MUON
    measured[leptons] = True
    missing = missing_momentum(parts.select(measured), rng)
    measured[leptons] = False
    jets = find_jets(parts.select(measured))
    flavour = detector.jet_flavour(jets, hadrons, radius=FLAVOUR_RADIUS, pt=FLAVOUR_PT)
    tags = tag(jets, flavour, rng)
    order = jet_order(jets, flavour, rng)
    single = np.bincount(parts.event[leptons], minlength=BATCH_EVENTS) == 1
    kept = single & ((jets.pt > 0).sum(axis=1) >= 4) & ((tags > 0).sum(axis=1) == 2)
    parts_of_jets = (jets.pt, jets.eta, jets.phi, tags)
    ordered = (np.take_along_axis(part, order, 1)[kept] for part in parts_of_jets)
    *momenta, tags = ordered
    of_event = np.zeros(BATCH_EVENTS, np.int64)
    of_event[parts.event[leptons]] = leptons
    lepton = parts.select(of_event[kept])
    lepton_momenta = np.stack([lepton.pt, lepton.eta, lepton.phi], axis=-1)
    return features(lepton_momenta, missing[kept], np.stack(momenta, axis=-1), tags)


def isolated_leptons(parts: Particles, tracked: Array) -> Array:
    """Return the indices of isolated electrons and muons among measured particles."""
    hard = tracked & (parts.pt > LEPTON_PT) & (np.abs(parts.eta) < LEPTON_ETA)
    leptons = np.flatnonzero(hard & np.isin(np.abs(parts.pdg), (ELECTRON, MUON)))
    starts = np.searchsorted(parts.event, parts.event[leptons])
    ends = np.searchsorted(parts.event, parts.event[leptons], side="right")
    isolated = []
    for lepton, start, end in zip(leptons, starts, ends, strict=True):
        deta = parts.eta[start:end] - parts.eta[lepton]
        dphi = detector.wrap(parts.phi[start:end] - parts.phi[lepton])
        cone = np.hypot(deta, dphi) < ISOLATION_RADIUS
        around = parts.pt[start:end][cone].sum() - parts.pt[lepton]
        isolated.append(around < ISOLATION * parts.pt[lepton])
    return leptons[np.array(isolated, bool)]


def missing_momentum(parts: Particles, rng: np.random.Generator) -> Array:
    """Return pt and phi (E, 2) of the momentum that balances all measured momenta of an event."""
    x, y = MISSING_NOISE * rng.standard_normal((2, BATCH_EVENTS))
    x -= np.bincount(parts.event, parts.pt * np.cos(parts.phi), BATCH_EVENTS)
    y -= np.bincount(parts.event, parts.pt * np.sin(parts.phi), BATCH_EVENTS)
    return np.stack([np.hypot(x, y), np.arctan2(y, x)], axis=-1)


def find_jets(parts: Particles) -> Jets:
    """Find the jets above the pt threshold in each event; other jets get pt = 0."""
    found = detector.cluster(parts, events=BATCH_EVENTS, radius=JET_RADIUS, pt=JET_PT / JET_SCALE)
    inside = np.abs(found.eta) < JET_ETA
    return replace(found, pt=np.where(inside, found.pt * JET_SCALE, 0.0))


def tag(jets: Jets, flavour: Array, rng: np.random.Generator) -> Array:
    """Simulate the tags of jets, (E, K): 0 untagged, 1 loosely tagged, 2 tightly tagged."""
    flavours = [flavour == kind for kind in TAG_EFFICIENCY]
    efficiency = np.select(flavours, list(TAG_EFFICIENCY.values()))
    heavy = np.interp(jets.pt, *TAG_AT_PT)
    efficiency *= np.where(flavour > 0, heavy, 1.0) * np.interp(np.abs(jets.eta), *TAG_AT_ETA)
    chance, tightness = rng.random((2, *jets.pt.shape))
    tagged = (jets.pt > 0) & (chance < efficiency)
    return np.where(tagged, np.where(tightness < TIGHT, 2, 1), 0)


def jet_order(jets: Jets, flavour: Array, rng: np.random.Generator) -> Array:
    """Return an order of the jets in each event, (E, K), like that in the original."""
    noise = ORDER_NOISE * rng.standard_normal(jets.pt.shape)
    hardness = np.log(np.maximum(jets.pt, 1e-9)) - BOTTOM_SHIFT * (flavour == BOTTOM) + noise
    return np.argsort(np.where(jets.pt > 0, -hardness, np.inf), axis=1, kind="stable")
