"""Errors against their definitions, published values and worked examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hepbench.evaluation import uncertainty
from hepbench.evaluation.seed_averages import SeedAverage, over_seeds
from hepbench.storage.records import Value

# a loaded machine is no failure
steady = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

LABELS = arrays(np.int64, 14, elements=st.integers(0, 1))
SCORES = arrays(np.float64, (2, 14), elements=st.integers(0, 6).map(float))
WEIGHTS = arrays(np.float64, 14, elements=st.floats(0.5, 4))


def by_definition(labels, scores, weights):
    """DeLong's estimate with all pairs written out: O(n^2)."""
    one, zero = labels == 1, labels == 0
    w1, w0 = weights[one] / weights[one].sum(), weights[zero] / weights[zero].sum()
    kernels = [
        (row[one][:, None] > row[zero]) + 0.5 * (row[one][:, None] == row[zero]) for row in scores
    ]
    v1 = np.array([kernel @ w0 for kernel in kernels])
    v0 = np.array([w1 @ kernel for kernel in kernels])
    auc = v1 @ w1
    covariance = sum(
        ((v - auc[:, None]) * w**2) @ (v - auc[:, None]).T / (1 - w @ w)
        for v, w in ((v1, w1), (v0, w0))
    )
    return auc, covariance


def delong_of(labels, scores, weights=None):
    """Return the AUCs of the rows of ``scores`` and their covariance, by the core's functions."""
    weights = np.ones(len(labels)) if weights is None else weights
    ties = [np.unique(-row, return_inverse=True)[1] for row in scores]
    gains = np.stack([uncertainty.placements(each, labels == 1, weights) for each in ties])
    return uncertainty.delong(gains, labels, weights)


@steady
@given(LABELS, SCORES)
def test_delong_agrees_with_its_definition_over_all_pairs(labels, scores):
    """Equal weights: the sample variances of DeLong's components over their numbers, ties too."""
    assume(2 <= labels.sum() <= 12)
    auc, covariance = delong_of(labels, scores)
    expected, all_pairs = by_definition(labels, scores, np.ones(14))
    np.testing.assert_allclose(auc, expected, rtol=1e-12)
    np.testing.assert_allclose(covariance, all_pairs, rtol=1e-9, atol=1e-15)


@steady
@given(LABELS, SCORES, WEIGHTS)
def test_weighted_delong_agrees_with_its_definition_over_all_pairs(labels, scores, weights):
    """Each component enters with its share of the weight, squared in the variance."""
    assume(2 <= labels.sum() <= 12)
    auc, covariance = delong_of(labels, scores, weights)
    expected, all_pairs = by_definition(labels, scores, weights)
    np.testing.assert_allclose(auc, expected, rtol=1e-12)
    np.testing.assert_allclose(covariance, all_pairs, rtol=1e-9, atol=1e-15)


def test_delong_by_hand():
    """Components (1, .5) for signal and (.5, 1) for background: variance .125 / 2 + .125 / 2."""
    auc, covariance = delong_of(np.array([1, 0, 1, 0]), np.array([[0.8, 0.6, 0.4, 0.2]]))
    assert auc[0] == 0.75
    assert covariance[0, 0] == pytest.approx(0.125)


def test_equal_scores_do_not_differ_at_all():
    """The variance of the difference of a classifier and itself is zero."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=40)
    auc, covariance = delong_of(np.arange(40) % 2, np.stack([scores, 2 * scores]))
    contrast = np.array([1, -1])
    assert contrast @ auc == 0
    assert contrast @ covariance @ contrast == pytest.approx(0)


def test_pairing_tells_apart_what_separate_errors_do_not():
    """Two classifiers that share most of their noise: the difference scatters less than either."""
    rng = np.random.default_rng(1)
    labels = np.arange(600) % 2
    shared = labels + rng.normal(size=600)
    scores = np.stack([shared + 0.2 * rng.normal(size=600), shared])
    _, covariance = delong_of(labels, scores)
    contrast = np.array([1, -1])
    assert contrast @ covariance @ contrast < 0.2 * min(np.diag(covariance))


def test_a_single_example_of_a_class_has_no_delong_error():
    """One component has no scatter to estimate."""
    auc, covariance = delong_of(np.array([1, 0, 0]), np.array([[0.5, 0.2, 0.7]]))
    assert auc[0] == 0.5
    assert math.isnan(covariance[0, 0])


def test_binomial_error_by_hand():
    """30 of 100: sqrt(.3 x .7 / 100)."""
    found = uncertainty.binomial(np.arange(100) < 30, np.ones(100))
    assert found.value == 0.3
    assert found.stderr == pytest.approx(math.sqrt(0.21 / 100))
    assert (found.low, found.high) == (None, None)


def test_few_examples_on_one_side_come_with_wilson():
    """2 of 50, and the same where weights double the sample without adding to it."""
    passed = np.arange(50) < 2
    found = uncertainty.binomial(passed, np.full(50, 2.0))
    assert (found.low, found.high) == pytest.approx(uncertainty.wilson(0.04, 50))


def test_unequal_weights_cost_effective_examples():
    """One event of weight 3 and nine of weight 1: 12^2 / 18 = 8."""
    assert uncertainty.effective_number(np.array([3.0] + [1.0] * 9)) == 8


def test_the_error_of_a_mean_by_hand():
    """1, 2, 3, 4 scatter with variance 5 / 3: the mean is 2.5 +- sqrt(5 / 12)."""
    found = uncertainty.mean(np.arange(1.0, 5), np.ones(4))
    assert (found.value, found.stderr) == (2.5, pytest.approx(math.sqrt(5 / 12)))
    assert uncertainty.mean(np.array([2.0]), np.ones(1)).stderr is None


@pytest.mark.parametrize(
    ("passed", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)
def test_wilson_interval_as_published(passed, n, low, high):
    """Newcombe, Stat. Med. 17 (1998) 857, table I, method 3 (95 %); the last is 0 of 29 mirrored."""
    found = uncertainty.wilson(passed / n, n, z=1.959964)
    assert found == pytest.approx((low, high), abs=5e-5)


@steady
@given(st.integers(0, 50), st.integers(1, 50))
def test_wilson_interval_holds_its_share_within_zero_and_one(passed, n):
    """At none and at all, too, where it is as wide as ever on the other side."""
    assume(passed <= n)
    low, high = uncertainty.wilson(passed / n, n)
    assert 0 <= low <= passed / n <= high <= 1
    assert high - low > 0.5 / (n + 1)


@pytest.mark.parametrize("n", [1, 10, 59, 100_000])
def test_the_upper_limit_of_none_is_seen_as_none_in_one_case_of_twenty(n):
    """(1 - limit)^n = 5 %."""
    limit = uncertainty.upper_limit_for_zero(n)
    assert n * math.log1p(-limit) == pytest.approx(math.log(0.05))


def test_an_inverse_has_the_relative_error_of_its_share():
    """1 % +- .1 % becomes 100 +- 10, with a longer tail upwards."""
    found = uncertainty.inverse(0.01, 0.001**2, 9900)
    assert (found.value, found.stderr) == (100, pytest.approx(10))
    assert found.high - 100 > 100 - found.low > 0


def test_seed_spread_is_the_scatter_of_one_run():
    """1, 2, 3, 4: mean 2.5, sample standard deviation sqrt(5 / 3), not that over sqrt(4)."""
    found = over_seeds([Value(value) for value in (1.0, 2.0, 3.0, 4.0)])
    assert (found.value, found.spread) == (2.5, pytest.approx(math.sqrt(5 / 3)))


def test_a_single_seed_has_no_spread():
    """Not zero: unknown."""
    found = over_seeds([Value(0.8)])
    assert (found.value, found.spread) == (0.8, None)
    assert over_seeds([]) == SeedAverage()
