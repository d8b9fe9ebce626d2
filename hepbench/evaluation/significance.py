"""Metrics of expected event counts: they need the physical event weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hepbench.evaluation import metrics
from hepbench.specs.errors import UndefinedMetricError
from hepbench.specs.metric import Measured

if TYPE_CHECKING:
    from hepbench.specs.metric import Predictions
    from hepbench.specs.types import Array


REGULARISATION = 10.0
"""Background events that are added, so that few expected events give no large significance."""


def ams(predictions: Predictions) -> Measured:
    """Return the approximate median significance (AMS) of a cut on the signal score.

    ``sqrt(2 ((s + b + 10) ln(1 + s / (b + 10)) - s))``, where s and b are the sums of the physical
    weights of signal and background above the cut. The cut has the largest AMS on the validation
    part, whose weights are scaled to the sum of all weights of this part. Sums are those of this
    part: a test part with a fifth of the events has a fifth of s and b. The error is that of the two
    sums.

    Raises:
        UndefinedMetricError: there are not two classes, more negative than positive weight is above
            the cut, or only this part has event weights.

    Source: Adam-Bourdarios et al., JMLR W&CP 42 (2015) 19 (HiggsML).
    """
    part = metrics.part_with_two_classes(predictions)
    validation = predictions.validation or predictions
    if predictions.weights is not None and validation.weights is None:
        msg = "the validation part, on which the cut is chosen, has no event weights"
        raise UndefinedMetricError(msg)
    cut = _best_cut(metrics.part_with_two_classes(validation), part)
    passed = part.signal_scores > cut
    weights = [part.weights[passed & (part.labels == label)] for label in (0, 1)]
    background, signal = (float(each.sum()) for each in weights)
    value = float(_significance(np.array([signal]), np.array([background]))[0])
    if math.isnan(value):
        msg = f"{signal:.4g} signal and {background:.4g} background events are above the cut"
        raise UndefinedMetricError(msg)
    if value == 0:
        return Measured(0.0)
    ratio = signal / (background + REGULARISATION)
    slopes = ((math.log1p(ratio) - ratio) / value, math.log1p(ratio) / value)
    variance = sum(s**2 * float(w @ w) for s, w in zip(slopes, weights, strict=True))
    return Measured(value, stderr=math.sqrt(variance))


def _best_cut(validation: metrics.Part, part: metrics.Part) -> float:
    """Return the cut with the largest AMS on the validation part; infinite if no cut has one."""
    scale = part.weights.sum() / validation.weights.sum()
    signal, background = (
        np.append(0.0, scale * np.cumsum(side))
        for side in (validation.curve.signal, validation.curve.background)
    )
    found = np.nan_to_num(_significance(signal, background), nan=-1.0)
    return float(validation.cuts[1][np.argmax(found)])


def _significance(signal: Array, background: Array) -> Array:
    """Return the AMS of (N,) expected events; NaN where there are fewer than none."""
    total = background + REGULARISATION
    defined = (signal >= 0) & (total > 0)
    s, b = np.where(defined, signal, 0.0), np.where(defined, total, 1.0)
    squares = 2 * ((s + b) * np.log1p(s / b) - s)
    return np.where(defined, np.sqrt(np.maximum(squares, 0)), np.nan)
