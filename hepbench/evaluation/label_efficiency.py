"""Label efficiency: how many labels give a training from scratch the value of a pretrained row. Pure.

The metric of rows from scratch is interpolated in the logarithm of the number of labels, after an
isotonic regression, since more labels do not make a model worse on average.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepbench.evaluation.labels_needed import LabelsNeeded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepbench.evaluation.paired import Means
    from hepbench.specs.types import Array


DRAWS = 1000
"""Draws of all means within their errors."""


INTERVAL = (0.16, 0.84)


def labels_for(labels: Array, values: Array, target: float) -> float:
    """Return the number of labels at which a rising curve reaches ``target``.

    Args:
        labels: (K,) different numbers of labels, in rising order.
        values: (K,) of a metric of which higher is better.
        target: value of this metric.

    Returns:
        0 if fewer labels than the first reach it, infinity if the last do not.
    """
    from scipy.optimize import isotonic_regression

    rising = isotonic_regression(values).x
    if target < rising[0]:
        return 0.0
    if target > rising[-1]:
        return np.inf
    i = int(np.searchsorted(rising, target))
    if i == 0:
        return float(labels[0])
    part = (target - rising[i - 1]) / (rising[i] - rising[i - 1])
    return float(labels[i - 1] * (labels[i] / labels[i - 1]) ** part)


def labels_needed(
    labels: Sequence[int], means: Means, *, higher_is_better: bool = True, seed: int = 0
) -> list[LabelsNeeded]:
    """Return how many labels a training from scratch needs for the value of each other row.

    All means are drawn within their errors: test examples are shared, so their errors are
    correlated; the spread over trainings is Student's t with as many degrees of freedom as it has.
    Spreads of two rows are drawn independently, although their seeds share draws of labels: the
    interval is rather too wide than too narrow.

    Args:
        labels: (K,) of the rows from scratch, in rising order.
        means: of these K rows, and of the other rows, which come after them.
        higher_is_better: of the metric.
        seed: of the draws.
    """
    sign = 1 if higher_is_better else -1
    numbers, values = np.asarray(labels, float), sign * means.values
    k = len(labels)
    # a class with one test example has no error
    has_errors = np.isfinite(means.covariance).all()
    drawn = values + _errors(means, seed) if has_errors else []
    found = []
    for i in range(k, len(values)):
        number = labels_for(numbers, values[:k], float(values[i]))
        low, high = None, None
        if has_errors and (means.trainings[[*range(k), i]] > 1).all():
            each = [labels_for(numbers, draw[:k], float(draw[i])) for draw in drawn]
            # of the draws: between a number and infinity there is nothing
            low, high = map(float, np.quantile(each, INTERVAL, method="inverted_cdf"))
        found.append(LabelsNeeded(number, low, high, int(labels[0]), int(labels[-1])))
    return found


def _errors(means: Means, seed: int) -> Array:
    """Return draws (DRAWS, rows) of the errors of means; NaN for rows with one training."""
    rng = np.random.default_rng(seed)
    sizes, directions = np.linalg.eigh(means.covariance)
    shape = (DRAWS, len(means.values))
    # of equal scores, rounding may leave a negative variance
    of_test = (rng.standard_normal(shape) * np.sqrt(sizes.clip(0))) @ directions.T
    freedom = np.maximum(means.trainings - 1, 1)
    spread = rng.standard_t(freedom, shape) * np.sqrt(means.training_variance)
    return of_test + spread
