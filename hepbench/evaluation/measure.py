"""Computes the metrics of predictions, and warnings about them, in the parent process."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from hepbench.evaluation import consistency, metric_audit
from hepbench.registry.resolve import resolve
from hepbench.specs.errors import UndefinedMetricError
from hepbench.specs.metric import Measured, Predictions
from hepbench.specs.text import error_text
from hepbench.storage.records import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hepbench.registry.plugins import Entry


def measure(
    metrics: Iterable[Entry], parts: Mapping[str, Predictions]
) -> dict[str, dict[str, Value]]:
    """Compute all metrics of each part; one without a value contains the reason."""
    from threadpoolctl import threadpool_limits

    # the last digits of a long sum depend on the number of threads
    with threadpool_limits(1):
        return {part: _values(metrics, predictions) for part, predictions in parts.items()}


def _values(metrics: Iterable[Entry], predictions: Predictions) -> dict[str, Value]:
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
        return Value(undefined=error_text(error))
    except Exception as error:  # noqa: BLE001 - one plugin's metric must not cost the record
        return Value(undefined=f"{type(error).__name__}: {error_text(error)}")
    if not math.isfinite(value):
        return Value(undefined=f"the metric returned {value}; a finite number is expected")
    return Value(value, stderr, low, high, bool(measured.limit))


def row_warnings(
    metrics: Iterable[Entry],
    predictions: Mapping[str, Predictions],
    *,
    parameters: int | None = None,
) -> list[str]:
    """Return warnings about the metrics of a cell, each as ``name: problem``."""
    test = predictions["test"]
    if nothing := consistency.says_nothing(test, parameters=parameters):
        # an accuracy that does not fit such scores needs no other explanation
        found = [f"scores: {nothing}"]
    else:
        misfits = (consistency.accuracy_fits_auc(test, threshold=each) for each in (None, 0.5))
        first = next(filter(None, misfits), None)
        found = [f"accuracy: {first}"] if first else []
    for entry in metrics:
        audit = audited(entry.spec.compute, entry.spec.classes or 2)
        found += [f"metric {entry.spec.name}: {warning}" for warning in audit]
    return found


@lru_cache
def audited(compute: str, classes: int) -> tuple[str, ...]:
    """Return warnings from the audit of a plugin's metric; none for built-in metrics."""
    if compute.startswith("hepbench."):
        return ()
    return tuple(metric_audit.audit(resolve(compute), classes=classes))
