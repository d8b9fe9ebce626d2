"""Consistency of scores and metrics: whether scores rank anything, whether accuracy fits the AUC."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hepbench.evaluation import metrics, uncertainty
from hepbench.specs.errors import UndefinedMetricError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hepbench.specs.metric import Measured, Predictions
    from hepbench.specs.types import Array

    Compute = Callable[[Predictions], float | Measured]


ROUNDING = 1e-6
"""Scores (float32 probabilities) that differ by less are equal."""


NO_PARAMETERS = "; the model reports 0 parameters (no tree was grown?)"


TIED_PAIRS = 0.01
"""Fraction of pairs of two classes that may be tied at scores of 0 or 1."""


def says_nothing(predictions: Predictions, *, parameters: int | None = None) -> str | None:
    """Return a warning if scores rank nothing, rank the wrong way, or have lost their ranking.

    Only the first such fault is named, the worst.

    Args:
        parameters: of the model, as it reports them; 0 explains why scores are constant.
    """
    if constant := scores_differ(predictions):
        return f"{constant}{NO_PARAMETERS if parameters == 0 else ''}"
    return ranking_lost(predictions) or ranks_wrong_way(predictions)


def scores_differ(predictions: Predictions) -> str | None:
    """Return a warning if a classifier gives all examples the same scores, except for rounding.

    Such scores rank nothing: the AUC is .5, or a ranking of rounding errors. A pruning that masks
    all weights of one layer does this.
    """
    scores = predictions.scores
    if len(scores) < 2 or (largest := float(np.ptp(scores, axis=0).max())) >= ROUNDING:
        return None
    return f"all test examples get the same scores (largest difference {largest:.1g})"


def ranking_lost(predictions: Predictions) -> str | None:
    """Return a warning if many examples of two classes are tied because their score is 0 or 1.

    A model does this that returns classes in place of probabilities, or whose probabilities are
    rounded to 1. The AUC counts a tie as one half.
    """
    part = metrics.part_of(predictions)
    columns = [1] if part.classes == 2 else range(part.classes)
    tied = sum(_tied_pairs(part.scores[:, i], part.labels == i, part.weights) for i in columns)
    if (tied := tied / len(columns)) <= TIED_PAIRS:
        return None
    ends = ((part.scores == 0) | (part.scores == 1)).all(axis=1).mean()
    kind = "hard, all are 0 or 1" if ends == 1 else f"saturated, {ends:.0%} are exactly 0 or 1"
    return (
        f"{kind}, so {tied:.0%} of the pairs of two classes are tied and not ranked; "
        "return probabilities that are not rounded"
    )


def _tied_pairs(scores: Array, mine: Array, weights: Array) -> float:
    """Return the weighted fraction of pairs of two classes whose scores are both 0, or both 1."""
    inside, outside = weights * mine, weights * ~mine
    if not (inside.any() and outside.any()):
        return 0.0
    pairs = sum(inside[scores == end].sum() * outside[scores == end].sum() for end in (0, 1))
    return float(pairs / (inside.sum() * outside.sum()))


def ranks_wrong_way(predictions: Predictions) -> str | None:
    """Return a warning if the AUC is below one half by more than three standard errors."""
    try:
        auc = metrics.auc(predictions)
    except UndefinedMetricError:
        return None
    # of a perfectly wrong order only the interval is known
    error = auc.stderr or ((auc.high or auc.value) - auc.value)
    if not error or auc.value >= 0.5 - 3 * error:
        return None
    return (
        f"ranked the wrong way, AUC {auc.value:.3f} is {(0.5 - auc.value) / error:.0f} "
        "standard errors below 0.5 (are the classes swapped?)"
    )


def too_good(predictions: Predictions) -> str | None:
    """Return a question about an AUC that is 1 within its error: such a task is rare in physics."""
    try:
        auc = metrics.auc(predictions)
    except UndefinedMetricError:
        return None
    # the error of a perfect order is only known as an interval
    if auc.value + (auc.stderr or 0) < 1:
        return None
    return (
        f"{auc.value:.4f} is 1 within its error; does an input give the class away, or are test "
        "examples among those trained on? hepbench data check looks for both"
    )


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
