"""Audit of metrics from plugins: whether their values can be trusted."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from hepbench.evaluation import metric_calls
from hepbench.specs.metric import Measured, Predictions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hepbench.evaluation.metric_calls import Compute
    from hepbench.specs.types import Array


def audit(compute: Compute, *, classes: int = 2) -> list[str]:
    """Audit a metric on made-up predictions and return its faults, one line each.

    A metric must return a finite number, return the same number for the same predictions, leave
    the arrays unchanged, not depend on the order of rows (tied scores reveal this), and not choose
    anything on the labels that it scores. Exceptions are not reported here; records contain them.

    Args:
        compute: the function of the metric, see ``Metric.compute``.
        classes: number of classes of the predictions.
    """
    found: list[str] = []
    for check in (_contract_fault, _order_fault, _fit_to_labels_fault):
        # the metric of a plugin may raise anything
        with suppress(Exception):
            if fault := check(compute, classes):
                found.append(fault)
        if found and check is _contract_fault:
            break
    return found


def _contract_fault(compute: Compute, classes: int) -> str | None:
    predictions = _predictions_with_ties(classes)
    labels, scores = predictions.labels.copy(), predictions.scores.copy()
    first, second = compute(predictions), compute(predictions)
    measured = first if isinstance(first, Measured) else Measured(first)
    errors = (measured.stderr, measured.low, measured.high)
    for number in (measured.value, *(error for error in errors if error is not None)):
        if not isinstance(number, Real) or isinstance(number, bool):
            return f"returns a {type(number).__name__}; a float or Measured is expected"
        if not math.isfinite(number):
            return f"returns {number} on ordinary predictions"
    if not (np.array_equal(labels, predictions.labels) and (scores == predictions.scores).all()):
        return "changes its input arrays"
    return None if first == second else "returns two different values for the same predictions"


def _order_fault(compute: Compute, classes: int) -> str | None:
    # many rows: a metric of the first hundreds is found out, too
    tied = _predictions_with_ties(classes, n=5000)
    constant = replace(tied, scores=np.full_like(tied.scores, 1 / classes))
    for predictions in (tied, constant):
        values = [metric_calls.call(compute, rows).value for rows in _reordered(predictions)]
        if max(values) - min(values) > 1e-9 * max(1, abs(values[0])):
            return "depends on the order of rows (ties?)"
    return None


def _fit_to_labels_fault(compute: Compute, classes: int) -> str | None:
    """Return a fault if a metric is better for few than for many randomly labelled examples.

    The few are repeated until they are as many: a value that grows with the number of examples, such
    as a number of events, is no fault. A sum over examples has the same mean for both. A function of
    such sums shifts by O(1 / n), a small part of its scatter O(1 / sqrt(n)): measured shifts in
    units of the scatter are 0 for AUC, accuracy and losses, .2 for rejections and .3 for average
    precision. A value that is the best over many thresholds shifts by as much as it scatters: 1.3
    for accuracy, .9 with a grid of ten. Scores stay away from the fraction of a class, so that a calibration error is nearly a sum, too.
    """
    small, large = (
        _confident_predictions(classes, repeat=1),
        _confident_predictions(classes, repeat=16),
    )
    few = [
        metric_calls.call(compute, _repeated(rows)).value
        for rows in _relabelled(small, classes, 48)
    ]
    many = [metric_calls.call(compute, rows).value for rows in _relabelled(large, classes, 16)]
    shift = abs(np.mean(few) - np.mean(many))
    if not shift > 0.6 * np.std(few) + 1e-9 * abs(np.mean(few)):
        return None
    return (
        f"under random labels {np.mean(few):.3g} for {len(small.labels)} examples but "
        f"{np.mean(many):.3g} for {len(large.labels)} (chosen on the labels it scores?)"
    )


def _predictions_with_ties(classes: int, *, n: int = 120) -> Predictions:
    """Return made-up predictions with tied scores, to audit a metric with."""
    return replace(
        _few_distinct_scores(classes, seed=0, n=n), validation=_few_distinct_scores(classes, seed=1)
    )


def _few_distinct_scores(classes: int, *, seed: int, n: int = 120) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    counts = rng.integers(1, 6, (n, classes)) + 3 * (labels[:, None] == np.arange(classes))
    return Predictions(
        labels=labels, scores=counts / counts.sum(axis=1, keepdims=True), ids=np.arange(n)
    )


def _confident_predictions(classes: int, *, repeat: int) -> Predictions:
    """Return confident made-up predictions, to audit a metric with.

    About 256 scores, far from the fraction of any class, are repeated ``repeat`` times.
    """
    n = classes * max(8, 256 // classes)
    labels = np.arange(n * repeat) % classes
    doubt = np.tile(np.linspace(0.01, 0.3, n // classes).repeat(classes), repeat)[:, None]
    chosen = labels[:, None] == np.arange(classes)
    return Predictions(
        labels=labels,
        scores=np.where(chosen, 1 - doubt, doubt / (classes - 1)),
        ids=np.arange(n * repeat),
        validation=_few_distinct_scores(classes, seed=1),
    )


def _reordered(predictions: Predictions) -> Iterator[Predictions]:
    """Yield the same predictions in other orders, to audit a metric with."""
    rng = np.random.default_rng(2)
    by_class = np.argsort(predictions.labels, kind="stable")
    n = len(by_class)
    for rows in (by_class, by_class[::-1], rng.permutation(n), rng.permutation(n)):
        yield _in_order(predictions, rows)


def _in_order(predictions: Predictions, rows: Array) -> Predictions:
    labels, scores = predictions.labels[rows], predictions.scores[rows]
    return replace(predictions, labels=labels, scores=scores, ids=rows)


def _repeated(predictions: Predictions) -> Predictions:
    """Return each example sixteen times, under ids of its own, to audit a metric with."""
    labels, scores = np.tile(predictions.labels, 16), np.tile(predictions.scores, (16, 1))
    return replace(predictions, labels=labels, scores=scores, ids=np.arange(len(labels)))


def _relabelled(predictions: Predictions, classes: int, times: int) -> Iterator[Predictions]:
    """Yield predictions with shuffled labels, to audit a metric with.

    Each shuffle is followed by the same labels with all classes shifted by 1, 2, ...; sums over
    examples have the same mean over these, so that few shuffles are enough.
    """
    rng = np.random.default_rng(3)
    for _ in range(max(1, times // classes)):
        labels = rng.permutation(predictions.labels)
        for step in range(classes):
            yield replace(predictions, labels=(labels + step) % classes)
