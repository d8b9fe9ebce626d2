"""Read electrons (signal) and photons: images of 32 x 32 crystals around the hottest one.

CMS simulation of single particles with 50 GeV of transverse momentum, in one of two forms:

- two HDF5 files, electrons and photons: ``X`` (249000, 32, 32, 2) float32, channels last, LZF,
  chunks as the file defines them, and ``y`` (249000,) float32, 1 for electrons and 0 for photons;
- npz: ``x_train`` and ``x_test`` (N, 32, 32) float32, energies only, ``y_train`` and ``y_test``
  (N,). The time channel stays empty. The author of the file chose its test part and no published
  result uses it, so the images of both parts are split like those of the HDF5 files.

Energies are in units of 50 GeV and never negative. Times are signed, and 0 where there is no
energy; their range suggests units of 50 ns. Rows run along eta and columns along phi, in which
electrons are wider. A few hundred photon images are empty.
"""

from __future__ import annotations

import zipfile
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from hepbench import DataError, Examples, SparseImages, original_files
from hepbench_datasets import ELECTRON_PHOTON, electron_photon_compact
from hepbench_datasets.checked import reason
from hepbench_datasets.hdf5 import HDF5

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hepbench import Array, Role

NAME = ELECTRON_PHOTON.name
CHANNELS = ELECTRON_PHOTON.inputs["image"].names
SIDE = 32
CHUNK = 2000
"""Number of images in 16 MB."""
WHOLE = "a whole npz file without objects is needed"
FIRST_PHOTON = FIRST_TEST = 1_000_000_000
"""First id of photons, or of the second part of an npz file, for any size of the first part."""

ELECTRONS, PHOTONS, NPZ = (file.name for file in ELECTRON_PHOTON.files)
LABELS = {ELECTRONS: 1, PHOTONS: 0}
FIRST_IDS = {1: 0, 0: FIRST_PHOTON}


def read(folder: Path) -> Iterator[tuple[Role, Examples]]:
    """Yield the images of electrons and photons in the original files, at most 2,000 at a time.

    Args:
        folder: holds the files of one form under their original names.

    Yields:
        (role, Examples): ``image`` N of (2, 32, 32), sparse; labels (N,) int64, 1 for electrons;
        ids are the positions in the file, plus a billion for photons or for ``x_test``.

    Raises:
        DataError: a file is missing, damaged or has another layout, a label does not belong to its
            file, a value is not finite, or an energy is negative.
    """
    paths = original_files(ELECTRON_PHOTON, Path(folder))
    if NPZ in paths and len(paths) == 1:
        yield from _read_npz(paths[NPZ])
        return
    if missing := [name for name in LABELS if name not in paths]:
        msg = (
            f"{NAME}: {folder} holds no {' and no '.join(missing)}; both files or {NPZ} are needed"
        )
        raise DataError(msg)
    with ExitStack() as stack:
        opened = {
            name: stack.enter_context(HDF5(NAME, paths[name], row="image")) for name in LABELS
        }
        # check both files before reading the first image
        for name, label in LABELS.items():
            _check_labels(opened[name], label)
        for name, label in LABELS.items():
            yield from _read_hdf5(opened[name], label)


def sample() -> Iterator[tuple[Role, Examples]]:
    """Yield the bundled sample of electrons and photons, in the form of ``read``."""
    with files("hepbench_datasets").joinpath("samples/electron-photon.npz").open("rb") as file:
        arrays = dict(np.load(file, allow_pickle=False))
    labels = arrays["labels"].astype(np.int64)
    ids = np.concatenate(
        [first_id + np.arange((labels == label).sum()) for label, first_id in FIRST_IDS.items()]
    )
    # alternate the classes, or the first few thousand images would all be electrons
    order = np.argsort(ids % FIRST_PHOTON, kind="stable")
    images = electron_photon_compact.decode(arrays)[order]
    yield "labelled", Examples(inputs={"image": images}, ids=ids[order], labels=labels[order])


def _check_labels(file: HDF5, label: int) -> None:
    labels = file.labels("y", ("N",), beside=file.array("X", ("N", SIDE, SIDE, len(CHANNELS))))
    if (labels != label).any():
        row = int(np.argmax(labels != label))
        what = f"'y' of image {row} is {labels[row]}"
        file.refuse(what, f"{label} ({ELECTRON_PHOTON.classes[label]}) is expected throughout")


def _read_hdf5(file: HDF5, label: int) -> Iterator[tuple[Role, Examples]]:
    stored = file.array("X", ("N", SIDE, SIDE, len(CHANNELS)))
    start = 0
    for images in file.images(stored, at_once=CHUNK):
        if fault := _fault(images, start):
            file.refuse(*fault)
        yield "labelled", _examples(images, np.full(len(images), label), FIRST_IDS[label] + start)
        start += len(images)


def _examples(images: SparseImages, labels: Array, first_id: int) -> Examples:
    ids = first_id + np.arange(len(images))
    return Examples(inputs={"image": images}, ids=ids, labels=labels.astype(np.int64))


def _fault(images: SparseImages, start: int) -> tuple[str, str] | None:
    """Describe the first invalid pixel value and the allowed values; None if all are valid."""
    rows, positions, values = images.hits()
    channel, place = np.divmod(positions, SIDE**2)
    fine = np.isfinite(values) & ((values >= 0) | (channel == CHANNELS.index("time")))
    if fine.all():
        return None
    first = int(np.argmin(fine))
    row, column = divmod(int(place[first]), SIDE)
    where = f"image {start + rows[first]}, row {row}, column {column}, {CHANNELS[channel[first]]}"
    finite = np.isfinite(values[first])
    allowed = "an energy of at least 0 is expected" if finite else "finite numbers are expected"
    return f"{where} is {values[first]:g}", allowed


# --- the npz files


def _read_npz(path: Path) -> Iterator[tuple[Role, Examples]]:
    arrays = _npz_arrays(path)
    _check_npz(path, arrays)
    for part, first_id in (("train", 0), ("test", FIRST_TEST)):
        energy, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
        for start in range(0, len(labels), CHUNK):
            rows = slice(start, start + CHUNK)
            dense = np.zeros((len(energy[rows]), len(CHANNELS), SIDE, SIDE), np.float32)
            dense[:, CHANNELS.index("energy")] = energy[rows]
            images = SparseImages.from_dense(dense)
            if fault := _fault(images, start):
                _refuse(path, f"x_{part}: {fault[0]}", fault[1])
            yield "labelled", _examples(images, labels[rows], first_id + start)


def _npz_arrays(path: Path) -> Mapping[str, Array]:
    needed = [f"{kind}_{part}" for part in ("train", "test") for kind in ("x", "y")]
    try:
        with zipfile.ZipFile(path) as archive:
            held = [name.removesuffix(".npy") for name in archive.namelist()]
        with np.load(path, allow_pickle=False) as file:
            # numpy returns members that are not arrays as bytes
            arrays = {key: np.asarray(file[key]) for key in needed if key in held}
    except Exception as error:  # noqa: BLE001 - damaged archives and headers raise many error types
        _refuse(path, f"cannot be read ({reason(error)})", WHOLE, error)
    if missing := [key for key in needed if key not in held]:
        listed = ", ".join(f"'{key}'" for key in held) or "nothing"
        what = f"no array '{missing[0]}', the file holds {listed}"
        _refuse(path, what, "x_train, y_train, x_test and y_test are needed")
    return arrays


def _check_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    for part in ("train", "test"):
        energy, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if energy.ndim != 3 or energy.shape[1:] != (SIDE, SIDE):
            _refuse(path, f"'x_{part}' is {energy.shape}", f"(N, {SIDE}, {SIDE}) is expected")
        for key in (f"x_{part}", f"y_{part}"):
            if arrays[key].dtype != np.float32:
                _refuse(path, f"'{key}' is {arrays[key].dtype}", "float32 is expected")
        if labels.shape != energy.shape[:1]:
            _refuse(path, f"'y_{part}' is {labels.shape}", f"({len(energy)},) is expected")
        if not (fine := np.isin(labels, (0, 1))).all():
            row = int(np.argmin(fine))
            _refuse(path, f"'y_{part}' of image {row} is {labels[row]:g}", "0 or 1 is expected")
    all_labels = np.concatenate([arrays["y_train"], arrays["y_test"]])
    if len(np.unique(all_labels)) < 2:
        found = f"every label is {all_labels[0]:g}" if len(all_labels) else "the file has no image"
        _refuse(path, found, "both 0 and 1 are needed")


def _refuse(path: Path, what: str, allowed: str, cause: Exception | None = None) -> NoReturn:
    msg = f"{NAME}: {path.name}: {what}; {allowed}"
    raise DataError(msg) from cause
