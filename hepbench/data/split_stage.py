"""The split stage: assigns examples to training, validation and test parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.data import duplicates, splits
from hepbench.data.leaks.audit import LeakAudit
from hepbench.data.messages import SplitResult, SplitTask
from hepbench.data.stored_parts import column, count, read_inputs, spans, weights
from hepbench.registry.resolve import resolve
from hepbench.specs.errors import DataError, PluginError
from hepbench.storage.workspace import stage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from hepbench.storage.workspace import Workspace


@stage(SplitTask)
def split(task: SplitTask, workspace: Workspace) -> SplitResult:
    """Stage: assign examples to parts; the test labels stay in this stage's folder."""
    source = workspace.parents[0]
    ids, labels = column(source, "ids"), column(source, "labels")
    check_ids(task.dataset, ids)
    official = official_rows(task, ids, count(source, "test"))
    parts = splits.divide(labels, ids, fractions=task.fractions, seed=task.seed, official=official)
    for part, rows in parts.items():
        limit = task.limits[f"n_{part}"]
        parts[part] = np.sort(rows[: limit or len(rows)])
    check_classes(task, parts, labels)
    columns = _columns(source)
    if "weights" in columns:
        _check_weights(task, parts, labels, columns["weights"])
    for part, rows in parts.items():
        kept = {name: np.ascontiguousarray(values[rows]) for name, values in columns.items()}
        if "weights" in kept and np.isnan(kept["weights"]).all():
            del kept["weights"]
        np.savez(workspace.folder / f"{part}.npz", allow_pickle=False, rows=rows, **kept)
    audit = LeakAudit(task.classes)
    hashes = _hash_of_each_example(source, "labelled", audit, ids=ids, labels=labels)
    # a result depends on inputs, ids, labels and weights
    whole = [hashes, *columns.values()]
    by_part = {part: hashes[rows] for part, rows in parts.items()}
    if count(source, "unlabelled"):
        by_part["unlabelled"] = _hash_of_each_example(source, "unlabelled", audit)
    return SplitResult(
        n_train=len(parts["train"]),
        n_validation=len(parts["validation"]),
        n_test=len(parts["test"]),
        n_unlabelled=count(source, "unlabelled"),
        split_hash=splits.split_hash({part: ids[rows] for part, rows in parts.items()}),
        contents=duplicates.contents(whole),
        test_contents=duplicates.contents([values[parts["test"]] for values in whole]),
        duplicates=duplicates.duplicates(by_part),
        leaks=audit.leaks(parts),
    )


def _check_weights(
    task: SplitTask,
    parts: Mapping[str, NDArray[np.int64]],
    labels: NDArray[np.int64],
    given: NDArray[np.float64],
) -> None:
    """Raise DataError if the event weights of a class add up to nothing in a part."""
    for part, rows in parts.items():
        sums = np.bincount(labels[rows], given[rows], len(task.classes))
        # the sum is NaN in a part without weights
        for name, total in zip(task.classes, sums, strict=True):
            if total <= 0 or total == np.inf:
                msg = (
                    f"{task.dataset}: the weights of class '{name}' in the {part} part add up to "
                    f"{total:.3g}; a finite number above 0 is expected"
                )
                raise DataError(msg)


def _columns(source: Path) -> dict[str, NDArray[Any]]:
    """Return the stored columns of labelled and test examples, other than inputs."""
    names = {path.name.split(".", 1)[1][:-4] for path in source.glob("labelled.*.npy")}
    found = {name: column(source, name) for name in names - {"weights"} if name[:6] != "input."}
    if (given := weights(source)) is not None:
        found["weights"] = given
    return {name: found[name] for name in sorted(found)}


def official_rows(task: SplitTask, ids: NDArray[np.int64], extra: int) -> NDArray[np.int8] | None:
    """Return 1 for examples of the official test set, -1 for examples in no part, else 0.

    The last ``extra`` rows are the test set, or the dataset's function decides. None: the dataset
    has no official test set.

    Raises:
        PluginError: the function returns something else.
    """
    if extra:
        return (np.arange(len(ids)) >= len(ids) - extra).astype(np.int8)
    if not task.official:
        return None
    official = resolve(task.official)(ids, **task.params)
    if official is None:
        return None
    rows = np.asarray(official)
    if rows.shape != ids.shape or not set(np.unique(rows).tolist()) <= {-1, 0, 1}:
        msg = (
            f"{task.dataset}: {task.official} returns {rows.dtype} {rows.shape}; one of 1 (test), 0 and "
            f"-1 (in no part) for each of {len(ids)} examples is expected"
        )
        raise PluginError(msg)
    return rows.astype(np.int8)


def check_ids(dataset: str, ids: NDArray[np.int64]) -> None:
    """Raise PluginError if two examples of a dataset have the same id."""
    ordered = np.sort(ids)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        msg = f"{dataset}: two examples have the id {repeated[0]}; ids must differ"
        raise PluginError(msg)


def check_classes(
    task: SplitTask, parts: Mapping[str, NDArray[np.int64]], labels: NDArray[np.int64]
) -> None:
    """Raise DataError if a part (such as test) has no example of one of the classes."""
    for part, rows in parts.items():
        present = np.flatnonzero(np.bincount(labels[rows]))
        for label, name in enumerate(task.classes):
            if label not in present:
                msg = f"{task.dataset}: the {part} part has no example of class '{name}'"
                raise DataError(msg)


def _hash_of_each_example(
    source: Path, role: str, audit: LeakAudit, **known: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Return a hash of the inputs of each example that was read, and show all to the leak audit."""
    columns = read_inputs(source, role)
    n = len(next(iter(columns.values())))
    found = []
    for rows in spans(columns, n):
        chunk = {name: column[rows] for name, column in columns.items()}
        found.append(duplicates.row_hashes(list(chunk.values())))
        audit.add(role, chunk, found[-1], **{name: each[rows] for name, each in known.items()})
    return np.concatenate(found)
