"""Point 11: an AUC from ranks that ignores ties, so it depends on the order of rows."""

from __future__ import annotations

import numpy as np

from hepbench import Metric, hookimpl


def auc(predictions):
    ranks = np.argsort(np.argsort(predictions.scores[:, 1], kind="stable"), kind="stable")
    signal = predictions.labels == 1
    n = signal.sum()
    return float((ranks[signal].sum() - n * (n - 1) / 2) / n / (len(ranks) - n))


@hookimpl
def hepbench_metrics():
    return [Metric(name="tie_blind_auc", compute="tie_blind:auc", higher_is_better=True)]
