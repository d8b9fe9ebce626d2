"""Preparation, in a worker of its own: ``(task, place) -> facts`` for each of three stages.

``read`` converts the original files once, ``split`` decides which rows are in which part, ``inputs``
lays the inputs of each part side by side. A method's process is given the folder of ``inputs``
alone: it holds the test part's inputs and ids, and no test label. Inputs are never held whole: what
is in memory at a time is what a reader yields, or CHUNK_BYTES.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.registry.resolve import resolve
from hepbench.specs.errors import DataError, DataWarning
from hepbench.specs.sparse_images import SparseImages
from hepbench.storage import npy_files
from hepbench.storage.digest_cache import stamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from hepbench.specs.training_data import Examples
    from hepbench.specs.types import Array
    from hepbench.storage.workspace import Workspace


Facts = dict[str, Any]


def read(task: Mapping[str, Any], workspace: Workspace) -> Facts:
    """Convert a dataset's files, chunk by chunk, to one stored array for each name and role."""
    files: dict[str, npy_files.NpyWriter | npy_files.SparseImagesWriter] = {}
    counts: dict[str, int] = {}
    began = time.perf_counter()
    odd: list[str] = []
    for role, examples in read_chunks(task, odd):
        for name, array in _columns(examples):
            path = f"{role}.{name}"
            if path not in files:
                if counts.get(role):
                    msg = f"{task['dataset']}: '{name}' is missing from earlier {role} examples"
                    raise DataError(msg)
                files[path] = npy_files.new_writer(workspace.folder, path, array)
            files[path].append(array)
        counts[role] = counts.get(role, 0) + len(examples)
        workspace.report_progress(how_far(task["files"], sum(counts.values()), began))
    for file in files.values():
        file.close()
    return {"counts": counts, "warnings": odd}


def read_chunks(task: Mapping[str, Any], odd: list[str]) -> Iterator[tuple[str, Examples]]:
    """Yield what a dataset's reader yields, once it is found to be as declared.

    Args:
        task: see ``plan.reading``.
        odd: what the reader finds odd is added to it.

    Raises:
        DataError: the files are damaged or laid out otherwise, a value is not finite, no example is
            labelled, or a file is no longer the one whose fingerprint was taken.
    """
    folder = [Path(task["folder"])] if task["folder"] else []
    labelled = 0
    for role, given in _heard(resolve(task["target"])(*folder, **task["params"]), odd):
        examples = _as_declared(task, given)
        _check_chunk(task, role, examples)
        labelled += len(examples) if role == "labelled" else 0
        yield role, examples
    if not labelled:
        msg = f"{task['dataset']}: no labelled example was read"
        raise DataError(msg)
    for path, before in task.get("stamps", {}).items():
        if _changed(Path(path), before):
            msg = f"{task['dataset']}: {Path(path).name} was changed while it was read; run again"
            raise DataError(msg)


def _changed(path: Path, before: Sequence[int]) -> bool:
    try:
        return stamp(path) != before
    except OSError:
        return True


def _heard(given: Iterable[tuple[str, Examples]], odd: list[str]) -> Iterator[tuple[str, Examples]]:
    """Yield the chunks, and keep what their reader says is odd about the files."""
    waiting = iter(given)
    while True:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            chunk = next(waiting, None)
        for warning in told:
            if issubclass(warning.category, DataWarning):
                odd.append(f"data: {warning.message}")
            else:
                warnings.warn_explicit(
                    warning.message, warning.category, warning.filename, warning.lineno
                )
        if chunk is None:
            return
        yield chunk


def how_far(files: Sequence[str], rows: int, began: float) -> str:
    """Say how many examples were read, and which part of the files' bytes where that is known."""
    text = f"{rows:,} examples, {rows / (time.perf_counter() - began):,.0f}/s"
    try:
        # whatever reader this is, the kernel counts the bytes that it asked for
        counted = int(Path("/proc/self/io").read_text().split()[1])
        total = sum(Path(file).stat().st_size for file in files)
    except (OSError, ValueError, IndexError):
        return text
    return f"{min(counted / total, 1):.0%}, {text}" if total else text


def _as_declared(task: Mapping[str, Any], examples: Examples) -> Examples:
    """Return examples with what is declared sparse as sparse images, all else dense."""
    inputs = {}
    for name, array in examples.inputs.items():
        sparse = isinstance(array, SparseImages)
        if name in task["inputs"]:
            sparse = task["inputs"][name].get("sparse", False)
        inputs[name] = _sparse(array) if sparse else np.asarray(array)
    return replace(examples, inputs=inputs)


def _sparse(array: Array) -> Array:
    """Return sparse images without hits of zero; what is no images stays, to be complained of."""
    if not isinstance(array, SparseImages):
        dense = np.asarray(array)
        return SparseImages.from_dense(dense) if dense.ndim == 4 else dense
    rows, positions, values = array.hits()
    if (values != 0).all():
        return array
    return SparseImages.from_hits(rows, positions, values, n=len(array), image=array.image)


def _columns(examples: Examples) -> Iterator[tuple[str, Array]]:
    for name, array in examples.inputs.items():
        yield f"input.{name}", array
    for name, array in examples.spectators.items():
        yield f"spectator.{name}", np.asarray(array)
    yield "ids", np.asarray(examples.ids, np.int64)
    if examples.labels is not None:
        yield "labels", np.asarray(examples.labels, np.int64)
    if examples.weights is not None:
        yield "weights", np.asarray(examples.weights, np.float64)


def _check_chunk(task: Mapping[str, Any], role: str, examples: Examples) -> None:
    wrong = [_wrong_input(name, declared, examples) for name, declared in task["inputs"].items()]
    wrong += [_wrong_ids(examples), _wrong_weights(examples)]
    if role != "unlabelled":
        wrong.append(_wrong_labels(examples, len(task["classes"])))
    for complaint in filter(None, wrong):
        msg = f"{task['dataset']}: {complaint}"
        raise DataError(msg)


def _wrong_input(name: str, declared: Mapping[str, Any], examples: Examples) -> str:
    if name not in examples.inputs:
        return f"input '{name}' is declared and was not read"
    array = examples.inputs[name]
    if array.shape[1:] != tuple(declared["shape"]):
        return f"'{name}' is {array.shape[1:]}; {tuple(declared['shape'])} is declared"
    rows = _not_finite(array)
    return f"'{name}' of example {examples.ids[rows[0]]} is not finite" if len(rows) else ""


def _not_finite(array: Array) -> NDArray[np.int64]:
    """Return the rows that hold such a value."""
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
        return f"labels from {labels.min()} to {labels.max()}; 0 to {classes - 1} expected"
    return ""
