"""Preparation, in a worker of its own: ``(task, place) -> facts`` for each of three stages.

``read`` converts the original files once, ``split`` decides which rows are in which part, ``inputs``
lays the inputs of each part side by side. A method's process is given the folder of ``inputs``
alone: it holds the test part's inputs and ids, and no test label. Inputs are never held whole: what
is in memory at a time is what a reader yields, or CHUNK_BYTES.
"""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench import arrays, splits
from hepbench.cache import stamp
from hepbench.errors import DataError, DataWarning, PluginError, ProtocolError
from hepbench.resolve import resolve
from hepbench.sparse import SparseImages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from hepbench.examples import Examples
    from hepbench.specs import Array, Inputs
    from hepbench.worker import Place

Facts = dict[str, Any]

CHUNK_ROWS = 200_000

CHUNK_BYTES = 50_000_000
"""Of the inputs of a chunk, were they dense: views may make them so."""

AGAIN = 4
"""Rows of each chunk that a view is given again, the first by itself and the others together."""


def read(task: Mapping[str, Any], place: Place) -> Facts:
    """Convert a dataset's files, chunk by chunk, to one stored array for each name and role."""
    files: dict[str, arrays.Growing | arrays.GrowingImages] = {}
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
                files[path] = arrays.growing(place.folder, path, array)
            files[path].append(array)
        counts[role] = counts.get(role, 0) + len(examples)
        place.tell(how_far(task["files"], sum(counts.values()), began))
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
    for name, array in examples.targets.items():
        yield f"target.{name}", np.asarray(array)
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


def split(task: Mapping[str, Any], place: Place) -> Facts:
    """Decide which rows are in which part; the test part's labels are kept under seal here."""
    source = place.parents[0]
    ids, labels = _rows(source, "ids"), _rows(source, "labels")
    check_ids(task["dataset"], ids)
    official = official_rows(task, ids, _count(source, "test"))
    parts = splits.divide(labels, ids, shares=task["shares"], seed=task["seed"], official=official)
    for part, rows in parts.items():
        limit = task["limits"][f"n_{part}"]
        parts[part] = np.sort(rows[: limit or len(rows)])
    check_classes(task, parts, labels)
    columns = sorted(p.name.split(".", 1)[1][:-4] for p in source.glob("labelled.*.npy"))
    kept = [name for name in columns if not name.startswith("input.")]
    for part, rows in parts.items():
        names = {name: np.ascontiguousarray(_rows(source, name)[rows]) for name in kept}
        np.savez(place.folder / f"{part}.npz", allow_pickle=False, rows=rows, **names)
    hashes = _hashes(source, "labelled")
    # inputs, ids, labels and weights: what a figure depends on
    whole = [hashes, *(_rows(source, name) for name in kept)]
    by_part = {part: hashes[rows] for part, rows in parts.items()}
    if _count(source, "unlabelled"):
        by_part["unlabelled"] = _hashes(source, "unlabelled")
    return {
        **{f"n_{part}": len(rows) for part, rows in parts.items()},
        "n_unlabelled": _count(source, "unlabelled"),
        "split_hash": splits.split_hash({part: ids[rows] for part, rows in parts.items()}),
        "contents": splits.contents(whole),
        "test_contents": splits.contents([column[parts["test"]] for column in whole]),
        "duplicates": splits.duplicates(by_part),
    }


def _rows(source: Path, name: str) -> NDArray[Any]:
    """Return a column of the labelled examples, an official test file's behind them."""
    labelled = arrays.mapped(source / f"labelled.{name}.npy")
    test = source / f"test.{name}.npy"
    return np.concatenate([labelled, arrays.mapped(test)]) if test.exists() else labelled


def read_inputs(source: Path, role: str) -> dict[str, Array]:
    """Return the inputs of a role by name; of the labelled examples as ``_rows`` orders them."""
    found = arrays.stored(source, f"{role}.input.")
    test = arrays.stored(source, "test.input.") if role == "labelled" else {}
    return {
        name: arrays.Joined([arrays.opened(path), arrays.opened(test[name])])
        if name in test
        else arrays.opened(path)
        for name, path in found.items()
    }


def spans(inputs: Mapping[str, Array], n: int) -> Iterator[slice]:
    """Yield the rows of chunks of which all inputs together fit into CHUNK_BYTES."""
    size = sum(math.prod(a.shape[1:]) * a.dtype.itemsize for a in inputs.values())
    step = max(1, min(CHUNK_ROWS, CHUNK_BYTES // max(size, 1)))
    return (slice(i, min(i + step, n)) for i in range(0, n, step))


def _count(source: Path, role: str) -> int:
    path = source / f"{role}.ids.npy"
    return len(arrays.mapped(path)) if path.exists() else 0


def official_rows(
    task: Mapping[str, Any], ids: NDArray[np.int64], extra: int
) -> NDArray[np.bool_] | None:
    """Return which rows are the official test set, if there is one: the last ``extra``, or those
    that the dataset's function says.
    """
    if extra:
        return np.arange(len(ids)) >= len(ids) - extra
    if not task["official"]:
        return None
    official = resolve(task["official"])(ids, **task["params"])
    return None if official is None else np.asarray(official, bool)


def check_ids(dataset: str, ids: NDArray[np.int64]) -> None:
    """Raise PluginError where one id stands for two examples."""
    ordered = np.sort(ids)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        msg = f"{dataset}: id {repeated[0]} stands for more than one example; ids must differ"
        raise PluginError(msg)


def check_classes(
    task: Mapping[str, Any], parts: Mapping[str, NDArray[np.int64]], labels: NDArray[np.int64]
) -> None:
    """Raise DataError where a part holds no example of one of the classes."""
    for part, rows in parts.items():
        present = np.flatnonzero(np.bincount(labels[rows]))
        for label, name in enumerate(task["classes"]):
            if label not in present:
                msg = f"{task['dataset']}: the {part} part holds no example of class '{name}'"
                raise DataError(msg)


def _hashes(source: Path, role: str) -> NDArray[np.uint64]:
    """Return a hash of all inputs of each example; of the labelled, as ``_rows`` orders them."""
    columns = read_inputs(source, role)
    n = len(next(iter(columns.values())))
    chunks = ([column[rows] for column in columns.values()] for rows in spans(columns, n))
    return np.concatenate([splits.row_hashes(chunk) for chunk in chunks])


def inputs(task: Mapping[str, Any], place: Place) -> Facts:
    """Lay out the inputs of each part, views applied, in a folder of its own."""
    (source, division), folder = place.parents, place.folder
    for part in splits.PARTS:
        with np.load(division / f"{part}.npz", allow_pickle=False) as kept:
            columns = dict(kept)
        rows = columns.pop("rows")
        if part == "test":
            columns = {"ids": columns["ids"]}
        (folder / part).mkdir()
        for name, array in columns.items():
            np.save(folder / part / f"{name}.npy", array, allow_pickle=False)
        _lay_out(task, source, rows, folder / part)
    if n := _count(source, "unlabelled"):
        (folder / "unlabelled").mkdir()
        ids = arrays.mapped(source / "unlabelled.ids.npy")
        np.save(folder / "unlabelled" / "ids.npy", ids, allow_pickle=False)
        _lay_out(task, source, np.arange(n), folder / "unlabelled", role="unlabelled")
    return {}


def _lay_out(
    task: Mapping[str, Any],
    source: Path,
    rows: NDArray[np.int64],
    folder: Path,
    role: str = "labelled",
) -> None:
    whole = read_inputs(source, role)
    files: dict[str, arrays.Growing | arrays.GrowingImages] = {}
    for chunk in spans(whole, len(rows)):
        chosen = {name: array[rows[chunk]] for name, array in whole.items()}
        for name, array in viewed(task, chosen).items():
            if name not in files:
                files[name] = arrays.growing(folder, f"input.{name}", array)
            files[name].append(array)
    for file in files.values():
        file.close()


def viewed(task: Mapping[str, Any], whole: Inputs) -> dict[str, Array]:
    """Return the inputs that are wanted of what was read, as views make them."""
    found: dict[str, Array] = {}
    for name in task["inputs"]:
        if name in found:
            continue
        if name in task["views"]:
            found |= _view(task, name, whole)
        else:
            found[name] = whole[name]
    return {name: found[name] for name in task["inputs"]}


def _as_read(array: Array, read: Array | None) -> Array:
    """Return what a view made, sparse where the input whose place it takes is."""
    if isinstance(array, SparseImages):
        return array
    dense = np.asarray(array)
    sparse = isinstance(read, SparseImages) and dense.ndim == 4
    return SparseImages.from_dense(dense) if sparse else dense


def _view(task: Mapping[str, Any], name: str, whole: Inputs) -> dict[str, Array]:
    """Apply a view to a chunk, and to some of its rows again: none may notice the others.

    Raises:
        ProtocolError: it does notice. A mean over a chunk would be one over test examples too.
    """
    params = task["params"]
    handed = task.get("handed", {}).get(name, params)
    view = partial(resolve(task["views"][name]), **{key: params[key] for key in handed})
    n = len(next(iter(whole.values())))
    rows = np.unique(np.linspace(0, n - 1, AGAIN).astype(np.int64))
    pieces = [piece for piece in np.split(rows, [1]) if len(piece)]
    # taken first: a view may write into what it is given
    few = [{key: array[piece] for key, array in whole.items()} for piece in pieces]
    made = {key: _as_read(array, whole.get(key)) for key, array in view(whole).items()}
    for piece, some in zip(pieces, few, strict=True):
        again = view(some)
        if not all(_alike(np.asarray(a[piece]), np.asarray(again[key])) for key, a in made.items()):
            msg = (
                f"{task['dataset']}: view '{name}' gives an example other values by itself than "
                f"among {n} examples; it must treat each by itself"
            )
            raise ProtocolError(msg)
    return made


def _alike(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether two arrays are equal but for rounding."""
    if a.shape != b.shape or a.dtype.kind not in "fiub":
        return a.shape == b.shape and bool((a == b).all())
    one, other = a.astype(np.float64), b.astype(np.float64)
    scale = abs(one[np.isfinite(one)]).max(initial=0)
    return np.allclose(one, other, rtol=1e-4, atol=1e-6 * scale, equal_nan=True)
