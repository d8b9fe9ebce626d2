"""Consistency: whether an accuracy fits the AUC of the same scores."""

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


def accuracy_fits_auc(
    predictions: Predictions, *, threshold: float | None = None, margin: float = 0.02
) -> str | None:
    """Return what is odd where accuracy falls far short of what the same scores allow, else None.

    Far short: below the best accuracy over all thresholds by more than ``margin`` and more than
    five binomial standard errors. The best is seen on the labels that it is compared with, so it
    is a diagnosis and never a figure; choosing it on N examples without any signal gains 1.3
    standard errors, well inside five. (Why an AUC allows so much: a ROC curve with largest
    ``J = signal - background efficiency`` has AUC <= 1 - (1 - J)^2 / 2, so an AUC of .81 means J >=
    1 - sqrt(2 (1 - AUC)) = .38 somewhere, and for equal classes an accuracy of .69 there.)

    Args:
        predictions: of two classes; others, and a single class, have nothing to compare: None.
        threshold: None for the one chosen on validation, as in ``metrics.accuracy``.
        margin: smallest gap worth a mark.
    """
    part = metrics.part_of(predictions)
    try:
        part.need_every_class()
        cut = metrics.accuracy_threshold(predictions) if threshold is None else threshold
    except UndefinedMetricError:
        return None
    if part.classes != 2:
        return None
    found, variance = uncertainty.share(part.right_above(cut), part.weights)
    best = part.cuts[0].max()
    if best - found <= max(margin, 5 * math.sqrt(variance)):
        return None
    called, truth, score = (
        np.average(values, weights=part.weights)
        for values in (part.signal_scores > cut, part.labels, part.signal_scores)
    )
    chosen = " from validation" if threshold is None else ""
    calibrated = "" if abs(score - truth) < 0.05 else ", so it is not calibrated"
    return (
        f"accuracy {found:.3f} at AUC {metrics.auc(predictions).value:.3f}, whose scores allow "
        f"{best:.3f}: the threshold {cut:.3g}{chosen} calls {called:.0%} signal where {truth:.0%} "
        f"is; the mean score is {score:.2f}{calibrated}"
    )
