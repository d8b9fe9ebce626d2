"""Consistency of metrics: whether scores differ at all, and whether an accuracy fits the AUC."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hepbench.evaluation import metrics, uncertainty
from hepbench.specs.errors import UndefinedMetricError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hepbench.specs.metric import Measured, Predictions

    Compute = Callable[[Predictions], float | Measured]


ROUNDING = 1e-6
"""Scores (float32 probabilities) that differ by less are equal."""


def scores_differ(predictions: Predictions) -> str | None:
    """Return a warning if a classifier gives all examples the same scores, except for rounding.

    Such scores rank nothing: the AUC is .5, or a ranking of rounding errors. A pruning that masks
    all weights of one layer does this.
    """
    scores = predictions.scores
    if len(scores) < 2 or (largest := float(np.ptp(scores, axis=0).max())) >= ROUNDING:
        return None
    return f"all test examples get the same scores (largest difference {largest:.1g})"


def accuracy_fits_auc(
    predictions: Predictions, *, threshold: float | None = None, margin: float = 0.02
) -> str | None:
    """Return a warning if the accuracy is far below the best possible with these scores.

    Far below: lower than the best accuracy over all thresholds by more than ``margin`` and more
    than five binomial standard errors. The best accuracy is chosen on the labels that it is
    compared with, so it serves as a diagnosis only and is no result; on N examples without any
    signal this choice gains 1.3 standard errors, well below five. (Why an AUC implies an accuracy:
    a ROC curve whose largest ``J = signal - background efficiency`` has AUC <= 1 - (1 - J)^2 / 2.
    An AUC of .81 thus means J >= 1 - sqrt(2 (1 - AUC)) = .38 at some threshold, which for equal
    classes is an accuracy of .69.)

    Args:
        predictions: of two classes; for more classes, or one alone, the result is None.
        threshold: None means the threshold chosen on validation, as in ``metrics.accuracy``.
        margin: smallest difference that is reported.
    """
    part = metrics.part_of(predictions)
    try:
        part.require_every_class()
        cut = metrics.accuracy_threshold(predictions) if threshold is None else threshold
    except UndefinedMetricError:
        return None
    if part.classes != 2:
        return None
    found, variance = uncertainty.fraction(part.correct_above(cut), part.weights)
    best = part.cuts[0].max()
    if best - found <= max(margin, 5 * math.sqrt(variance)):
        return None
    called, truth, score = (
        np.average(values, weights=part.weights)
        for values in (part.signal_scores > cut, part.labels, part.signal_scores)
    )
    chosen = " from validation" if threshold is None else ""
    calibrated = "" if abs(score - truth) < 0.05 else ", so the scores are not calibrated"
    return (
        f"accuracy {found:.3f} at AUC {metrics.auc(predictions).value:.3f}, but these scores allow "
        f"{best:.3f}: the threshold {cut:.3g}{chosen} classifies {called:.0%} as signal, and "
        f"{truth:.0%} are signal; the mean score is {score:.2f}{calibrated}"
    )
