"""Joining of stored scores and labels to predictions, once, in the parent process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.data import splits
from hepbench.data.splits import kept_train_rows
from hepbench.data.stored_parts import spectators
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
    """Return the predictions of each part; train and test hold a reference to validation."""
    with np.load(scores, allow_pickle=False) as arrays:
        beside = {"trained", "rows"}
        found = {_present(n): arrays[n].astype(np.float64) for n in arrays.files if n not in beside}
        if "trained" in arrays.files:
            # examples whose labels were withheld were not trained on
            rows = arrays["trained"]
            seen = {n: a[rows] for n, a in labels.items() if n.startswith("train.")}
            labels = {**labels, **seen}
    validation = _part(labels, found, "validation", None)
    others = {part: _part(labels, found, part, validation) for part in ("train", "test")}
    return {**others, "validation": validation}


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
