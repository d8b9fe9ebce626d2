"""The paired test of two runs: by hand, against independent computations, and by simulation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepbench.evaluation import paired, paired_runs
from hepbench.evaluation.paired import Means
from hepbench.evaluation.paired_runs import RunDifference
from hepbench.evaluation.spreads import Spread

stats = pytest.importorskip("scipy.stats")


def difference(value=0.01, examples=1e-6, trainings=0.0, both=0.0, freedom=math.inf, seeds=3):
    """A difference of two runs with chosen variances, that of trainings with ``freedom`` in all."""
    each = Spread(seeds * trainings / 2, seeds * both / 2, seeds, freedom / 2)
    return RunDifference(0.8, 0.8 + value, examples, (each, each))


def slow_delong(first, second, labels, weights):
    """Return the difference of two AUCs and its variance from all pairs of examples, in O(n^2)."""
    signal, background = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    gains = []
    for scores in (first, second):
        s, b = scores[signal][:, None], scores[background][None, :]
        gains.append((s > b) + 0.5 * (s == b))
    psi = gains[1] - gains[0]
    ws, wb = (weights[rows] / weights[rows].sum() for rows in (signal, background))
    value = ws @ psi @ wb
    variance = 0.0
    for parts, w in ((psi @ wb, ws), (ws @ psi, wb)):
        effective = 1 / (w @ w)
        variance += (w**2 @ (parts - w @ parts) ** 2) * effective / (effective - 1)
    return value, variance


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ties", [False, True])
def test_paired_delong_is_that_of_all_pairs_of_examples(weighted, ties):
    """With ties and event weights, to twelve digits."""
    rng = np.random.default_rng(3)
    for n in (23, 60, 301):
        labels = rng.permutation(np.arange(n) % 2)
        signal = rng.normal(size=(2, n)) + labels
        signal = np.round(signal, 0 if ties else 9)
        weights = rng.lognormal(size=n) if weighted else None
        scores = [[np.stack([-s, s], axis=1)] for s in signal]
        means = paired.auc_means(scores, labels, weights)
        value, variance = slow_delong(*signal, labels, np.ones(n) if weights is None else weights)
        contrast = np.array([-1, 1])
        assert means.values @ contrast == pytest.approx(value, abs=1e-12)
        found = contrast @ means.covariance @ contrast
        assert found == pytest.approx(variance, abs=1e-12, rel=1e-12)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemars_test_is_that_of_scipy(lost, won):
    """The exact one: a binomial test of one half."""
    every = lost + won
    expected = stats.binomtest(lost, every).pvalue if every else 1.0
    assert paired_runs.mcnemar(lost, won) == pytest.approx(expected, rel=1e-10)


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holms_procedure_leaves_out_as_the_textbook_does(probabilities):
    """Step down through sorted probabilities, each times the number of tests that are left."""
    left, rejected = sorted(range(len(probabilities)), key=probabilities.__getitem__), set()
    while left and probabilities[left[0]] * len(left) < 0.05:
        rejected.add(left.pop(0))
    found = paired_runs.holm(probabilities)
    assert {i for i, p in enumerate(found) if p < 0.05} == rejected
    assert all(p >= raw for p, raw in zip(found, probabilities, strict=True))


@pytest.mark.parametrize("freedom", [1, 2.6, 4, 30])
def test_chance_is_a_normal_deviate_and_a_students_t(freedom):
    """Alone each is that of scipy; together they are as often beyond a size as drawn numbers."""
    for size in (0.3, 2, 9):
        normal = difference(examples=1.0).beyond(size)
        assert normal == pytest.approx(2 * stats.norm.sf(size), rel=1e-9)
        student = difference(examples=0.0, trainings=1.0, freedom=freedom).beyond(size)
        assert student == pytest.approx(2 * stats.t.sf(size, freedom), rel=1e-7)
        nearly = difference(examples=1e-12, trainings=1.0, freedom=freedom).beyond(size)
        assert nearly == pytest.approx(2 * stats.t.sf(size, freedom), rel=1e-6)
    rng = np.random.default_rng(0)
    drawn = abs(rng.normal(size=200_000) + math.sqrt(2) * rng.standard_t(freedom, size=200_000))
    both = difference(examples=1.0, trainings=2.0, freedom=freedom)
    for size in (1, 3, 6):
        assert both.beyond(size) == pytest.approx((drawn > size).mean(), abs=0.004)


def test_the_smallest_visible_difference_by_hand():
    """Of a normal deviate: 1.960 + .842 standard errors at a level of 5 %."""
    found = difference(examples=1e-4).smallest_visible(0.05)
    assert found == pytest.approx(0.01 * (1.959964 + 0.841621), rel=1e-3)
    assert difference(examples=0.0).smallest_visible(0.05) == 0


def means(values, *, of_each=0.0, common=0.0):
    """Values of single trainings, with a variance of each of its own on the test examples."""
    n = len(values)
    covariance = of_each * np.eye(n) + common
    return Means(np.array(values), covariance, np.full(n, math.nan), np.ones(n, dtype=int))


def test_what_each_training_has_of_its_own_on_the_examples_is_counted_once():
    """The spread over trainings contains it; what all share cancels."""
    found = paired_runs.of_means(means([0.7, 0.72, 0.8, 0.84], of_each=1e-4, common=0.01), 2)
    assert found.value == pytest.approx(0.11)
    assert found.of_examples == 0
    # variances .0002 and .0008, each / 2
    assert found.of_trainings == pytest.approx(0.0005)
    assert [spread.own for spread in found.spreads] == pytest.approx([1e-4, 1e-4])
    assert found.freedom == pytest.approx(0.0005**2 / (0.0001**2 + 0.0004**2))


def test_what_runs_have_of_their_own_on_the_examples_stays():
    """Two deterministic models: all trainings of each have the same errors."""
    covariance = 1e-4 * np.kron(np.eye(2), np.ones((3, 3)))
    trained = means([0.7] * 3 + [0.72] * 3)
    found = paired_runs.of_means(Means(trained.values, covariance, trained.training_variance, trained.trainings), 3)  # fmt: skip
    assert found.of_examples == pytest.approx(2e-4)
    assert found.deterministic
    assert found.p == pytest.approx(2 * stats.norm.sf(0.02 / math.sqrt(2e-4)), rel=1e-9)


def test_accuracies_of_deterministic_models_are_compared_by_mcnemars_test():
    """Nine examples are lost and two won; weights have no exact test."""
    base = np.ones((2, 50), dtype=bool)
    base[:, :2] = False
    new = np.ones((3, 50), dtype=bool)
    new[:, 2:11] = False
    found = paired_runs.of_accuracy(np.concatenate([base, new]), None, 2)
    assert found.value == pytest.approx(-7 / 50)
    assert found.p == pytest.approx(stats.binomtest(2, 11).pvalue)
    weighted = paired_runs.of_accuracy(np.concatenate([base, new]), np.ones(50), 2)
    assert weighted.exact_p is None
    assert weighted.value == found.value


def test_accuracies_have_the_covariance_of_counts():
    """The variance of one is p (1 - p) / n; of a difference that of the disagreements."""
    correct = np.array([[1, 1, 0, 0, 1], [1, 0, 0, 1, 1]], dtype=bool)
    found = paired_runs.accuracy_means(correct, None)
    assert found.covariance[0, 0] == pytest.approx(0.6 * 0.4 / 5)
    gained = correct[1].astype(int) - correct[0]
    contrast = np.array([-1, 1])
    assert contrast @ found.covariance @ contrast == pytest.approx(gained.var() / 5)
    weighted = paired_runs.accuracy_means(correct, np.array([2.0, 2, 2, 2, 2]))
    np.testing.assert_allclose(weighted.covariance, found.covariance)


def test_more_examples_or_seeds_make_a_loss_visible():
    """As many as are said to do, and not many fewer; none where the other is at fault."""
    of_examples = difference(examples=1e-4)
    needed = paired_runs.examples_needed(of_examples, 1000, 0.01, 0.05)
    assert needed == pytest.approx(1000 * 2.8016**2, rel=0.02)
    # 2.8 errors of .001 are .0028: fewer are enough
    assert paired_runs.examples_needed(difference(), 1000, 0.01, 0.05) == 79
    of_seeds = difference(examples=0.0, trainings=1e-4, freedom=4.0)
    assert paired_runs.examples_needed(of_seeds, 1000, 0.01, 0.05) is None
    seeds = paired_runs.trainings_needed(of_seeds, 0.01, 0.05)
    assert 3 * 2.8**2 < seeds < 30
    assert paired_runs.trainings_needed(of_examples, 0.01, 0.05) is None


@settings(max_examples=30)
@given(st.floats(1e-9, 1e-3), st.floats(0, 1e-3), st.floats(0, 1), st.floats(1e-4, 0.2))
def test_as_many_examples_as_are_needed_are_enough(examples, trainings, part, loss):
    """Whatever the variances are."""
    found = difference(examples=examples, trainings=trainings, both=part * trainings, freedom=4.0)
    needed = paired_runs.examples_needed(found, 500, loss, 0.05)
    if needed is not None:
        factor = needed / 500
        more = difference(examples=examples / factor, freedom=4.0,
                          trainings=trainings * (1 - part + part / factor))  # fmt: skip
        assert more.smallest_visible(0.05) <= loss * 1.001


def simulated(seeds, *, spread, rng, toys=400):
    """Return probabilities for pairs of runs whose values differ by their trainings alone."""
    found = []
    for _ in range(toys):
        values = 0.8 + spread * rng.normal(size=2 * seeds) + 0.001 * rng.normal(size=2 * seeds)
        found.append(paired_runs.of_means(means(values, of_each=1e-6, common=1e-4), seeds).p)
    return np.array(found)


@pytest.mark.parametrize("spread", [0.0, 0.003])
@pytest.mark.parametrize("seeds", [3, 5])
def test_runs_that_differ_by_seed_alone_raise_few_alarms(seeds, spread):
    """About 3 to 5 % of them, whether trainings differ much or little; benchmarks measure it."""
    p = simulated(seeds, spread=spread, rng=np.random.default_rng(1), toys=1500)
    assert 0.02 < (p < 0.05).mean() < 0.065
    assert (p < 0.05 / 30).mean() < 0.005


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_loss_as_large_as_is_called_visible_is_found_in_four_of_five(seeds):
    """Whatever the estimated spread of a pair of runs is."""
    rng = np.random.default_rng(4)
    found = []
    for _ in range(300):
        values = 0.8 + 0.003 * rng.normal(size=2 * seeds)
        equal = paired_runs.of_means(means(values, of_each=1e-6, common=1e-4), seeds)
        lost = replace(equal, new=equal.new - equal.smallest_visible(0.05))
        found.append(lost.p < 0.05)
    assert np.mean(found) == pytest.approx(0.8, abs=0.08)
