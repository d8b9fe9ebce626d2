"""Uncertainties of metrics, from the size of the test set.

Weights are event weights, not counts: doubling all of them changes no error. They enter variances
squared, and intervals through the effective number of examples, ``(sum w)^2 / sum w^2``. Equal
weights give the textbook formulas exactly. The formulas for variances hold for negative weights too;
there are no intervals for a fraction that negative weights bring below 0 or above 1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hepbench.specs.metric import Measured

if TYPE_CHECKING:
    from hepbench.specs.types import Array


ONE_SIGMA = math.erf(math.sqrt(0.5))
"""Probability within one sigma, .6827."""


def effective_number(weights: Array) -> float:
    """Return the effective number of weighted examples; N for equal weights."""
    return float(weights.sum() ** 2 / (weights @ weights))


def mean(values: Array, weights: Array) -> Measured:
    """Return the weighted mean of ``values`` (N,) with its standard error (None for one example)."""
    total = weights.sum()
    average = (weights @ values) / total
    n = effective_number(weights)
    if n < 1 + 1e-9:
        return Measured(float(average))
    scatter = weights * (values - average) / total
    return Measured(float(average), stderr=math.sqrt(scatter @ scatter * n / (n - 1)))


def fraction(passed: Array, weights: Array) -> tuple[float, float]:
    """Return the weighted fraction of ``passed`` (N,) bool, and its variance.

    The variance is binomial: ``p (1 - p) / N`` for equal weights. It is 0 if none or all pass; use
    an interval then.
    """
    total = weights.sum()
    found = float(weights[passed].sum() / total)
    scatter = weights * (passed - found) / total
    return found, float(scatter @ scatter)


def binomial(passed: Array, weights: Array) -> Measured:
    """Return the fraction of passing examples with its binomial error.

    With fewer than ten (effective) passing or failing examples the error is asymmetric: Wilson's
    68 % interval is added. If none or all pass, there is only the interval.
    """
    found, variance = fraction(passed, weights)
    n = effective_number(weights)
    if not 0 <= found <= 1:
        # negative weights: no interval of fractions contains it
        return Measured(found, stderr=math.sqrt(variance))
    if variance > 0 and n * min(found, 1 - found) >= 10:
        return Measured(found, stderr=math.sqrt(variance))
    low, high = wilson(found, _effective_trials(found, variance, n))
    return Measured(found, stderr=math.sqrt(variance) or None, low=low, high=high)


def wilson(found: float, n: float, *, z: float = 1.0) -> tuple[float, float]:
    """Return Wilson's interval for a fraction that was found among n examples.

    It contains the true fractions from which ``found`` is within ``z`` sigma.

    Source: Wilson, J. Am. Stat. Assoc. 22 (1927) 209; recommended by Brown, Cai and DasGupta,
    Stat. Sci. 16 (2001) 101.
    """
    middle = (found + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(found * (1 - found) / n + z * z / (4 * n * n))
    # if none or all pass, the bound is the fraction itself; rounding must not move it
    low = 0.0 if found <= 0 else middle - half
    high = 1.0 if found >= 1 else middle + half
    return low, high


def upper_limit_for_zero(n: float, *, confidence: float = 0.95) -> float:
    """Return the exact upper limit (about 3 / n) on a fraction if none of n examples passes."""
    return -math.expm1(math.log1p(-confidence) / n)


def inverse(found: float, variance: float, n: float) -> Measured:
    """Return the inverse of a fraction with its propagated error and Wilson's 68 % interval.

    If less than one (effective) example of ``n`` passes, the value is the 95 % lower limit, and
    ``limit`` is True.
    """
    if found * n < 1 - 1e-9:
        return Measured(1 / upper_limit_for_zero(n), limit=True)
    stderr = math.sqrt(variance) / found**2
    if found > 1:
        # negative weights, as in ``binomial``
        return Measured(1 / found, stderr=stderr)
    low, high = wilson(found, _effective_trials(found, variance, n))
    return Measured(1 / found, stderr=stderr or None, low=1 / high, high=1 / low)


def _effective_trials(found: float, variance: float, n: float) -> float:
    return found * (1 - found) / variance if variance > 0 and found < 1 else n


def placements(ties: Array, positive: Array, weights: Array) -> Array:
    """Return the fraction of the other class that each example is ranked correctly against.

    Args:
        ties: (N,) int, rank of the score, highest first; tied examples have the same rank.
        positive: (N,) bool, the class that should be ranked first.
        weights: (N,) float; each class has a positive sum.

    Returns:
        (N,) float; a tie counts one half. The mean over either class is the AUC.

    Source: Sun and Xu, IEEE Signal Process. Lett. 21 (2014) 1389: the structural components of
    DeLong from mid-ranks, O(n log n); here from weighted sums over tied scores.
    """
    mine = np.bincount(ties, weights * positive)
    other = np.bincount(ties, weights * ~positive)
    mine_above = (np.cumsum(mine) - mine / 2) / mine.sum()
    other_below = (other.sum() - np.cumsum(other) + other / 2) / other.sum()
    return np.where(positive, other_below[ties], mine_above[ties])


def one_vs_one(scores: Array, labels: Array, weights: Array) -> Array:
    """Return (N,) placements for more than two classes, averaged over pairs of classes.

    In the pair (i, j) score i should rank the examples of i before those of j. All classes have
    the same weight; the mean placements of all classes add up to twice the macro one-vs-one AUC.
    """
    classes = scores.shape[1]
    relative = weights / np.bincount(labels, weights, classes)[labels]
    gains = np.zeros(len(labels))
    for label in range(classes):
        ties = np.unique(-scores[:, label], return_inverse=True)[1]
        mine = labels == label
        gains += placements(ties, mine, relative) * np.where(mine, classes - 1, 1)
    return gains / (classes * (classes - 1))


def delong(gains: Array, labels: Array, weights: Array) -> tuple[Array, Array]:
    """Return the AUCs of K classifiers on the same examples, and DeLong's covariance.

    Args:
        gains: (K, N) float: ``placements`` of two classes or ``one_vs_one`` of more.
        labels: (N,) int, 0 to C - 1; each class has weight.
        weights: (N,) float.

    Returns:
        (K,) and (K, K). With equal weights and two classes this is exactly DeLong's estimate; with
        weights, each class adds the variance of a weighted mean. NaN if a class has only one
        example.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837.
    """
    auc, covariance = np.zeros(len(gains)), np.zeros((len(gains), len(gains)))
    for label in range(labels.max() + 1):
        mine = labels == label
        values, own = gains[:, mine], weights[mine]
        average = values @ own / own.sum()
        auc += average / 2
        scatter = (values - average[:, None]) * (own / own.sum())
        n = effective_number(own)
        covariance += scatter @ scatter.T * n / (n - 1) if n > 1 + 1e-9 else np.nan
    return auc, covariance


def perfect_order(n: float) -> float:
    """Return the error of an AUC of exactly 1, for which DeLong's error is 0.

    It is the distance of the 68 % interval's lower end from 1.
    ``n`` examples of the smaller class make n independent pairs, which are all ordered correctly
    with probability AUC^n at most; the interval holds the AUCs for which this is at least 32 %.
    """
    return -math.expm1(math.log1p(-ONE_SIGMA) / n)
