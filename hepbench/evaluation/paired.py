"""Paired tests: which models are not significantly worse than the best one, on one test set.

Each model was trained several times, with different seeds. The means over its trainings differ by
chance for two reasons, whose variances are added: the test examples, which all models share, and
the trainings, which they do not. With one training per model the second is not known, and neither
is whether a difference means anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hepbench.evaluation import metric_calls, uncertainty
from hepbench.specs.errors import UndefinedMetricError
from hepbench.specs.text import error_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hepbench.evaluation.metric_calls import Compute
    from hepbench.specs.metric import Predictions
    from hepbench.specs.types import Array


LEVEL = 0.05
"""Probability that the model that is truly best is found to be worse than another, at most."""


RESAMPLES = 100


MOST_SCORES, FEWEST_EXAMPLES = 200_000_000, 1000
"""Scores that a bootstrap draws in all, at most; and examples per resample, at least."""


@dataclass(frozen=True)
class Means:
    """Means of a metric over the trainings of K models, on one test set.

    Attributes:
        values: (K,).
        covariance: (K, K), due to the test examples.
        training_variance: (K,), due to the trainings: their variance / their number; NaN for one.
        trainings: (K,) number of trainings; models are compared only with 2 or more.
        resamples: from which ``covariance`` was estimated; infinite if it was calculated.
    """

    values: Array
    covariance: Array
    training_variance: Array
    trainings: Array
    resamples: float = math.inf


class Difference(NamedTuple):
    """The difference of two means.

    Attributes:
        value, stderr: difference and its standard error.
        freedom: degrees of freedom of ``stderr``.
        p: probability of a difference at least as large between equally good models.
    """

    value: float
    stderr: float
    freedom: float
    p: float


def auc_means(models: Iterable[Iterable[Array]], labels: Array, weights: Array | None) -> Means:
    """Return the mean AUCs of K models, with DeLong's covariance.

    DeLong's components of each example are averaged over the trainings of a model. So what its
    trainings have in common stays in the covariance, and what they do not averages out.

    Args:
        models: the scores (N, classes) of each training of each model; read one by one.
        labels: (N,) int; each class has examples.
        weights: (N,), or None for equal weights.
    """
    weights = np.ones(len(labels)) if weights is None else weights
    relative = weights / np.bincount(labels, weights)[labels]
    gains, by_training = [], []
    for trainings in models:
        each = [_gains(scores, labels, weights) for scores in trainings]
        gains.append(sum(each) / len(each))
        by_training.append(np.array([relative @ one / 2 for one in each]))
    values, covariance = uncertainty.delong(np.stack(gains), labels, weights)
    return _means(values, covariance, by_training)


def _gains(scores: Array, labels: Array, weights: Array) -> Array:
    if scores.shape[1] > 2:
        return uncertainty.one_vs_one(scores, labels, weights)
    ties = np.unique(-scores[:, 1], return_inverse=True)[1]
    return uncertainty.placements(ties, labels == 1, weights)


def resampled_means(
    compute: Compute, models: Sequence[Sequence[Predictions]], *, seed: int = 0
) -> Means:
    """Return the means of any metric over the trainings of K models, with a bootstrap's covariance.

    The same test examples are drawn for all models and trainings, with replacement. Of very many
    scores each resample draws fewer examples than there are, and the covariance is scaled to all;
    but not if the values of so few are others than those of all, as of sums, or of a rejection that
    few background examples pass.

    Raises:
        UndefinedMetricError: the metric has no value for all examples, or for most resamples.
    """
    by_training = [np.array([_value(compute, each) for each in trainings]) for trainings in models]
    values = np.array([each.mean() for each in by_training])
    n = len(models[0][0].labels)
    most = MOST_SCORES // (RESAMPLES * sum(map(len, models)))
    drawn = min(n, max(most, FEWEST_EXAMPLES))
    found, reason = _resampled(compute, models, drawn, seed)
    if drawn < n and (reason or (abs(found.mean(axis=0) - values) > found.std(axis=0)).any()):
        drawn = n
        found, reason = _resampled(compute, models, drawn, seed)
    if len(found) <= RESAMPLES / 2:
        msg = f"undefined for most resamples of the test examples: {reason}"
        raise UndefinedMetricError(msg)
    covariance = np.atleast_2d(np.cov(found, rowvar=False)) * drawn / n
    return _means(values, covariance, by_training, resamples=len(found))


def _resampled(
    compute: Compute, models: Sequence[Sequence[Predictions]], drawn: int, seed: int
) -> tuple[Array, str]:
    """Return means (resamples, K) over the trainings, and why others have none; "" if all have one."""
    rng = np.random.default_rng(seed)
    n = len(models[0][0].labels)
    found, reason = [], ""
    for _ in range(RESAMPLES):
        rows = rng.integers(n, size=drawn)
        try:
            # limits depend on the number of examples: those of fewer say nothing about all
            found.append(
                [
                    np.mean([_value(compute, each[rows], limits=drawn == n) for each in trainings])
                    for trainings in models
                ]
            )
        except UndefinedMetricError as error:
            reason = error_text(error)
    return np.array(found), reason


def _value(compute: Compute, predictions: Predictions, *, limits: bool = True) -> float:
    found = metric_calls.call(compute, predictions)
    if found.limit and not limits:
        msg = f"only a limit is known, {found.value:.4g}"
        raise UndefinedMetricError(msg)
    return found.value


def _means(
    values: Array, covariance: Array, by_training: Sequence[Array], *, resamples: float = math.inf
) -> Means:
    return Means(
        values=values,
        covariance=covariance,
        training_variance=np.array([_variance_of_mean(each) for each in by_training]),
        trainings=np.array([len(each) for each in by_training]),
        resamples=resamples,
    )


def _variance_of_mean(values: Array) -> float:
    return float(values.var(ddof=1)) / len(values) if len(values) > 1 else math.nan


def difference(means: Means, first: int, second: int) -> Difference:
    """Return the difference of the means of two models: first minus second.

    The degrees of freedom are those of Welch and Satterthwaite: few if the variance of few
    trainings dominates, infinitely many if a calculated variance of the test sample does.

    Source: Welch, Biometrika 34 (1947) 28.
    """
    pair = [first, second]
    covariance = means.covariance
    of_test = float(covariance[pair, pair].sum() - 2 * covariance[first, second])
    # of equal scores, rounding may leave a negative one
    of_test = max(of_test, 0.0)
    of_trainings = means.training_variance[pair]
    variance = of_test + float(of_trainings.sum())
    uncertain = float((of_trainings**2 / (means.trainings[pair] - 1)).sum())
    uncertain += of_test**2 / (means.resamples - 1)
    value = float(means.values[first] - means.values[second])
    stderr = math.sqrt(variance)
    freedom = variance**2 / uncertain if uncertain else math.inf
    return Difference(value, stderr, freedom, _probability(value, stderr, freedom))


def _probability(value: float, stderr: float, freedom: float) -> float:
    # sums in another order differ in their last digits; a class with one example has no error
    if abs(value) < 1e-12 or math.isnan(stderr):
        return 1.0
    return two_sided(abs(value) / stderr, freedom) if stderr else 0.0


def not_worse(means: Means, *, higher_is_better: bool) -> list[int]:
    """Return the models that are not significantly worse than the best one, which is among them.

    Models are left out one by one, the most significantly worse first, as long as the probability
    of its difference is below LEVEL / (models behind the best that are left): Holm's procedure. So
    the model that is truly best is left out with a probability of LEVEL at most.
    ``benchmarks/stars.py`` measures this.

    Source: Holm, Scand. J. Stat. 6 (1979) 65.
    """
    sign = 1 if higher_is_better else -1
    best = int(np.argmax(sign * means.values))
    p = {i: difference(means, best, i).p for i in range(len(means.values)) if i != best}
    left = sorted(p, key=lambda i: p[i])
    while left and p[left[0]] < LEVEL / len(left):
        del left[0]
    return sorted([best, *left])


def two_sided(t: float, freedom: float) -> float:
    """Return the probability that Student's t is beyond +-``t``."""
    if freedom > 1e5:
        return math.erfc(t / math.sqrt(2))
    return incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b).

    Source: NIST Digital Library of Mathematical Functions, 8.17.4 and 8.17.22.
    """
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    if x <= 0:
        return 0.0
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - log_beta) / a
    return front / _beta_fraction(a, b, x)


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction 1 + d1 / (1 + d2 / (1 + ...)) of the incomplete beta function.

    It is evaluated from the front: by the ratios of successive numerators and denominators.
    """
    value = upper = 1.0
    lower = 0.0
    for n in range(1, 10_000):
        m = n // 2
        if n % 2:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        lower = 1 / (1 + d * lower)
        upper = 1 + d / upper
        value *= upper * lower
        if abs(upper * lower - 1) < 1e-14:
            break
    return value
