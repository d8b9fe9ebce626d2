"""Spreads over few trainings, moderated by those of other runs."""

from __future__ import annotations

import numpy as np
import pytest

from hepbench.evaluation import paired_runs, spreads
from hepbench.evaluation.paired import Means
from hepbench.evaluation.spreads import Spread

special = pytest.importorskip("scipy.special")


def drawn(variances, *, trainings=3, seed=0, own=1.0):
    """Spreads over trainings of runs with some true variances."""
    rng = np.random.default_rng(seed)
    freedom = trainings - 1
    return [
        Spread(v * rng.chisquare(freedom) / freedom, own, trainings, freedom) for v in variances
    ]


@pytest.mark.parametrize("x", [0.01, 0.5, 1, 3.7, 9.99, 10, 1e4])
def test_gamma_functions_are_those_of_scipy(x):
    """Also just below and above where their series begin."""
    assert spreads.digamma(x) == pytest.approx(special.digamma(x), rel=1e-9, abs=1e-10)
    assert spreads.trigamma(x) == pytest.approx(special.polygamma(1, x), rel=1e-9)
    assert spreads.tetragamma(x) == pytest.approx(special.polygamma(3, x), rel=1e-8)


def test_equal_variances_are_drawn_to_each_other():
    """The moderated ones differ less, are right on average, and have more degrees of freedom."""
    given = drawn(np.full(60, 4.0))
    found = spreads.moderated(given)
    before, after = ([each.variance for each in some] for some in (given, found))
    assert np.std(after) < 0.7 * np.std(before)
    assert np.mean(after) == pytest.approx(4, rel=0.25)
    assert min(each.freedom for each in found) > 3


def test_variances_that_differ_are_left_nearly_as_they_are():
    """Nothing is learned from runs that have nothing in common."""
    rng = np.random.default_rng(1)
    given = drawn(np.exp(4 * rng.normal(size=60)))
    found = spreads.moderated(given)
    assert max(each.freedom for each in found) < 3


def test_a_much_larger_variance_stays():
    """A run whose trainings are unstable does not become stable among others."""
    given = [*drawn(np.full(40, 1.0)), Spread(100.0, 1.0, 3, 2)]
    assert spreads.moderated(given)[-1] == given[-1]


def test_few_variances_and_deterministic_runs_stay():
    """Nothing is estimated from nine; a variance of 0 is known."""
    given = drawn(np.full(9, 1.0))
    assert spreads.moderated(given) == given
    still = Spread(0.0, 0.0, 3, 2)
    found = spreads.moderated([*drawn(np.full(20, 1.0)), still])
    assert found[-1] == still


def test_variances_are_compared_in_units_of_what_test_examples_explain():
    """Runs on a tenth of the test examples have ten times the variance, and are no outliers."""
    many, few = drawn(np.full(20, 1.0)), drawn(np.full(20, 10.0), own=10.0, seed=0)
    assert [each.variance for each in few] == pytest.approx([10 * e.variance for e in many])
    found = spreads.moderated([*many, *few])
    assert [e.variance for e in found[20:]] == pytest.approx([10 * e.variance for e in found[:20]])


def table(rng, *, seeds=3, cells=30, ratios=1.0, loss=0.0):
    """Differences of pairs of runs: the spread over trainings is a multiple of what examples explain."""
    found = []
    for ratio in np.broadcast_to(ratios, cells):
        values = np.sqrt(ratio) * rng.normal(size=2 * seeds)
        values[seeds:] -= loss * np.sqrt(ratio)
        nothing = np.ones(2 * seeds)
        found.append(
            paired_runs.of_means(Means(values, np.eye(2 * seeds), nothing, nothing), seeds)
        )
    return paired_runs.moderated(found)


@pytest.mark.parametrize("case", ["equal", "one is unstable", "very different"])
def test_tables_of_equal_runs_have_few_false_alarms(case):
    """In about 5 % of tables of thirty cells, also where the spreads differ much between cells."""
    rng = np.random.default_rng(2)
    wrong, tables = 0, 150
    for _ in range(tables):
        ratios = np.ones(30)
        if case == "one is unstable":
            ratios[0] = 100
        elif case == "very different":
            ratios = 1 + np.exp(1.5 * rng.normal(size=30))
        p = paired_runs.holm([each.p for each in table(rng, ratios=ratios)])
        wrong += min(p) < 0.05
    assert wrong / tables < 0.1


def test_losses_of_many_errors_are_found_with_three_seeds():
    """Nine standard errors, in nearly all of thirty cells; three trainings alone find few of them."""
    rng = np.random.default_rng(3)
    error = np.sqrt(2 / 3)
    found = [each for _ in range(5) for each in table(rng, loss=9 * error)]
    assert np.mean([each.p < 0.05 / 30 for each in found]) > 0.97
