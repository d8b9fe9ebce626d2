"""Computes the metrics of predictions, and warnings about them, in the parent process."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from hepbench.evaluation import consistency, metric_audit, metric_calls
from hepbench.registry.resolve import resolve
from hepbench.specs.errors import UndefinedMetricError
from hepbench.specs.metric import Predictions
from hepbench.specs.text import error_text
from hepbench.storage.records import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hepbench.registry.plugins import Entry
    from hepbench.specs.metric import Metric


RAISED = "raised"
"""First word of why there is no value, if the metric of a plugin raised an error."""


def measure(
    metrics: Iterable[Entry], parts: Mapping[str, Predictions]
) -> dict[str, dict[str, Value]]:
    """Compute all metrics of each part; one without a value contains the reason."""
    from threadpoolctl import threadpool_limits

    # the last digits of a long sum depend on the number of threads
    with threadpool_limits(1):
        return {part: _values(metrics, predictions) for part, predictions in parts.items()}


def _values(metrics: Iterable[Entry], predictions: Predictions) -> dict[str, Value]:
    specs = [entry.spec for entry in metrics if is_computed(entry.spec, predictions)]
    return {spec.name: _value(spec.compute, as_seen_by(spec, predictions)) for spec in specs}


def as_seen_by(spec: Metric, predictions: Predictions) -> Predictions:
    """Return predictions with the weights that a metric sees: relative or physical ones."""
    return _with_physical_weights(predictions) if spec.physical_weights else predictions


def is_computed(spec: Metric, predictions: Predictions) -> bool:
    """Return whether a metric is computed for these predictions: right classes, weights if needed."""
    has_weights = predictions.physical_weights is not None
    fits = spec.classes in {None, predictions.scores.shape[1]}
    return fits and (has_weights or not spec.physical_weights)


def _with_physical_weights(predictions: Predictions) -> Predictions:
    """Return predictions whose weights are the event weights as the dataset has them."""
    validation = predictions.validation
    if isinstance(validation, Predictions):
        validation = _with_physical_weights(validation)
    return replace(predictions, weights=predictions.physical_weights, validation=validation)


def _value(compute: str, predictions: Predictions) -> Value:
    try:
        found = metric_calls.call(resolve(compute), predictions)
    except UndefinedMetricError as error:
        return Value(undefined=error_text(error))
    except Exception as error:  # noqa: BLE001 - one plugin's metric must not cost the record
        return Value(undefined=f"{RAISED} {type(error).__name__}: {error_text(error)}")
    return Value(found.value, found.stderr, found.low, found.high, found.limit)


def row_warnings(
    metrics: Iterable[Entry],
    predictions: Mapping[str, Predictions],
    values: Mapping[str, Value],
    *,
    parameters: int | None = None,
) -> list[str]:
    """Return warnings about the metrics of a cell, each as ``name: problem``.

    Args:
        metrics: all that are installed.
        predictions: of each part.
        values: of the metrics of the test part.
        parameters: number of fitted values of the model, if known.
    """
    test = predictions["test"]
    if nothing := consistency.says_nothing(test, parameters=parameters):
        # an accuracy that does not fit such scores needs no other explanation
        found = [f"scores: {nothing}"]
    else:
        misfits = (consistency.accuracy_fits_auc(test, threshold=each) for each in (None, 0.5))
        first = next(filter(None, misfits), None)
        found = [f"accuracy: {first}"] if first else []
    if doubt := consistency.too_good(test):
        found.append(f"auc: {doubt}")
    for name, spec in ((e.spec.name, e.spec) for e in metrics if e.spec.name in values):
        audit = audited(spec.compute, test.scores.shape[1])
        found += [f"metric {name}: {warning}" for warning in audit]
        if (reason := values[name].undefined or "").startswith(RAISED):
            found.append(f"metric {name} {reason}")
    return found


@lru_cache
def audited(compute: str, classes: int) -> tuple[str, ...]:
    """Return warnings from the audit of a plugin's metric; none for built-in metrics."""
    if compute.startswith("hepbench."):
        return ()
    return tuple(metric_audit.audit(resolve(compute), classes=classes))
