"""The read stage: converts original files to stored arrays, once and in chunks.

Inputs are never in memory as a whole: at most what a reader yields at a time.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hepbench.data.messages import DeclaredInput, ReadResult, ReadTask
from hepbench.registry.resolve import resolve
from hepbench.specs.errors import DataError, DataWarning
from hepbench.specs.sparse_images import SparseImages
from hepbench.storage import npy_files
from hepbench.storage.digest_cache import stamp
from hepbench.storage.workspace import stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from hepbench.specs.training_data import Examples
    from hepbench.specs.types import Array
    from hepbench.storage.workspace import Workspace


@stage(ReadTask)
def read(task: ReadTask, workspace: Workspace) -> ReadResult:
    """Stage: convert a dataset's files, chunk by chunk, to stored arrays by role and name."""
    files: dict[str, npy_files.NpyWriter | npy_files.SparseImagesWriter] = {}
    counts: dict[str, int] = {}
    began = time.perf_counter()
    found_warnings: list[str] = []
    for role, examples in read_chunks(task, found_warnings):
        for name, array in _named_columns(examples):
            path = f"{role}.{name}"
            if path not in files:
                if counts.get(role):
                    msg = f"{task.dataset}: '{name}' is missing from earlier {role} examples"
                    raise DataError(msg)
                files[path] = npy_files.new_writer(workspace.folder, path, array)
            files[path].append(array)
        counts[role] = counts.get(role, 0) + len(examples)
        workspace.report_progress(how_far(task.files, sum(counts.values()), began))
    for file in files.values():
        file.close()
    return ReadResult(counts, found_warnings)


def read_chunks(task: ReadTask, found_warnings: list[str]) -> Iterator[tuple[str, Examples]]:
    """Yield the chunks of a dataset's reader, checked against the declared inputs.

    Args:
        task: how to read.
        found_warnings: the reader's warnings about the files are appended to it.

    Raises:
        DataError: the files are damaged or have another layout, a value is not finite, no example is
            labelled, or a file was changed after its fingerprint was taken.
    """
    folder = [Path(task.folder)] if task.folder else []
    labelled = 0
    chunks = resolve(task.reader)(*folder, **task.params)
    for role, given in _collecting_warnings(chunks, found_warnings):
        examples = _sparse_as_declared(task, given)
        _check_chunk(task, role, examples)
        labelled += len(examples) if role == "labelled" else 0
        yield role, examples
    if not labelled:
        msg = f"{task.dataset}: no labelled example was read"
        raise DataError(msg)
    for path, before in task.stamps.items():
        if _is_changed(Path(path), before):
            msg = f"{task.dataset}: {Path(path).name} was changed while it was read; run again"
            raise DataError(msg)


def _is_changed(path: Path, before: Sequence[int]) -> bool:
    try:
        return stamp(path) != list(before)
    except OSError:
        return True


def _collecting_warnings(
    given: Iterable[tuple[str, Examples]], found: list[str]
) -> Iterator[tuple[str, Examples]]:
    """Yield the chunks of a dataset's reader, and collect its warnings about the files."""
    waiting = iter(given)
    while True:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            chunk = next(waiting, None)
        for warning in caught:
            if issubclass(warning.category, DataWarning):
                found.append(f"data: {warning.message}")
            else:
                warnings.warn_explicit(
                    warning.message, warning.category, warning.filename, warning.lineno
                )
        if chunk is None:
            return
        yield chunk


def how_far(files: Sequence[str], rows: int, began: float) -> str:
    """Return a text on the progress of reading: percentage of bytes, number of examples."""
    text = f"{rows:,} examples, {rows / (time.perf_counter() - began):,.0f}/s"
    try:
        # the kernel counts the bytes that a reader asks for, whatever library it uses
        counted = int(Path("/proc/self/io").read_text().split()[1])
        total = sum(Path(file).stat().st_size for file in files)
    except (OSError, ValueError, IndexError):
        return text
    return f"{min(counted / total, 1):.0%}, {text}" if total else text


def _sparse_as_declared(task: ReadTask, examples: Examples) -> Examples:
    """Make inputs that were read sparse or dense, as the dataset declares them."""
    inputs = {}
    for name, array in examples.inputs.items():
        sparse = isinstance(array, SparseImages)
        if name in task.inputs:
            sparse = task.inputs[name].sparse
        inputs[name] = _without_zero_hits(array) if sparse else np.asarray(array)
    return replace(examples, inputs=inputs)


def _without_zero_hits(array: Array) -> Array:
    """Return images as sparse images without hits of zero; other arrays stay unchanged."""
    if not isinstance(array, SparseImages):
        dense = np.asarray(array)
        return SparseImages.from_dense(dense) if dense.ndim == 4 else dense
    rows, positions, values = array.hits()
    if (values != 0).all():
        return array
    return SparseImages.from_hits(rows, positions, values, n=len(array), image=array.image)


def _named_columns(examples: Examples) -> Iterator[tuple[str, Array]]:
    for name, array in examples.inputs.items():
        yield f"input.{name}", array
    for name, array in examples.spectators.items():
        yield f"spectator.{name}", np.asarray(array)
    yield "ids", np.asarray(examples.ids, np.int64)
    if examples.labels is not None:
        yield "labels", np.asarray(examples.labels, np.int64)
    if examples.weights is not None:
        yield "weights", np.asarray(examples.weights, np.float64)


def _check_chunk(task: ReadTask, role: str, examples: Examples) -> None:
    wrong = [_wrong_input(name, declared, examples) for name, declared in task.inputs.items()]
    wrong += [_wrong_ids(examples), _wrong_weights(examples)]
    if role != "unlabelled":
        wrong.append(_wrong_labels(examples, len(task.classes)))
    for complaint in filter(None, wrong):
        msg = f"{task.dataset}: {complaint}"
        raise DataError(msg)


def _wrong_input(name: str, declared: DeclaredInput, examples: Examples) -> str:
    if name not in examples.inputs:
        return f"input '{name}' is declared, but was not read"
    array = examples.inputs[name]
    if array.shape[1:] != declared.shape:
        return f"'{name}' is {array.shape[1:]}; {declared.shape} is declared"
    rows = _rows_not_finite(array)
    return f"'{name}' of example {examples.ids[rows[0]]} is not finite" if len(rows) else ""


def _rows_not_finite(array: Array) -> NDArray[np.int64]:
    """Return the rows of an array with a value that is not finite."""
    if array.dtype.kind != "f":
        return np.empty(0, np.int64)
    if isinstance(array, SparseImages):
        rows, _, values = array.hits()
        return rows[~np.isfinite(values)]
    finite = np.isfinite(array)
    if finite.all():
        return np.empty(0, np.int64)
    return np.flatnonzero(~finite.reshape(len(array), -1).all(1))


def _wrong_ids(examples: Examples) -> str:
    kind = np.asarray(examples.ids).dtype
    return "" if kind.kind in "iu" else f"ids are {kind}; whole numbers are expected"


def _wrong_weights(examples: Examples) -> str:
    if examples.weights is None:
        return ""
    weights = np.asarray(examples.weights)
    fine = (np.isfinite(weights) & (weights >= 0)).all()
    return "" if fine else "weights must be finite and at least 0"


def _wrong_labels(examples: Examples, classes: int) -> str:
    if examples.labels is None:
        return "examples of this role need labels"
    labels = np.asarray(examples.labels)
    if len(labels) and not -1 <= labels.min() <= labels.max() < classes:
        allowed = f"0 to {classes - 1} expected, or -1 for an unknown class"
        return f"labels from {labels.min()} to {labels.max()}; {allowed}"
    return ""
