"""A metric: by how much a cut on the score improves signal / sqrt(background)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepbench import EmptyClassError, Measured, UndefinedMetricError

if TYPE_CHECKING:
    from hepbench import Predictions


def improvement_50(predictions: Predictions) -> Measured:
    """Return signal efficiency / sqrt(background efficiency) where half of the signal passes.

    The working point is fixed: the largest value over all cuts would be chosen on the very labels
    that it is measured with, and ``hepbench check`` says so. Examples that tie with the cut pass,
    all of them, so that the order of rows does not matter.

    Raises:
        EmptyClassError: there is no signal or no background.
        UndefinedMetricError: no background passes; a metric never invents a value.

    Source: Gallicchio et al., JHEP 04 (2011) 069, arXiv:1012.2077.
    """
    scores, signal = predictions.scores[:, 1], predictions.labels == 1
    weights = np.ones(len(scores)) if predictions.weights is None else predictions.weights
    if signal.all() or not signal.any():
        msg = "significance improvement needs signal and background"
        raise EmptyClassError(msg)
    order = np.argsort(-scores[signal], kind="stable")
    kept = np.cumsum(weights[signal][order]) / weights[signal].sum()
    # sums are rounded: an efficiency short of one half by 1e-12 is reached
    cut = scores[signal][order][np.searchsorted(kept, 0.5 - 1e-12)]
    passing = scores >= cut
    signal_efficiency = weights[signal & passing].sum() / weights[signal].sum()
    background = weights[~signal]
    efficiency = weights[~signal & passing].sum() / background.sum()
    if efficiency == 0:
        msg = f"none of {len(background)} background examples passes; more are needed"
        raise UndefinedMetricError(msg)
    value = signal_efficiency / np.sqrt(efficiency)
    # binomial, of the background that passes; weights count as so many equal ones
    n = background.sum() ** 2 / (background**2).sum()
    return Measured(
        float(value), stderr=float(value / 2 * np.sqrt((1 - efficiency) / efficiency / n))
    )
