"""Evaluation: scores are joined to labels here, once, in the parent process."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench import consistency, splits
from hepbench.errors import UndefinedMetricError
from hepbench.records import Value
from hepbench.resolve import resolve
from hepbench.specs import Measured, Predictions
from hepbench.stages import kept_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from hepbench.registry import Entry

Arrays = dict[str, "NDArray[Any]"]


def chosen_rows(scores: Path) -> NDArray[np.int64] | None:
    """Return which training examples were scored where these are not those that all cells keep."""
    with np.load(scores, allow_pickle=False) as arrays:
        return arrays["rows"] if "rows" in arrays.files else None


def labels_of(split: Path, chosen: NDArray[np.int64] | None = None) -> Arrays:
    """Return ids, labels, weights and targets of the examples whose scores are kept, by part.

    Names are ``<part>.<column>``; this is what stands beside the predictions in the results.

    Args:
        split: the folder of the stage that divided the examples.
        chosen: see ``chosen_rows``.
    """
    found: Arrays = {}
    for part in splits.PARTS:
        with np.load(split / f"{part}.npz", allow_pickle=False) as columns:
            kept: NDArray[np.int64] | slice = slice(None)
            if part == "train":
                kept = kept_rows(columns["ids"]) if chosen is None else chosen
            names = [name for name in columns.files if name != "rows"]
            found |= {f"{part}.{name}": columns[name][kept] for name in names}
    return found


def join(labels: Mapping[str, NDArray[Any]], scores: Path) -> dict[str, Predictions]:
    """Return the predictions of each part; those of train and test know the validation part's."""
    with np.load(scores, allow_pickle=False) as arrays:
        beside = {"trained", "rows"}
        found = {n: arrays[n].astype(np.float64) for n in arrays.files if n not in beside}
        if "trained" in arrays.files:
            # a training example whose label was withheld is none
            rows = arrays["trained"]
            seen = {n: a[rows] for n, a in labels.items() if n.startswith("train.")}
            labels = {**labels, **seen}
    validation = _part(labels, found, "validation", None)
    others = {part: _part(labels, found, part, validation) for part in ("train", "test")}
    return {**others, "validation": validation}


def _part(
    labels: Mapping[str, NDArray[Any]],
    scores: Mapping[str, NDArray[np.float64]],
    part: str,
    validation: Predictions | None,
) -> Predictions:
    def named(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, Any]:
        return {n[len(prefix) :]: _sealed(a) for n, a in arrays.items() if n.startswith(prefix)}

    return Predictions(
        labels=_sealed(labels[f"{part}.labels"]),
        scores=_sealed(scores[part]),
        weights=_sealed(labels.get(f"{part}.weights")),
        ids=_sealed(labels[f"{part}.ids"]),
        targets=named(labels, f"{part}.target."),
        values=named(scores, f"{part}.value."),
        validation=validation,
    )


def _sealed(array: NDArray[Any] | None) -> NDArray[Any] | None:
    """Make an array read-only: one plugin's metric must not change what others are given."""
    if array is not None:
        array.flags.writeable = False
    return array


def measure(metrics: Iterable[Entry], predictions: Predictions) -> dict[str, Value]:
    """Return every metric of one part; one that has no value says why."""
    classes = predictions.scores.shape[1]
    return {
        entry.spec.name: _value(entry.spec.compute, predictions)
        for entry in metrics
        if entry.spec.classes in {None, classes}
    }


def _value(compute: str, predictions: Predictions) -> Value:
    try:
        found = resolve(compute)(predictions)
        measured = found if isinstance(found, Measured) else Measured(float(found))
        errors = (measured.stderr, measured.low, measured.high)
        stderr, low, high = (None if error is None else float(error) for error in errors)
        value = float(measured.value)
    except UndefinedMetricError as error:
        return Value(undefined=str(error))
    except Exception as error:  # noqa: BLE001 - one plugin's metric must not cost the record
        return Value(undefined=f"{type(error).__name__}: {error}")
    if not math.isfinite(value):
        return Value(undefined=f"is {value}; a metric is finite or undefined")
    return Value(value, stderr, low, high, bool(measured.limit))


def oddities(metrics: Iterable[Entry], predictions: Mapping[str, Predictions]) -> list[str]:
    """Return what is odd about a cell's figures, ``name: what``."""
    found = []
    for threshold in (None, 0.5):
        if odd := consistency.accuracy_fits_auc(predictions["test"], threshold=threshold):
            found.append(f"accuracy: {odd}")
            break
    for entry in metrics:
        audit = audited(entry.spec.compute, entry.spec.classes or 2)
        found += [f"metric {entry.spec.name}: {odd}" for odd in audit]
    return found


@lru_cache
def audited(compute: str, classes: int) -> tuple[str, ...]:
    """Return what is odd about a plugin's metric; the core's own are tested instead."""
    if compute.startswith("hepbench."):
        return ()
    return tuple(consistency.audit(resolve(compute), classes=classes))
