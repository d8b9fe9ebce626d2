"""Electrons and photons anew: images of their showers in a simulated crystal calorimeter.

One particle of 50 GeV transverse momentum at a time, even in phi and in eta, where a window around its
hottest crystal fits into the barrel, from places along the beam that spread as in CMS's simulation of
2012 (CMSSW, Realistic8TeVCollision; the 5 mm off the beam's axis are left out). In the material of the
tracker electrons radiate and photons convert (``cascade.py``), which is nearly all that tells them apart;
what arrives makes showers (``showers.py``), and crystals are read out and stored as those of the original
are (``crystals.py``). The hottest crystal is the one at row and column 16. There is no pile-up. What is
named "measured" in those modules was fitted to the energies of 200 real images; there was none to fit the
times to.

A chunk of ``CHUNK`` images of one class has its own seed, so a file depends on the seed alone; the
images of a smaller file are the first ones of a larger. It needs nothing but numpy.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hepbench import SparseImages
from hepbench_datasets import ELECTRON_PHOTON
from hepbench_datasets.simulate import cascade, crystals, marked, processes, refusals, showers

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from hepbench import Array

PHOTON, ELECTRON = 0, 1
FILES = {
    ELECTRON: "SingleElectronPt50_IMGCROPS_n249k_RHv1.hdf5",
    PHOTON: "SinglePhotonPt50_IMGCROPS_n249k_RHv1.hdf5",
}
ENERGY_UNIT, TIME_UNIT = 50.0, 50.0
"""GeV and nanoseconds for which a 1 stands in an image."""

CHUNK = 500
"""Images of one class. Other chunks would be another data set."""
STORED_CHUNK = (100, 32, 32, 2)
"""How the files are chunked; how the originals are is not known."""

PT = 50.0
LARGEST_ETA = 1.4
VERTEX = 0.062
"""Metres along the beam, one standard deviation."""
SIDE, MIDDLE = 32, 16
ROWS, COLUMNS = 56, 96
"""Crystals along eta and phi that are simulated, around where a straight line would hit."""
LAST_ROW, ROUND = 69, 360
"""Crystals along eta from the middle of the barrel to the last that may be hottest, and around it."""
EMPTY_PHOTONS = 0.001
"""Share of photon images without any hit: a few hundred in the original."""


def generate(
    folder: Path, *, events: int, seed: int, jobs: int, progress: Callable[[int], None]
) -> Path:
    """Write the two files, half the images each: ``X`` (N, 32, 32, 2) and ``y`` (N,), float32, LZF.

    Args:
        folder: made where there is none; the files appear there only when they are whole.
        events: images; of an odd number the electrons get one more.
        seed: the same one gives the same bytes, whatever ``jobs`` is.
        jobs: processes.
        progress: called with the number of images done so far.

    Returns:
        The path of the electrons' file.

    Raises:
        DataError: a file exists, ``events`` is less than 2 or ``jobs`` than 1, or a process came to
            an end too early.
    """
    wanted = _wanted(events, seed=seed, jobs=jobs)
    folder = Path(folder)
    refusals.require_room(ELECTRON_PHOTON, folder)
    # closing: on Ctrl-C the processes are stopped here, not whenever the generator is collected
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
    """Return the images that ``generate`` writes, by label, (2, 32, 32) each.

    Raises:
        DataError: as ``generate``.
    """
    wanted = _wanted(events, seed=seed, jobs=jobs)
    found: dict[int, list[SparseImages]] = {label: [] for label in wanted}
    for label, images in _chunks(wanted, seed=seed, jobs=jobs):
        found[label].append(images)
    return {label: SparseImages.concatenate(images) for label, images in found.items()}


def _wanted(events: int, *, seed: int, jobs: int) -> dict[int, int]:
    """Return how many images of each class there are to be."""
    refusals.require(ELECTRON_PHOTON, events=events, seed=seed, jobs=jobs)
    return {ELECTRON: events - events // 2, PHOTON: events // 2}


def _chunks(
    wanted: dict[int, int], *, seed: int, jobs: int
) -> Generator[tuple[int, SparseImages], None, None]:
    """Yield the chunks of electrons, then those of photons; the last of each is cut."""
    pieces = [
        (seed, label, index)
        for label, events in wanted.items()
        for index in range(-(-events // CHUNK))
    ]
    with closing(processes.in_order(chunk, pieces, jobs=jobs)) as done:
        for (_, label, index), images in zip(pieces, done, strict=True):
            yield label, images[: wanted[label] - index * CHUNK]


def chunk(piece: tuple[int, int, int]) -> SparseImages:
    """Return the images of one chunk, given by seed, label and number."""
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
    """Return (at most n, 2, 32, 32) energies and times of particles of one class.

    Those are missing whose window does not fit into the barrel, or into what is simulated.
    """
    eta = rng.uniform(-LARGEST_ETA, LARGEST_ETA, n)
    vertex = VERTEX * rng.standard_normal(n)
    phi = rng.uniform(0, ROUND, n)
    charge = rng.choice((-1, 1), n) if label == ELECTRON else np.zeros(n, np.int64)
    arrived = cascade.to_calorimeter(cascade.produced(charge, PT), eta, rng)
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
    hits = crystals.measured(window, corner, np.cosh(eta[kept]), rng)
    return np.stack([hits / ENERGY_UNIT, crystals.times(hits, rng) / TIME_UNIT], axis=1)
