"""Joins stored scores with labels to predictions, in the parent process only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from hepbench.data import event_weights, splits
from hepbench.data.splits import kept_train_rows
from hepbench.data.stored_parts import spectators
from hepbench.specs.errors import UndefinedMetricError
from hepbench.specs.metric import Predictions
from hepbench.storage.old_records import LOSS_VALUES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


Arrays = dict[str, "NDArray[Any]"]


def chosen_rows(scores: Path) -> NDArray[np.int64] | None:
    """Return which training examples have scores to evaluate; None means the usual choice."""
    with np.load(scores, allow_pickle=False) as arrays:
        return arrays["rows"] if "rows" in arrays.files else None


def labels_of(split: Path, chosen: NDArray[np.int64] | None = None) -> Arrays:
    """Return labels and other columns of the examples to evaluate, as ``<part>.<column>``.

    They are ids, labels, weights and spectators; results store them beside the predictions.

    Args:
        split: folder of the split stage.
        chosen: see ``chosen_rows``.
    """
    found: Arrays = {}
    for part in splits.PARTS:
        with np.load(split / f"{part}.npz", allow_pickle=False) as columns:
            kept: NDArray[np.int64] | slice = slice(None)
            if part == "train":
                kept = kept_train_rows(columns["ids"]) if chosen is None else chosen
            names = [name for name in columns.files if name != "rows"]
            found |= {f"{part}.{name}": columns[name][kept] for name in names}
    return found


def join(labels: Mapping[str, NDArray[Any]], scores: Path) -> dict[str, Predictions]:
    """Join labels with the scores in a file of the cache to predictions of each part."""
    with np.load(scores, allow_pickle=False) as arrays:
        return joined(labels, dict(arrays))


def joined(
    labels: Mapping[str, NDArray[Any]], scores: Mapping[str, NDArray[Any]]
) -> dict[str, Predictions]:
    """Join labels with scores to predictions of each stored part.

    Train and test refer to validation. If validation was left out of packed results, metrics that
    need it have no value.
    """
    beside = {"trained", "rows"}
    found = {_renamed_value(n): a.astype(np.float64) for n, a in scores.items() if n not in beside}
    if "trained" in scores:
        # examples whose labels were withheld were not trained on
        rows = scores["trained"]
        seen = {n: a[rows] for n, a in labels.items() if n.startswith("train.")}
        labels = {**labels, **seen}
    left_out = cast("Predictions", LeftOut())
    validation = (
        _predictions_of_part(labels, found, "validation", None)
        if "validation" in found
        else left_out
    )
    parts: dict[str, Predictions] = {}
    for part in sorted(found.keys() & {"train", "test"}):
        parts[part] = _predictions_of_part(labels, found, part, validation)
    if validation is not left_out:
        parts["validation"] = validation
    return parts


LEFT_OUT = "the validation part was left out when the results were packed"


class LeftOut:
    """In place of predictions left out of packed results; metrics that use it have no value."""

    def __getattr__(self, name: str) -> Any:
        raise UndefinedMetricError(LEFT_OUT)

    def __bool__(self) -> bool:
        raise UndefinedMetricError(LEFT_OUT)


def _renamed_value(name: str) -> str:
    """Return the new name of a value that old predictions store under an old name."""
    first, dot, value = name.rpartition(".")
    return f"{first}{dot}{LOSS_VALUES.get(value, value)}"


def _predictions_of_part(
    labels: Mapping[str, NDArray[Any]],
    scores: Mapping[str, NDArray[np.float64]],
    part: str,
    validation: Predictions | None,
) -> Predictions:
    def named(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, Any]:
        return {n[len(prefix) :]: _read_only(a) for n, a in arrays.items() if n.startswith(prefix)}

    physical = labels.get(f"{part}.weights")
    return Predictions(
        labels=_read_only(labels[f"{part}.labels"]),
        scores=_read_only(scores[part]),
        weights=_read_only(event_weights.relative(physical)),
        physical_weights=_read_only(physical),
        ids=_read_only(labels[f"{part}.ids"]),
        spectators={n: _read_only(a) for n, a in spectators(labels, f"{part}.").items()},
        values=named(scores, f"{part}.value."),
        validation=validation,
    )


def _read_only(array: NDArray[Any] | None) -> NDArray[Any] | None:
    """Make an array of predictions read-only, so that no metric can change it."""
    if array is not None:
        array.flags.writeable = False
    return array
