"""Paired tests of models on one test set: their errors, and how often they are wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from hepbench import Measured, Predictions, UndefinedMetricError
from hepbench.evaluation import metrics, paired
from hepbench.evaluation.paired import Means


def scores_of(signal):
    """Scores of two classes whose second column is ``signal``."""
    return np.stack([-signal, signal], axis=-1)


def trained(rng, labels, *, models=3, seeds=2, spread=0.0, lead=0.0, separation=1.19):
    """Scores (models, seeds, N, 2) that share most of their noise; the first model may be better."""
    shape = (models, seeds, len(labels))
    noise = rng.normal(size=len(labels)) + 0.5 * rng.normal(size=shape)
    each = separation + spread * rng.normal(size=(models, seeds, 1))
    each[0] += lead
    return scores_of(each * labels + noise)


def labels_of(n):
    """Alternating labels of n examples."""
    return np.arange(n) % 2


def means(values, *, errors=0.01, spread=0.0, n=3, **more):
    """Means with uncorrelated errors of the test sample."""
    values = np.array(values)
    covariance = np.diag(np.broadcast_to(errors, len(values)) ** 2)
    each = np.broadcast_to(spread, len(values)) ** 2 / n
    return Means(values, covariance, each, np.full(len(values), n), **more)


@pytest.mark.parametrize(
    ("t", "freedom", "p"),
    [
        (12.706, 1, 0.05),
        (4.303, 2, 0.05),
        (2.776, 4, 0.05),
        (63.657, 1, 0.01),
        (3.169, 10, 0.01),
        (1.960, math.inf, 0.05),
        (2.576, 1e7, 0.01),
        (0.0, 3, 1.0),
        (1.0, 1, 0.5),
    ],
)
def test_students_t_is_that_of_printed_tables(t, freedom, p):
    """Two-sided quantiles from any textbook; with one degree of freedom t = 1 is Cauchy's half."""
    assert paired.two_sided(t, freedom) == pytest.approx(p, rel=2e-3)


@pytest.mark.parametrize("freedom", [1.3, 2, 7.7, 400, 99_999])
def test_students_t_is_that_of_scipy(freedom):
    """Whole numbers and others, in the middle and far out."""
    stats = pytest.importorskip("scipy.stats")
    for t in (0.01, 0.7, 2, 6, 30):
        expected = 2 * stats.t.sf(t, freedom)
        assert paired.two_sided(t, freedom) == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_a_difference_by_hand():
    """Errors .03 and .04 make .05; with spreads of .06 / sqrt(3) each the variance is .0049."""
    found = paired.difference(means([0.8, 0.7], errors=[0.03, 0.04], spread=0.06), 0, 1)
    assert found.value == pytest.approx(0.1)
    assert found.stderr == pytest.approx(0.07)
    # .0049^2 / (2 x .0012^2 / 2), by Welch and Satterthwaite
    assert found.freedom == pytest.approx(0.0049**2 / 0.0012**2)
    assert found.p == pytest.approx(paired.two_sided(0.1 / 0.07, found.freedom))


def test_what_models_have_in_common_leaves_the_difference():
    """Covariance: .01^2 + .01^2 - 2 x .9 x .01^2 = 2e-5."""
    both = means([0.8, 0.79])
    both.covariance[0, 1] = both.covariance[1, 0] = 0.9 * 0.01**2
    assert paired.difference(both, 0, 1).stderr == pytest.approx(math.sqrt(2e-5))


def test_equal_scores_do_not_differ():
    """Nor do scores that only differ by a monotone map, of any trainings."""
    rng = np.random.default_rng(0)
    signal = rng.normal(size=60)
    found = paired.auc_means([[scores_of(signal)] * 2, [scores_of(8 * signal)] * 3], labels_of(60), None)  # fmt: skip
    difference = paired.difference(found, 0, 1)
    assert (difference.value, difference.stderr) == pytest.approx((0, 0), abs=1e-8)
    assert difference.p == 1
    assert paired.not_worse(found, higher_is_better=True) == [0, 1]


def test_an_error_that_is_not_known_marks_no_row_as_worse():
    """A single example of a class has no scatter."""
    labels = np.array([1, 0, 0, 0])
    rng = np.random.default_rng(0)
    found = paired.auc_means(scores_of(rng.normal(size=(2, 2, 4))), labels, None)
    assert paired.difference(found, 0, 1).p == 1
    assert paired.not_worse(found, higher_is_better=True) == [0, 1]


def test_a_common_factor_of_all_weights_changes_nothing():
    """Values, errors and the variance over trainings stay."""
    rng = np.random.default_rng(1)
    labels, weights = labels_of(80), rng.uniform(0.5, 2, 80)
    scores = trained(rng, labels)
    one, other = (paired.auc_means(scores, labels, w) for w in (weights, 1e-5 * weights))
    for name in ("values", "covariance", "training_variance"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9)


@pytest.mark.parametrize("classes", [2, 4])
def test_values_are_the_means_of_the_metric(classes):
    """Of two classes and of more; the variance over trainings is theirs / their number."""
    rng = np.random.default_rng(2)
    labels = np.arange(200) % classes
    scores = rng.dirichlet(np.ones(classes), size=(2, 3, 200))
    found = paired.auc_means(scores, labels, None)
    for i, trainings in enumerate(scores):
        each = [metrics.auc(Predictions(labels=labels, scores=s)) for s in trainings]
        assert found.values[i] == pytest.approx(np.mean([one.value for one in each]))
        expected = np.var([one.value for one in each], ddof=1) / 3
        assert found.training_variance[i] == pytest.approx(expected)
        # of independent trainings, averaging lowers the error of the test sample
        assert found.covariance[i, i] < np.mean([one.stderr for one in each]) ** 2


def predictions_of(scores, labels):
    """Predictions of each training of each model, as probabilities."""
    signal = 1 / (1 + np.exp(-scores[..., 1]))
    return [
        [Predictions(labels=labels, scores=np.stack([1 - p, p], axis=-1)) for p in trainings]
        for trainings in signal
    ]


def test_the_bootstrap_agrees_with_delong():
    """Of the AUC, where both are known: the same values, errors within a fifth."""
    rng = np.random.default_rng(3)
    labels = labels_of(400)
    scores = trained(rng, labels)
    exact = paired.auc_means(scores, labels, None)
    drawn = paired.resampled_means(metrics.auc, predictions_of(scores, labels))
    np.testing.assert_allclose(drawn.values, exact.values, rtol=1e-9)
    for i, j in ((0, 1), (1, 2)):
        one, other = (paired.difference(each, i, j) for each in (drawn, exact))
        assert one.stderr == pytest.approx(other.stderr, rel=0.2)


def test_the_bootstrap_of_fewer_examples_is_scaled_to_all(monkeypatch):
    """Of a mean, whose error is known: standard deviation / sqrt(N)."""
    rng = np.random.default_rng(4)
    labels = labels_of(3000)
    tests = predictions_of(trained(rng, labels, models=1), labels)
    monkeypatch.setattr(paired, "MOST_SCORES", 0)
    found = paired.resampled_means(metrics.log_loss, tests)
    losses = [-np.log(each.scores[np.arange(3000), labels]) for each in tests[0]]
    expected = np.std(np.mean(losses, axis=0)) / math.sqrt(3000)
    assert math.sqrt(found.covariance[0, 0]) == pytest.approx(expected, rel=0.2)


def events(p):
    """Count the signal-like examples."""
    return float((p.scores[:, 1] > 0.5).sum())


@pytest.mark.parametrize(
    ("metric", "separation"),
    [(metrics.rejection_30, 2.4), (metrics.rejection_30, 2.7), (events, 2.7)],
)
def test_all_examples_are_drawn_where_fewer_have_other_values(monkeypatch, metric, separation):
    """Of a rejection with few examples or only a limit left, and of a sum: errors are those of all."""
    rng = np.random.default_rng(7)
    labels = labels_of(10_000)
    tests = predictions_of(trained(rng, labels, models=1, separation=separation), labels)
    expected = paired.resampled_means(metric, tests)
    assert expected.resamples == paired.RESAMPLES
    monkeypatch.setattr(paired, "MOST_SCORES", 0)
    found = paired.resampled_means(metric, tests)
    np.testing.assert_allclose(found.covariance, expected.covariance)


def test_the_bootstrap_draws_all_arrays_alike_and_leaves_validation_whole():
    """A metric may use any of them."""
    n = 50
    ids = np.arange(n)
    whole = Predictions(
        labels=labels_of(n),
        scores=np.stack([1 - ids / n, ids / n], axis=1),
        weights=1.0 + ids,
        physical_weights=4.0 * ids,
        ids=ids,
        spectators={"mass": 2.0 * ids},
        values={"kl": 3.0 * ids},
    )
    seen = []

    def compute(p):
        arrays = (p.labels, p.scores[:, 1] * n, p.weights - 1, p.spectators["mass"] / 2)
        seen.append(len(p.ids))
        assert all(np.allclose(a, b) for a, b in zip(arrays, (p.ids % 2, p.ids, p.ids, p.ids), strict=True))  # fmt: skip
        assert np.allclose(p.values["kl"] / 3, p.ids)
        assert np.allclose(p.physical_weights / 4, p.ids)
        assert p.validation is whole
        return Measured(float(p.ids.mean()))

    test = Predictions(**{n: getattr(whole, n) for n in whole.__dataclass_fields__} | {"validation": whole})  # fmt: skip
    paired.resampled_means(compute, [[test, test], [test, test]])
    assert set(seen) == {n}


def test_a_metric_without_a_value_in_most_resamples_is_undefined():
    """As the AUC of a class with one example, which a third of all resamples does not hold."""
    labels = np.array([1] + [0] * 19)
    tests = predictions_of(trained(np.random.default_rng(0), labels), labels)
    assert paired.resampled_means(metrics.auc, tests).resamples < paired.RESAMPLES

    def sometimes(p):
        if len(np.unique(p.ids)) < 20:
            msg = "examples are missing"
            raise UndefinedMetricError(msg)
        return 0.5

    tests = [[Predictions(labels=labels, scores=t.scores, ids=np.arange(20)) for t in each] for each in tests]  # fmt: skip
    with pytest.raises(UndefinedMetricError, match=r"for most resamples.*: examples are missing"):
        paired.resampled_means(sometimes, tests)


def test_a_value_that_is_not_finite_is_none():
    """Of some resamples it is left out; of all examples nothing is compared."""
    labels = labels_of(20)
    scores = predictions_of(trained(np.random.default_rng(0), labels), labels)
    tests = [[replace(t, ids=np.arange(20)) for t in each] for each in scores]

    def seldom(p):
        return math.nan if 0 not in p.ids else p.scores[:, 1].mean()

    found = paired.resampled_means(seldom, tests)
    assert 50 < found.resamples < paired.RESAMPLES
    assert np.isfinite(found.covariance).all()
    with pytest.raises(UndefinedMetricError, match="the metric returned nan"):
        paired.resampled_means(lambda _: math.nan, tests)


def test_rows_are_left_out_by_holms_procedure():
    """.05 / 2 for the first of two rows behind the best, .05 / 1 for the second: z of 2.241, 1.96."""
    error = math.sqrt(2) * 0.01
    assert paired.not_worse(means([0.9, 0.9 - 2.23 * error, 0.9]), higher_is_better=True) == [0, 1, 2]  # fmt: skip
    assert paired.not_worse(means([0.9, 0.9 - 2.25 * error, 0.9]), higher_is_better=True) == [0, 2]
    values = [0.9, 0.9 - 2.25 * error, 0.9 - 1.97 * error]
    assert paired.not_worse(means(values), higher_is_better=True) == [0]
    values[2] = 0.9 - 1.95 * error
    assert paired.not_worse(means(values), higher_is_better=True) == [0, 2]


def test_lower_may_be_better():
    """As for losses: the smallest mean is the best one."""
    assert paired.not_worse(means([0.5, 0.3, 0.8]), higher_is_better=False) == [1]


def test_few_trainings_with_a_large_spread_claim_little():
    """Two trainings each: 4 errors are not significant, where 30 trainings are."""
    values = [0.9, 0.8]
    few = means(values, errors=0.001, spread=0.025, n=2)
    many = means(values, errors=0.001, spread=0.025, n=30)
    assert paired.not_worse(few, higher_is_better=True) == [0, 1]
    assert paired.not_worse(many, higher_is_better=True) == [0]


@pytest.mark.parametrize(("seeds", "spread"), [(2, 0.1), (3, 0.0), (3, 0.1), (5, 0.3)])
def test_an_equally_good_model_is_seldom_left_out(seeds, spread):
    """Of 100 tables of five, in at most one twentieth: 38 of 500 have a probability below 1 %."""
    rng = np.random.default_rng(seeds)
    labels = labels_of(200)
    left_out = 0
    for _ in range(100):
        scores = trained(rng, labels, models=5, seeds=seeds, spread=spread)
        means = paired.auc_means(scores, labels, None)
        left_out += 5 - len(paired.not_worse(means, higher_is_better=True))
    assert left_out < 38


def test_a_better_model_is_found():
    """Whose lead is a third of the error of either AUC, since both share most of their noise."""
    rng = np.random.default_rng(5)
    labels = labels_of(2000)
    found = paired.auc_means(trained(rng, labels, seeds=3, lead=0.2), labels, None)
    assert paired.not_worse(found, higher_is_better=True) == [0]
    error = math.sqrt(found.covariance[0, 0])
    assert 0.02 < found.values[0] - found.values[1:].max() < 5 * error
