"""Read top tagging: particles of jets from top quarks, or from light quarks and gluons.

The reference dataset of Kasieczka, Plehn, Thompson and Russell, doi:10.5281/zenodo.2603256, used in
SciPost Phys. 7, 014 (2019), arXiv:1902.09914: ``train.h5``, ``val.h5`` and ``test.h5`` with 1.2,
0.4 and 0.4 million jets. Each file is a pandas table ``table`` with the columns ``E_0, PX_0, PY_0,
PZ_0`` to ``PZ_199``, ``truthE`` to ``truthPZ`` of the top quark, ``ttv`` and ``is_signal_new``.
Jets with fewer particles are padded by zeros. ``train.h5`` and ``val.h5`` are pooled and split
again with the suite's seed; ``test.h5`` stays the test set.

Another form of the dataset consists of numpy files with up to 200 particles per jet:
``tl_pf_vectors.npy`` (N, 4, P) float32, px, py, pz and energy; ``tl_pf_mask.npy`` (N, 1, P), 1 for
a particle; ``tl_labels.npy`` (N,). They do not say which of the original jets they hold, so they
are split at random.

Column names are read from the file. Properties that no publication states are checked: no particle
has more momentum than energy, and padding is zero. Particles in another order are sorted by pt.
"""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from hepbench import DataError, DataWarning, Examples, original_files
from hepbench_datasets import TOP_TAGGING, top_tagging_compact
from hepbench_datasets.checked import fits, reason
from hepbench_datasets.hdf5 import HDF5
from hepbench_datasets.pandas_table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hepbench import Array, Role

PARTICLES = 200
COMPONENTS = ("PX", "PY", "PZ", "E")
MOMENTA = tuple(f"{c}_{i}" for i in range(PARTICLES) for c in COMPONENTS)
LABEL, TRUTH = "is_signal_new", "truthE"
VECTORS, MASK, LABELS = "tl_pf_vectors.npy", "tl_pf_mask.npy", "tl_labels.npy"

CHUNK = 5_000
"""Number of jets in 16 MB."""
FIRST = {"train.h5": 0, "val.h5": 1_000_000_000, "test.h5": 2_000_000_000}
"""First id of the jets of each file, so that no two jets have the same id."""
ROUNDING = 1e-4
"""Fraction by which a particle's momentum may exceed its energy, due to float32."""

Chunk = tuple["Array", "Array", "Array | None"]
"""Some jets of a file: momenta (N, 200, 4), labels, and top-quark energies or None."""


def read(folder: Path) -> Iterator[tuple[Role, Examples]]:
    """Yield the jets of the original files in the folder, 5,000 at a time.

    Args:
        folder: holds ``train.h5`` and optionally the other two, or the numpy files.

    Yields:
        (role, Examples): ``cloud`` (N, 200, 4) float32, px, py, pz and energy in GeV, sorted by pt
        and padded by zeros; ``mask`` (N, 200) bool; labels (N,) int64; spectators ``mass`` and
        ``pt`` (N,) float32 of the sum of the particles; ids are the positions in the file plus
        ``FIRST``.

    Raises:
        DataError: a file is missing, damaged or has another layout, a value is impossible, or a
            class has no jet.

    Warns:
        DataWarning: the labels may be exchanged, or they contradict the truth columns.
    """
    paths = original_files(TOP_TAGGING, Path(folder))
    if VECTORS in paths:
        yield from _check_jets("labelled", VECTORS, 0, _arrays(paths))
        return
    if not paths.keys() & {"train.h5", "val.h5"}:
        msg = f"top-tagging: {folder} holds no train.h5 and no {VECTORS}; one of them is needed"
        raise DataError(msg)
    with ExitStack() as stack:
        # open and check all files before reading the first jet
        tables = {
            name: _table(stack.enter_context(HDF5("top-tagging", path, row="jet")))
            for name, path in paths.items()
        }
        for name, table in tables.items():
            role: Role = "test" if name == "test.h5" else "labelled"
            yield from _check_jets(role, table.file.name, FIRST[name], _rows(table))


def sample() -> Iterator[tuple[Role, Examples]]:
    """Yield the bundled sample of top tagging, in the form of ``read``."""
    with files("hepbench_datasets").joinpath("samples/top-tagging.npz").open("rb") as file:
        arrays = dict(np.load(file, allow_pickle=False))
    momenta = top_tagging_compact.decode(arrays)
    yield "labelled", _examples(momenta, arrays["labels"].astype(np.int64), first=0)


def _table(file: HDF5) -> Table:
    """Return the table of an HDF5 file of jets after checking its columns."""
    table = Table(file, "table")
    table.require(MOMENTA, np.floating)
    table.require([LABEL], np.integer)
    if TRUTH in table.columns:
        table.require([TRUTH], np.number)
    return table


def _rows(table: Table) -> Iterator[Chunk]:
    for start in range(0, len(table), CHUNK):
        rows = table.file.values(table.stored, slice(start, start + CHUNK))
        with np.errstate(over="ignore"):
            momenta = table.values(rows, MOMENTA).astype(np.float32)
        momenta = momenta.reshape(-1, PARTICLES, len(COMPONENTS))
        truth = table.values(rows, [TRUTH])[:, 0] if TRUTH in table.columns else None
        yield momenta, table.values(rows, [LABEL])[:, 0], truth


def _arrays(paths: Mapping[str, Path]) -> Iterator[Chunk]:
    for name in (MASK, LABELS):
        if name not in paths:
            folder = paths[VECTORS].parent
            msg = f"top-tagging: {folder} holds no {name}; {VECTORS} needs it"
            raise DataError(msg)
    vectors = _array(paths[VECTORS], ("N", 4, "P"), np.float32)
    n, _, width = vectors.shape
    masks = _array(paths[MASK], (n, 1, width), np.float32)
    labels = _array(paths[LABELS], (n,), np.integer)
    if not 0 < width <= PARTICLES:
        _refuse(
            VECTORS, f"the file has {width} particles per jet", f"1 to {PARTICLES} are expected"
        )
    for start in range(0, n, CHUNK):
        rows = slice(start, start + CHUNK)
        momenta = np.zeros((len(labels[rows]), PARTICLES, 4), np.float32)
        momenta[:, :width] = np.asarray(vectors[rows]).transpose(0, 2, 1)
        wrong = np.argwhere((momenta[:, :width, 3] != 0) != np.asarray(masks[rows])[:, 0])
        if len(wrong):
            jet, particle = wrong[0]
            what = f"jet {start + jet}, particle {particle} is {masks[start + jet, 0, particle]:g}"
            _refuse(MASK, what, "1 is expected for a particle with energy, 0 for padding")
        yield momenta, np.asarray(labels[rows]), None


def _array(path: Path, shape: tuple[int | str, ...], kind: type) -> Array:
    """Open a numpy file memory-mapped, after checking its shape, where a str is any number."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # noqa: BLE001 - damaged headers raise many error types
        what = f"cannot be opened ({reason(error)})"
        _refuse(path.name, what, "a complete numpy file is needed", error)
    if not isinstance(found, np.ndarray):
        found.close()
        _refuse(path.name, "the file is an archive", "a numpy file of one array is needed")
    if not fits(found.shape, shape):
        text = ", ".join(map(str, shape)) + "," * (len(shape) == 1)
        _refuse(path.name, f"the shape is {found.shape}", f"({text}) is expected")
    if not np.issubdtype(found.dtype, kind):
        _refuse(path.name, f"the dtype is {found.dtype}", f"{kind.__name__} is expected")
    if not len(found):
        _refuse(path.name, "the file has no jet", "at least one is needed")
    return found


def _check_jets(
    role: Role, name: str, first: int, chunks: Iterator[Chunk]
) -> Iterator[tuple[Role, Examples]]:
    """Check and yield the jets of a file; at the end, warn if labels seem wrong."""
    done, counts, masses = 0, np.zeros(2, np.int64), np.zeros(2)
    contradictions = 0
    for momenta, labels, truth in chunks:
        _check_labels(name, labels, done)
        _check_momenta(name, momenta, done)
        examples = _examples(_sort_by_pt(momenta), labels.astype(np.int64), first=first + done)
        yield role, examples
        done += len(labels)
        counts += np.bincount(examples.labels, minlength=2)
        masses += np.bincount(examples.labels, examples.spectators["mass"], 2)
        if truth is not None:
            contradictions += int(((truth > 0) != (labels == 1)).sum())
    if not counts.all():
        _refuse(name, f"every '{LABEL}' is {counts.argmax()}", "both 0 and 1 are needed")
    for text in _doubts(masses / counts, contradictions, done):
        warnings.warn(f"top-tagging: {name}: {text}", DataWarning, stacklevel=2)


def _doubts(masses: Array, contradictions: int, jets: int) -> Iterator[str]:
    """Yield reasons to doubt the labels of jets: their mean masses, or the recorded truth."""
    qcd, top = masses
    if qcd > top:
        yield (
            f"the mean jet mass is {top:.0f} GeV for label 1 and {qcd:.0f} GeV for label 0; "
            "label 1 is expected to be the top quark: the labels may be exchanged"
        )
    if contradictions:
        yield f"label and '{TRUTH}' disagree for {contradictions} of {jets} jets"


def _examples(momenta: Array, labels: Array, *, first: int) -> Examples:
    total = momenta.sum(axis=1, dtype=np.float64)
    squared = total[:, 3] ** 2 - (total[:, :3] ** 2).sum(axis=1)
    return Examples(
        inputs={"cloud": momenta, "mask": momenta[:, :, 3] > 0},
        ids=first + np.arange(len(labels)),
        labels=labels,
        spectators={
            "mass": np.sqrt(np.maximum(squared, 0)).astype(np.float32),
            "pt": np.hypot(total[:, 0], total[:, 1]).astype(np.float32),
        },
    )


def _sort_by_pt(momenta: Array) -> Array:
    """Sort the particles of each jet by falling pt, in place."""
    squares = (momenta[:, :, :2] ** 2).sum(axis=2)
    unordered = np.flatnonzero((np.diff(squares, axis=1) > 0).any(axis=1))
    if len(unordered):
        order = np.argsort(-squares[unordered], axis=1, kind="stable")
        momenta[unordered] = np.take_along_axis(momenta[unordered], order[:, :, None], axis=1)
    return momenta


def _check_labels(name: str, labels: Array, done: int) -> None:
    wrong = np.flatnonzero((labels != 0) & (labels != 1))
    if len(wrong):
        _refuse(
            name, f"the label of jet {done + wrong[0]} is {labels[wrong[0]]}", "0 or 1 is expected"
        )


def _check_momenta(name: str, momenta: Array, done: int) -> None:
    """Raise a DataError if a jet has no particle, or a particle an impossible momentum."""
    energy = momenta[:, :, 3]
    with np.errstate(over="ignore", invalid="ignore"):
        momentum = np.sqrt((momenta[:, :, :3] ** 2).sum(axis=2))
        # a comparison with NaN is false
        valid = (momentum <= (1 + ROUNDING) * energy) & (energy < np.inf)
    empty = (energy == 0).all(axis=1)
    if empty.any():
        _refuse(name, f"jet {done + empty.argmax()} has no particle", "at least one is needed")
    if not valid.all():
        jet, particle = np.argwhere(~valid)[0]
        e, p = energy[jet, particle], momentum[jet, particle]
        what = f"jet {done + jet}, particle {particle} has energy {e:g} and momentum {p:g}"
        _refuse(name, what, "finite numbers are expected, with energy >= momentum")


def _refuse(name: str, what: str, allowed: str, cause: Exception | None = None) -> NoReturn:
    msg = f"top-tagging: {name}: {what}; {allowed}"
    raise DataError(msg) from cause
