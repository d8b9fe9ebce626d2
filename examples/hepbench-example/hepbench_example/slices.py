"""A metric in slices: the AUC of jets with low and with high transverse momentum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepbench import UndefinedMetricError, metrics

if TYPE_CHECKING:
    from hepbench import Measured, Predictions

LIMIT = 400.0
"""The pt in GeV that separates low from high."""


def auc_low_pt(predictions: Predictions) -> Measured:
    """Return the AUC, with its error, of jets with a pt below 400 GeV."""
    return metrics.auc(_slice(predictions, 0, LIMIT))


def auc_high_pt(predictions: Predictions) -> Measured:
    """Return the AUC, with its error, of jets with a pt of 400 GeV or more."""
    return metrics.auc(_slice(predictions, LIMIT, np.inf))


def _slice(predictions: Predictions, low: float, high: float) -> Predictions:
    """Return the predictions of examples with ``low`` <= pt < ``high``.

    Raises:
        UndefinedMetricError: the dataset has no spectator pt, or no example is in the slice.
    """
    if "pt" not in predictions.spectators:
        msg = "the dataset has no spectator 'pt'"
        raise UndefinedMetricError(msg)
    pt = predictions.spectators["pt"]
    inside = (pt >= low) & (pt < high)
    if not inside.any():
        msg = f"no example has a pt of {low:g} to {high:g} GeV"
        raise UndefinedMetricError(msg)
    return predictions[inside]
