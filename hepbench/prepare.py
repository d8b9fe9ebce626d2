"""Preparation, in a worker of its own: ``(task, place) -> facts`` for each of three stages.

``read`` converts the original files once, ``split`` decides which rows are in which part, ``inputs``
lays the inputs of each part side by side. A method's process is given the folder of ``inputs``
alone: it holds the test part's inputs and ids, and no test label.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench import arrays, splits
from hepbench.errors import DataError, PluginError
from hepbench.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from hepbench.examples import Examples
    from hepbench.worker import Place

Facts = dict[str, Any]

CHUNK_ROWS = 200_000


def read(task: Mapping[str, Any], place: Place) -> Facts:
    """Convert a dataset's files, chunk by chunk, to one npy file for each array and role."""
    function = resolve(task["target"])
    folder = [Path(task["folder"])] if task["folder"] else []
    chunks = function(*folder, **task["params"])
    files: dict[str, arrays.Growing] = {}
    counts: dict[str, int] = {}
    began = time.perf_counter()
    for role, examples in chunks:
        _check_chunk(task, role, examples)
        for name, array in _columns(examples):
            path = f"{role}.{name}"
            if path not in files:
                if counts.get(role):
                    msg = f"{task['dataset']}: '{name}' is missing from earlier {role} examples"
                    raise DataError(msg)
                files[path] = arrays.Growing(place.folder / f"{path}.npy", array)
            files[path].append(array)
        counts[role] = counts.get(role, 0) + len(examples)
        place.tell(_how_far(task["files"], sum(counts.values()), began))
    for file in files.values():
        file.close()
    if not counts.get("labelled"):
        msg = f"{task['dataset']}: no labelled example was read"
        raise DataError(msg)
    return {"counts": counts}


def _how_far(files: Sequence[str], rows: int, began: float) -> str:
    """Say how many examples were read, and which part of the files' bytes where that is known."""
    text = f"{rows:,} examples, {rows / (time.perf_counter() - began):,.0f}/s"
    try:
        # whatever reader this is, the kernel counts the bytes that it asked for
        counted = int(Path("/proc/self/io").read_text().split()[1])
        total = sum(Path(file).stat().st_size for file in files)
    except (OSError, ValueError, IndexError):
        return text
    return f"{min(counted / total, 1):.0%}, {text}" if total else text


def _columns(examples: Examples) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, array in examples.inputs.items():
        yield f"input.{name}", np.asarray(array)
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
    array = np.asarray(examples.inputs[name])
    if array.shape[1:] != tuple(declared["shape"]):
        return f"'{name}' is {array.shape[1:]}; {tuple(declared['shape'])} is declared"
    if array.dtype.kind != "f":
        return ""
    finite = np.isfinite(array)
    if finite.all():
        return ""
    row = int(np.flatnonzero(~finite.reshape(len(array), -1).all(1))[0])
    return f"'{name}' of example {examples.ids[row]} is not finite"


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
    _check_ids(task["dataset"], ids)
    parts = splits.divide(
        labels, ids, shares=task["shares"], seed=task["seed"], official=_official(task, source, ids)
    )
    for part, rows in parts.items():
        limit = task["limits"][f"n_{part}"]
        parts[part] = np.sort(rows[: limit or len(rows)])
    _check_classes(task, parts, labels)
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


def _column(source: Path, role: str, name: str) -> NDArray[Any]:
    return (
        _rows(source, name) if role == "labelled" else arrays.mapped(source / f"{role}.{name}.npy")
    )


def _count(source: Path, role: str) -> int:
    path = source / f"{role}.ids.npy"
    return len(arrays.mapped(path)) if path.exists() else 0


def _official(
    task: Mapping[str, Any], source: Path, ids: NDArray[np.int64]
) -> NDArray[np.bool_] | None:
    if extra := _count(source, "test"):
        return np.arange(len(ids)) >= len(ids) - extra
    if not task["official"]:
        return None
    official = resolve(task["official"])(ids, **task["params"])
    return None if official is None else np.asarray(official, bool)


def _check_ids(dataset: str, ids: NDArray[np.int64]) -> None:
    ordered = np.sort(ids)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        msg = f"{dataset}: id {repeated[0]} stands for more than one example; ids must differ"
        raise PluginError(msg)


def _check_classes(
    task: Mapping[str, Any], parts: Mapping[str, NDArray[np.int64]], labels: NDArray[np.int64]
) -> None:
    for part, rows in parts.items():
        present = np.flatnonzero(np.bincount(labels[rows]))
        for label, name in enumerate(task["classes"]):
            if label not in present:
                msg = f"{task['dataset']}: the {part} part holds no example of class '{name}'"
                raise DataError(msg)


def _hashes(source: Path, role: str) -> NDArray[np.uint64]:
    """Return a hash of all inputs of each example; of the labelled, as ``_rows`` orders them."""
    names = [p.name.split(".", 1)[1][:-4] for p in sorted(source.glob(f"{role}.input.*.npy"))]
    columns = [_column(source, role, name) for name in names]
    starts = range(0, len(columns[0]), CHUNK_ROWS)
    chunks = ([column[i : i + CHUNK_ROWS] for column in columns] for i in starts)
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
    names = [p.name.split(".")[2] for p in sorted(source.glob(f"{role}.input.*.npy"))]
    whole = {name: _column(source, role, f"input.{name}") for name in names}
    files: dict[str, arrays.Growing] = {}
    for i in range(0, len(rows), CHUNK_ROWS):
        chosen = {name: array[rows[i : i + CHUNK_ROWS]] for name, array in whole.items()}
        for name, array in _viewed(task, chosen).items():
            if name not in files:
                files[name] = arrays.Growing(folder / f"input.{name}.npy", array)
            files[name].append(array)
    for file in files.values():
        file.close()


def _viewed(task: Mapping[str, Any], whole: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for name in task["inputs"]:
        if name in found:
            continue
        if name in task["views"]:
            made = resolve(task["views"][name])(whole, **task["params"])
            found |= {k: np.asarray(v) for k, v in made.items()}
        else:
            found[name] = whole[name]
    return {name: found[name] for name in task["inputs"]}
