"""Top tagging: the momenta of up to 200 particles of a jet, of top quarks or light quarks and gluons.

The reference set of Kasieczka, Plehn, Thompson and Russell, doi:10.5281/zenodo.2603256, used in
SciPost Phys. 7, 014 (2019), arXiv:1902.09914: ``train.h5``, ``val.h5`` and ``test.h5`` with 1.2, 0.4
and 0.4 million jets, each a table ``table`` of pandas with the columns ``E_0, PX_0, PY_0, PZ_0`` to
``PZ_199``, ``truthE`` to ``truthPZ`` of the top quark, ``ttv`` and ``is_signal_new``. Jets of fewer
particles are filled up with zeros. ``train.h5`` and ``val.h5`` are divided anew by the suite's seed,
as if they were one file; ``test.h5`` stays the test set.

Another form of it are arrays of up to 200 particles, files of numpy: ``tl_pf_vectors.npy`` (N, 4, P)
float32, px, py, pz and energy; ``tl_pf_mask.npy`` (N, 1, P), 1 for a particle; ``tl_labels.npy``
(N,). Which of the original's jets these are they do not say, so they are divided like any others.

Names of columns are read off the file. What is not printed anywhere is checked: no particle has more
momentum than energy, padding is zero. Particles are put into the order of their pt where they are in
another.
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
"""Jets in 16 MB."""
FIRST = {"train.h5": 0, "val.h5": 1_000_000_000, "test.h5": 2_000_000_000}
"""Ids of the jets of each file begin here, so that no id stands for two jets."""
ROUNDING = 1e-4
"""Share of the energy that a momentum may be larger: numbers are float32, as are their sums."""

Chunk = tuple["Array", "Array", "Array | None"]
"""(N, 200, 4) momenta, (N,) labels, and (N,) the energy of the top quark, where it is told."""


def read(folder: Path) -> Iterator[tuple[Role, Examples]]:
    """Yield the jets of either form, 5,000 at a time.

    Args:
        folder: holds ``train.h5`` and perhaps the other two, or the files of numpy.

    Yields:
        (role, Examples): ``cloud`` (N, 200, 4) float32, px, py, pz and energy in GeV in the order of
        pt, then zeros; ``mask`` (N, 200) bool; labels (N,) int64; spectators ``mass`` and ``pt`` (N,)
        float32 of the sum of the particles; as ids the positions in the file, from ``FIRST``.

    Raises:
        DataError: a file is missing, damaged or laid out otherwise, a value is impossible, or a
            class has no jet.
    """
    paths = original_files(TOP_TAGGING, Path(folder))
    if VECTORS in paths:
        yield from _checked("labelled", VECTORS, 0, _arrays(paths))
        return
    if not paths.keys() & {"train.h5", "val.h5"}:
        msg = f"top-tagging: {folder} holds no train.h5 and no {VECTORS}; one is needed"
        raise DataError(msg)
    with ExitStack() as stack:
        # all are opened and looked at before the first jet is read
        tables = {
            name: _table(stack.enter_context(HDF5("top-tagging", path, row="jet")))
            for name, path in paths.items()
        }
        for name, table in tables.items():
            role: Role = "test" if name == "test.h5" else "labelled"
            yield from _checked(role, table.file.name, FIRST[name], _rows(table))


def sample() -> Iterator[tuple[Role, Examples]]:
    """Yield the simulated sample that ships with the package, as ``read`` does."""
    with files("hepbench_datasets").joinpath("samples/top-tagging.npz").open("rb") as file:
        arrays = dict(np.load(file, allow_pickle=False))
    momenta = top_tagging_compact.decode(arrays)
    yield "labelled", _examples(momenta, arrays["labels"].astype(np.int64), first=0)


def _table(file: HDF5) -> Table:
    """Return the table of a file that has every column."""
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
            msg = f"top-tagging: {folder} holds no {name}; it belongs to {VECTORS}"
            raise DataError(msg)
    vectors = _array(paths[VECTORS], ("N", 4, "P"), np.float32)
    n, _, width = vectors.shape
    masks = _array(paths[MASK], (n, 1, width), np.float32)
    labels = _array(paths[LABELS], (n,), np.integer)
    if not 0 < width <= PARTICLES:
        _refuse(VECTORS, f"it has {width} particles", f"1 to {PARTICLES} are expected")
    for start in range(0, n, CHUNK):
        rows = slice(start, start + CHUNK)
        momenta = np.zeros((len(labels[rows]), PARTICLES, 4), np.float32)
        momenta[:, :width] = np.asarray(vectors[rows]).transpose(0, 2, 1)
        wrong = np.argwhere((momenta[:, :width, 3] != 0) != np.asarray(masks[rows])[:, 0])
        if len(wrong):
            jet, particle = wrong[0]
            what = f"jet {start + jet}, particle {particle} is {masks[start + jet, 0, particle]:g}"
            _refuse(MASK, what, "1 is expected where there is energy, and 0 elsewhere")
        yield momenta, np.asarray(labels[rows]), None


def _array(path: Path, shape: tuple[int | str, ...], kind: type) -> Array:
    """Return a file of numpy, mapped; a str in ``shape`` is any number."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # noqa: BLE001 - damaged headers fail in a dozen ways
        what = f"cannot be opened ({reason(error)})"
        _refuse(path.name, what, "a whole file of numpy is needed", error)
    if not isinstance(found, np.ndarray):
        found.close()
        _refuse(path.name, "it is an archive", "a file of numpy is needed")
    if not fits(found.shape, shape):
        text = ", ".join(map(str, shape)) + "," * (len(shape) == 1)
        _refuse(path.name, f"it is {found.shape}", f"({text}) is expected")
    if not np.issubdtype(found.dtype, kind):
        _refuse(path.name, f"it is {found.dtype}", f"{kind.__name__} is expected")
    if not len(found):
        _refuse(path.name, "it has no jet", "one at least is needed")
    return found


def _checked(
    role: Role, name: str, first: int, chunks: Iterator[Chunk]
) -> Iterator[tuple[Role, Examples]]:
    """Yield the jets of a file once they are possible; say at its end what is odd about them."""
    done, counts, masses = 0, np.zeros(2, np.int64), np.zeros(2)
    otherwise = 0
    for momenta, labels, truth in chunks:
        _check_labels(name, labels, done)
        _check_momenta(name, momenta, done)
        examples = _examples(_ordered(momenta), labels.astype(np.int64), first=first + done)
        yield role, examples
        done += len(labels)
        counts += np.bincount(examples.labels, minlength=2)
        masses += np.bincount(examples.labels, examples.spectators["mass"], 2)
        if truth is not None:
            otherwise += int(((truth > 0) != (labels == 1)).sum())
    if not counts.all():
        _refuse(name, f"every '{LABEL}' is {counts.argmax()}", "both 0 and 1 are needed")
    qcd, top = masses / counts
    if qcd > top:
        odd = f"jets of label 1 have {top:.0f} GeV of mass on average, of label 0 {qcd:.0f}"
        warnings.warn(f"top-tagging: {name}: {odd}: is 1 the top quark?", DataWarning, stacklevel=2)
    if otherwise:
        odd = f"of {done} jets label and '{TRUTH}' of {otherwise} disagree on a top quark"
        warnings.warn(f"top-tagging: {name}: {odd}", DataWarning, stacklevel=2)


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


def _ordered(momenta: Array) -> Array:
    """Return the particles of each jet in the order of their pt."""
    squares = (momenta[:, :, :2] ** 2).sum(axis=2)
    unordered = np.flatnonzero((np.diff(squares, axis=1) > 0).any(axis=1))
    if len(unordered):
        order = np.argsort(-squares[unordered], axis=1, kind="stable")
        momenta[unordered] = np.take_along_axis(momenta[unordered], order[:, :, None], axis=1)
    return momenta


def _check_labels(name: str, labels: Array, done: int) -> None:
    wrong = np.flatnonzero((labels != 0) & (labels != 1))
    if len(wrong):
        _refuse(name, f"label of jet {done + wrong[0]} is {labels[wrong[0]]}", "0 or 1 is expected")


def _check_momenta(name: str, momenta: Array, done: int) -> None:
    """Raise a DataError where numbers are not finite, or not those of particles or padding."""
    energy = momenta[:, :, 3]
    with np.errstate(over="ignore", invalid="ignore"):
        momentum = np.sqrt((momenta[:, :, :3] ** 2).sum(axis=2))
        # a comparison with NaN is false
        fine = (momentum <= (1 + ROUNDING) * energy) & (energy < np.inf)
    empty = (energy == 0).all(axis=1)
    if empty.any():
        _refuse(name, f"jet {done + empty.argmax()} has no particle", "one at least is needed")
    if not fine.all():
        jet, particle = np.argwhere(~fine)[0]
        e, p = energy[jet, particle], momentum[jet, particle]
        what = f"jet {done + jet}, particle {particle} has energy {e:g} and momentum {p:g}"
        _refuse(name, what, "finite numbers are expected, and no less energy than momentum")


def _refuse(name: str, what: str, allowed: str, cause: Exception | None = None) -> NoReturn:
    msg = f"top-tagging: {name}: {what}; {allowed}"
    raise DataError(msg) from cause
