"""Joining of stored scores and labels to predictions, once, in the parent process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from hepbench.data import splits
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
    """Return the rows of training examples to evaluate; None for the usual selection."""
    with np.load(scores, allow_pickle=False) as arrays:
        return arrays["rows"] if "rows" in arrays.files else None


def labels_of(split: Path, chosen: NDArray[np.int64] | None = None) -> Arrays:
    """Return ids, labels, weights and spectators of the examples whose scores are kept, by part.

    Names are ``<part>.<column>``; results store them beside the predictions.

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
    """Return the predictions of each part, with the scores of a file of the cache."""
    with np.load(scores, allow_pickle=False) as arrays:
        return joined(labels, dict(arrays))


def joined(
    labels: Mapping[str, NDArray[Any]], scores: Mapping[str, NDArray[Any]]
) -> dict[str, Predictions]:
    """Return the predictions of each part that is there; train and test refer to validation.

    Where validation was left out when results were packed, what asks for it has no value.
    """
    beside = {"trained", "rows"}
    found = {_present(n): a.astype(np.float64) for n, a in scores.items() if n not in beside}
    if "trained" in scores:
        # examples whose labels were withheld were not trained on
        rows = scores["trained"]
        seen = {n: a[rows] for n, a in labels.items() if n.startswith("train.")}
        labels = {**labels, **seen}
    left_out = cast("Predictions", LeftOut())
    validation = _part(labels, found, "validation", None) if "validation" in found else left_out
    parts: dict[str, Predictions] = {}
    for part in sorted(found.keys() & {"train", "test"}):
        parts[part] = _part(labels, found, part, validation)
    if validation is not left_out:
        parts["validation"] = validation
    return parts


LEFT_OUT = "the validation part was left out when the results were packed"


class LeftOut:
    """Stands for a part that was left out; whatever uses it has no value, rather than another."""

    def __getattr__(self, name: str) -> Any:
        raise UndefinedMetricError(LEFT_OUT)

    def __bool__(self) -> bool:
        raise UndefinedMetricError(LEFT_OUT)


def _present(name: str) -> str:
    """Return today's name of scores or values to evaluate: older predictions have others."""
    first, dot, value = name.rpartition(".")
    return f"{first}{dot}{LOSS_VALUES.get(value, value)}"


def _part(
    labels: Mapping[str, NDArray[Any]],
    scores: Mapping[str, NDArray[np.float64]],
    part: str,
    validation: Predictions | None,
) -> Predictions:
    def named(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, Any]:
        return {n[len(prefix) :]: _read_only(a) for n, a in arrays.items() if n.startswith(prefix)}

    return Predictions(
        labels=_read_only(labels[f"{part}.labels"]),
        scores=_read_only(scores[part]),
        weights=_read_only(labels.get(f"{part}.weights")),
        ids=_read_only(labels[f"{part}.ids"]),
        spectators={n: _read_only(a) for n, a in spectators(labels, f"{part}.").items()},
        values=named(scores, f"{part}.value."),
        validation=validation,
    )


def _read_only(array: NDArray[Any] | None) -> NDArray[Any] | None:
    """Make an array read-only: the metric of one plugin must not change the input of others."""
    if array is not None:
        array.flags.writeable = False
    return array
