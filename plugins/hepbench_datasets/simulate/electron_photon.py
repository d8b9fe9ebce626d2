"""Simulate electrons and photons: images of their showers in a crystal calorimeter.

Each event is one particle of 50 GeV transverse momentum, uniform in phi and in the part of eta in
which a window around the hottest crystal fits into the barrel. The positions along the beam spread
as in CMS's simulation of 2012 (CMSSW, Realistic8TeVCollision; the 5 mm offset from the beam axis is
left out). In the material of the tracker electrons radiate and photons convert (``cascade.py``),
which is nearly all that distinguishes them. The particles that arrive make showers
(``showers.py``), and crystals are read out and stored as in the original (``crystals.py``). The
hottest crystal is at row and column 16. There is no pile-up. Values called "measured" in those
modules were fitted to the energies of 200 original images; no original times were available for a
fit.

Each chunk of ``CHUNK`` images of one class has its own seed, so a file depends only on the seed;
the images of a smaller file are the first ones of a larger file. Only numpy is needed.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hepbench import SparseImages
from hepbench_datasets import ELECTRON_PHOTON
from hepbench_datasets.simulate import arguments, cascade, crystals, marked, processes, showers

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from hepbench import Array

PHOTON, ELECTRON = 0, 1
FILES = {
    ELECTRON: "SingleElectronPt50_IMGCROPS_n249k_RHv1.hdf5",
    PHOTON: "SinglePhotonPt50_IMGCROPS_n249k_RHv1.hdf5",
}
ENERGY_UNIT, TIME_UNIT = 50.0, 50.0
"""GeV and ns that a pixel value of 1 stands for."""

CHUNK = 500
"""Number of images of one class in a chunk; another number would give another dataset."""
STORED_CHUNK = (100, 32, 32, 2)
"""Number of images in a chunk of the HDF5 files, which is not known for the original files."""

PT = 50.0
LARGEST_ETA = 1.4
VERTEX = 0.062
"""Standard deviation of the collision point along the beam, in metres."""
SIDE, MIDDLE = 32, 16
ROWS, COLUMNS = 56, 96
"""Number of simulated crystals along eta and phi, around the point that a straight line would hit."""
LAST_ROW, ROUND = 69, 360
"""Number of crystals along eta in half the barrel that may be the hottest; number around it."""
EMPTY_PHOTONS = 0.001
"""Fraction of photon images without any hit: a few hundred in the original."""


def generate(
    folder: Path, *, events: int, seed: int, jobs: int, progress: Callable[[int], None]
) -> Path:
    """Simulate images; write those of electrons and those of photons into a file each.

    Args:
        folder: created if missing; the files appear there only when they are complete.
        events: number of images; if it is odd, the electrons get one more.
        seed: equal seeds give equal bytes, for any ``jobs``.
        jobs: number of processes.
        progress: called with the number of images so far.

    Returns:
        The path of the electrons' file.

    Raises:
        DataError: a file exists, ``events`` is below 2 or ``jobs`` below 1, or a process ended too
            early.
    """
    wanted = _wanted(events, seed=seed, jobs=jobs)
    folder = Path(folder)
    arguments.require_free_folder(ELECTRON_PHOTON, folder)
    # closing stops the processes here on Ctrl-C, not when the generator is garbage-collected
    with closing(_chunks(wanted, seed=seed, jobs=jobs)) as chunks, ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        parts = {label: folder / f"{name}.{os.getpid()}.part" for label, name in FILES.items()}
        for part in parts.values():
            stack.callback(part.unlink, missing_ok=True)
        _write(parts, chunks, wanted, progress)
        for label, part in parts.items():
            part.replace(folder / FILES[label])
    return folder / FILES[ELECTRON]


def _write(
    paths: dict[int, Path],
    chunks: Generator[tuple[int, SparseImages], None, None],
    wanted: dict[int, int],
    progress: Callable[[int], None],
) -> None:
    done = dict.fromkeys(paths, 0)
    with ExitStack() as stack:
        files = {label: stack.enter_context(marked.hdf5(path)) for label, path in paths.items()}
        for label, file in files.items():
            n = wanted[label]
            rows = min(n, STORED_CHUNK[0])
            shape, chunk = (n, *STORED_CHUNK[1:]), (rows, *STORED_CHUNK[1:])
            file.create_dataset("X", shape, "<f4", chunks=chunk, compression="lzf")
            labels = np.full(n, label, "<f4")
            file.create_dataset("y", data=labels, chunks=(rows,), compression="lzf")
        for label, images in chunks:
            rows = slice(done[label], done[label] + len(images))
            files[label]["X"][rows] = images.dense().transpose(0, 2, 3, 1)
            done[label] = rows.stop
            progress(sum(done.values()))


def simulate(events: int, *, seed: int, jobs: int) -> dict[int, SparseImages]:
    """Return the simulated images that ``generate`` writes, by label, (2, 32, 32) each.

    Raises:
        DataError: as ``generate``.
    """
    wanted = _wanted(events, seed=seed, jobs=jobs)
    found: dict[int, list[SparseImages]] = {label: [] for label in wanted}
    for label, images in _chunks(wanted, seed=seed, jobs=jobs):
        found[label].append(images)
    return {label: SparseImages.concatenate(images) for label, images in found.items()}


def _wanted(events: int, *, seed: int, jobs: int) -> dict[int, int]:
    """Return the number of images to simulate for each class."""
    arguments.require_valid(ELECTRON_PHOTON, events=events, seed=seed, jobs=jobs)
    return {ELECTRON: events - events // 2, PHOTON: events // 2}


def _chunks(
    wanted: dict[int, int], *, seed: int, jobs: int
) -> Generator[tuple[int, SparseImages], None, None]:
    """Yield the chunks of simulated electrons, then those of photons."""
    pieces = [
        (seed, label, index)
        for label, events in wanted.items()
        for index in range(-(-events // CHUNK))
    ]
    with closing(processes.in_order(chunk, pieces, jobs=jobs)) as done:
        for (_, label, index), images in zip(pieces, done, strict=True):
            yield label, images[: wanted[label] - index * CHUNK]


def chunk(piece: tuple[int, int, int]) -> SparseImages:
    """Simulate the images of one chunk, given by seed, label and index."""
    seed, label, index = piece
    rng = np.random.default_rng([seed, label, index])
    found: list[SparseImages] = []
    while sum(map(len, found)) < CHUNK:
        found.append(SparseImages.from_dense(draw(label, CHUNK, rng)))
    images = SparseImages.concatenate(found)[:CHUNK]
    if label == PHOTON:
        empty = rng.random(CHUNK) < EMPTY_PHOTONS
        images = SparseImages(
            images.starts,
            np.where(empty, images.starts, images.ends),
            images.positions,
            images.values,
            image=images.image,
        )
    return images


def draw(label: int, n: int, rng: np.random.Generator) -> Array:
    """Simulate up to n images of one class: energies and times, (n, 2, 32, 32).

    Particles whose window does not fit into the barrel or into the simulated crystals are left out.
    """
    eta = rng.uniform(-LARGEST_ETA, LARGEST_ETA, n)
    vertex = VERTEX * rng.standard_normal(n)
    phi = rng.uniform(0, ROUND, n)
    charge = rng.choice((-1, 1), n) if label == ELECTRON else np.zeros(n, np.int64)
    arrived = cascade.to_calorimeter(cascade.at_centre(charge, PT), eta, rng)
    aimed = np.arcsinh(np.sinh(eta) + vertex / cascade.FACE)
    row = np.floor(aimed / showers.CRYSTAL).astype(np.int64) - ROWS // 2
    column = np.floor(phi).astype(np.int64) - COLUMNS // 2
    energy = showers.deposits(arrived, eta, vertex, (row, column - phi), (ROWS, COLUMNS), rng)
    down, right = (
        axis - MIDDLE for axis in np.divmod(energy.reshape(n, -1).argmax(axis=1), COLUMNS)
    )
    fits = (down >= 0) & (down <= ROWS - SIDE) & (right >= 0) & (right <= COLUMNS - SIDE)
    hottest = row + down + MIDDLE
    kept = np.flatnonzero(fits & (hottest >= -LAST_ROW - 1) & (hottest <= LAST_ROW))
    down, right = down[kept], right[kept]
    side = np.arange(SIDE)
    window = energy[
        kept[:, None, None], (down[:, None] + side)[:, :, None], (right[:, None] + side)[:, None]
    ]
    corner = (row[kept] + down) % crystals.TOWER, (column[kept] + right) % crystals.TOWER
    hits = crystals.read_out(window, corner, np.cosh(eta[kept]), rng)
    return np.stack([hits / ENERGY_UNIT, crystals.times(hits, rng) / TIME_UNIT], axis=1)
