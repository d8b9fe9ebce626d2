"""Read jets of quarks (signal) and gluons: images of track momenta, ECAL and HCAL.

Files of CMS Open Data simulation, as in Andrews et al., arXiv:1902.08276, in one of two forms:

- HDF5: ``X_jets`` (139306, 125, 125, 3), channels last, ``m0`` and ``pt`` in GeV and ``y``,
  (139306,) each, float32; chunks and compression as the file defines them;
- parquet, three runs, of which any may be missing: ``X_jets`` (in older files ``X_jet``), lists of
  lists of lists (3, 125, 125), channels first, ``m0``, ``pt`` and ``y``, one row in each row group.

``y`` is 1 for quarks. One published description says the opposite, but gluon jets have more hits,
794 against 693 on average; a file in which they have fewer gives a warning. That rows run along eta
and columns along phi is inferred. Values are used as stored: ECAL and HCAL may be slightly
negative, as before zero suppression.
"""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hepbench import DataError, DataWarning, Examples, SparseImages, original_files
from hepbench_datasets import QUARK_GLUON, quark_gluon_compact
from hepbench_datasets.hdf5 import HDF5
from hepbench_datasets.parquet import Parquet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hepbench import Array, Role

NAME = QUARK_GLUON.name
IMAGE = QUARK_GLUON.inputs["image"].shape
CHANNELS = QUARK_GLUON.inputs["image"].names
SCALARS = QUARK_GLUON.inputs["scalars"].names
SIDE = IMAGE[1]

CHUNK = 100
"""Number of jets in 19 MB."""
GROUPS = 32
"""Number of jets that are read from a parquet file at a time: 12 MB as float64."""
FIRST_OF_RUN = 1_000_000_000
"""First id of jets of run 1; the first id of run 2 is twice this number."""

MIN_PIXEL = {"track_pt": 0.0, "ecal": -10.0, "hcal": -10.0}
"""Smallest allowed pixel values: noise is small, while -99 and -999 mark missing values."""
MIN_SCALAR = {"m0": -1.0, "pt": 0.0}
"""Smallest allowed pt and mass in GeV: rounding can make a mass slightly negative."""
SUPPRESSED = 1e-3
"""Smaller pixel values do not count as hits, as in the dataset authors' zero suppression."""
SIGNIFICANCE = 3.0
"""If quark jets have more hits by this many standard errors, a warning doubts the labels."""


class _File(NamedTuple):
    """An open file of quark and gluon jets: columns (N,) by name, and images in chunks."""

    file: HDF5 | Parquet
    columns: Mapping[str, Array]
    images: Iterator[SparseImages]


def read(folder: Path) -> Iterator[tuple[Role, Examples]]:
    """Yield the quark and gluon jets of the HDF5 file, or of the parquet files.

    Args:
        folder: holds the files under their original names.

    Yields:
        (role, Examples): ``image`` N of (3, 125, 125), sparse; ``scalars`` (N, 2) float32: m0 and
        pt in GeV, which are also the spectators; labels (N,) int64, 1 for quarks; ids are the
        positions in the file, plus the number of the run times ``FIRST_OF_RUN``.

    Raises:
        DataError: there is no file, a file is damaged or has another layout, a value is not finite
            or far below 0, or a class has no jet.

    Warns:
        DataWarning: quark jets have more hits than gluon jets.
    """
    paths = original_files(QUARK_GLUON, Path(folder))
    if not paths:
        known = " or ".join(file.name for file in QUARK_GLUON.files)
        msg = f"{NAME}: {folder} holds no {known}; one of them is needed"
        raise DataError(msg)
    with ExitStack() as stack:
        # check all files before reading the first jet
        opened = {name: _open(path, stack) for name, path in paths.items()}
        labels = np.concatenate([opened_file.columns["y"] for opened_file in opened.values()])
        if (labels == labels[0]).all():
            msg = f"{NAME}: {', '.join(paths)}: every 'y' is {labels[0]}; both 0 and 1 are needed"
            raise DataError(msg)
        hits = []
        for name, opened_file in opened.items():
            for examples in _examples(opened_file, _first_id(name)):
                hits.append(_count_hits(examples.inputs["image"]))
                yield "labelled", examples
    _warn_about_labels(", ".join(paths), labels, np.concatenate(hits))


def sample() -> Iterator[tuple[Role, Examples]]:
    """Yield the bundled sample of quark and gluon jets, in the form of ``read``."""
    with files("hepbench_datasets").joinpath("samples/quark-gluon.npz").open("rb") as file:
        arrays = dict(np.load(file, allow_pickle=False))
    scalars = {name: arrays[name] for name in SCALARS}
    yield (
        "labelled",
        Examples(
            inputs={
                "image": quark_gluon_compact.decode(arrays),
                "scalars": np.stack(list(scalars.values()), axis=1),
            },
            ids=np.arange(len(arrays["y"])),
            labels=arrays["y"].astype(np.int64),
            spectators=scalars,
        ),
    )


def _first_id(name: str) -> int:
    names = [file.name for file in QUARK_GLUON.files if file.form == "parquet"]
    return FIRST_OF_RUN * names.index(name) if name in names else 0


def _open(path: Path, stack: ExitStack) -> _File:
    return _hdf5(path, stack) if path.suffix == ".hdf5" else _parquet(path, stack)


def _hdf5(path: Path, stack: ExitStack) -> _File:
    file = stack.enter_context(HDF5(NAME, path, row="jet"))
    jets = file.array("X_jets", ("N", SIDE, SIDE, len(CHANNELS)))
    columns = {"y": file.labels("y", ("N",), beside=jets)}
    for name in SCALARS:
        columns[name] = file.column(name, ("N",), beside=jets, least=MIN_SCALAR[name])
    return _File(file, columns, file.images(jets, at_once=CHUNK))


def _parquet(path: Path, stack: ExitStack) -> _File:
    file = stack.enter_context(Parquet(NAME, path, row="jet"))
    key = "X_jet" if "X_jet" in file and "X_jets" not in file else "X_jets"
    dense = file.images(key, IMAGE, at_once=GROUPS)
    columns = {"y": file.labels("y")}
    columns |= {name: file.column(name, least=MIN_SCALAR[name]) for name in SCALARS}
    return _File(file, columns, map(_sparse, dense))


def _sparse(dense: Array) -> SparseImages:
    """Return sparse float32 images; too large values become infinite, which a check refuses."""
    with np.errstate(over="ignore"):
        return SparseImages.from_dense(dense)


def _examples(opened: _File, first_id: int) -> Iterator[Examples]:
    start = 0
    for images in opened.images:
        _check_values(opened.file, images, start)
        rows = slice(start, start + len(images))
        scalars = {name: opened.columns[name][rows] for name in SCALARS}
        yield Examples(
            inputs={"image": images, "scalars": np.stack(list(scalars.values()), axis=1)},
            ids=first_id + np.arange(rows.start, rows.stop),
            labels=opened.columns["y"][rows],
            spectators=scalars,
        )
        start = rows.stop


def _check_values(file: HDF5 | Parquet, images: SparseImages, start: int) -> None:
    rows, positions, values = images.hits()
    channel = positions // SIDE**2
    least = np.array([MIN_PIXEL[name] for name in CHANNELS])[channel]
    valid = np.isfinite(values) & (values >= least)
    if valid.all():
        return
    first = int(np.argmin(valid))
    row, column = divmod(int(positions[first]) % SIDE**2, SIDE)
    place = f"row {row}, column {column}, channel {channel[first]} ({CHANNELS[channel[first]]})"
    allowed = f"a finite number of at least {least[first]:g} is expected"
    file.refuse(f"jet {start + rows[first]}, {place} is {values[first]:g}", allowed)


def _count_hits(images: SparseImages) -> Array:
    """Return the number of hit pixels in each jet image, (N,)."""
    rows, _, values = images.hits()
    return np.bincount(rows[values >= SUPPRESSED], minlength=len(images))


def _warn_about_labels(names: str, labels: Array, hits: Array) -> None:
    """Warn if quark jets have significantly more hits than gluon jets."""
    gluon, quark = (hits[labels == label] for label in (0, 1))
    error = np.hypot(*(some.std() / np.sqrt(len(some)) for some in (gluon, quark)))
    if quark.mean() - gluon.mean() > SIGNIFICANCE * error:
        text = (
            f"{NAME}: {names}: jets with 'y' = 1 (quarks) have {quark.mean():.0f} hits on average, "
            f"jets with 'y' = 0 (gluons) {gluon.mean():.0f}; gluons should have more: the labels may "
            "be exchanged"
        )
        warnings.warn(text, DataWarning, stacklevel=2)
