"""The core's metrics against hand-worked values, scikit-learn and what must hold of any of them."""

from __future__ import annotations

import gc
import math
import re
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from hepbench import (
    EmptyClassError,
    Measured,
    Metric,
    PluginError,
    Predictions,
    UndefinedMetricError,
)
from hepbench.evaluation import metrics

TWO_CLASSES = [
    metrics.auc,
    metrics.accuracy,
    metrics.accuracy_at_half,
    metrics.log_loss,
    metrics.brier,
    metrics.ece,
    metrics.rejection_30,
    metrics.rejection_50,
    metrics.rejection_70,
]
# a loaded machine is no failure
steady = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

ANY_CLASSES = [metrics.auc, metrics.accuracy, metrics.log_loss, metrics.brier, metrics.ece]


def predictions(labels, scores, **more) -> Predictions:
    """Signal scores (N,) or scores (N, C) with their labels."""
    scores = np.asarray(scores, dtype=float)
    columns = scores if scores.ndim == 2 else np.stack([1 - scores, scores], axis=1)
    return Predictions(labels=np.asarray(labels), scores=columns, **more)


def drawn(n: int, *, classes: int = 2, seed: int = 0, levels: int = 0, **more) -> Predictions:
    """Scores that know something, of few ``levels`` if tied."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    powers = np.exp(rng.normal(size=(n, classes)) + 1.5 * (labels[:, None] == np.arange(classes)))
    if levels:
        powers = np.ceil(levels * powers / powers.max())
    scores = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return predictions(labels, scores, **more)


@st.composite
def tied_predictions(draw, *, validation: bool = True):
    """Few distinct scores, exact in binary, both classes, weights that are small integers."""
    n = draw(st.integers(4, 30))
    rows = st.lists(st.integers(0, 16), min_size=n, max_size=n)
    labels = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    assume(0 < sum(labels) < n)
    weights = draw(st.lists(st.integers(1, 3), min_size=n, max_size=n))
    return predictions(
        labels,
        np.array(draw(rows)) / 16,
        weights=np.array(weights, dtype=float),
        validation=draw(tied_predictions(validation=False)) if validation else None,
    )


def repeated(p: Predictions) -> Predictions:
    """Each example as often as its weight says."""
    times = p.weights.astype(int)
    validation = p.validation and repeated(p.validation)
    return Predictions(
        labels=p.labels.repeat(times), scores=p.scores.repeat(times, axis=0), validation=validation
    )


def reordered(p: Predictions, seed: int) -> Predictions:
    """The same rows in another order, the validation part's too."""
    rows = np.random.default_rng(seed).permutation(len(p.labels))
    validation = p.validation and reordered(p.validation, seed + 1)
    weights = None if p.weights is None else p.weights[rows]
    return replace(
        p, labels=p.labels[rows], scores=p.scores[rows], weights=weights, validation=validation
    )


def test_auc_counts_pairs_and_a_tie_as_half():
    """Of the pairs (.8, .6), (.8, .2), (.6, .6), (.6, .2) three are right and one is tied."""
    assert metrics.auc(predictions([1, 0, 1, 0], [0.8, 0.6, 0.6, 0.2])).value == 3.5 / 4


def test_auc_weighs_pairs_by_the_product_of_weights():
    """Pairs weigh 2 x 1 (right), 2 x 3 (right), 1 x 1 (wrong), 1 x 3 (right): 11 of 12."""
    p = predictions([1, 0, 1, 0], [0.8, 0.6, 0.4, 0.2], weights=np.array([2.0, 1, 1, 3]))
    assert metrics.auc(p).value == pytest.approx(11 / 12)


@steady
@given(tied_predictions())
def test_auc_depends_only_on_the_order_of_the_scores(p):
    """Halving is monotone and exact in binary, so ties stay ties."""
    halved = predictions(p.labels, p.scores[:, 1] / 2, weights=p.weights)
    assert metrics.auc(halved) == metrics.auc(p)


@steady
@given(tied_predictions())
def test_swapping_the_classes_gives_one_minus_auc_and_the_same_error(p):
    """Signal called background is ranked wrongly exactly where it was ranked rightly."""
    there, back = metrics.auc(p), metrics.auc(replace(p, labels=1 - p.labels))
    assert back.value == pytest.approx(1 - there.value)
    assert (back.stderr is None) == (there.stderr is None)
    assert (back.stderr or 0) == pytest.approx(there.stderr or 0, abs=1e-9)


@steady
@given(tied_predictions())
def test_auc_and_losses_agree_with_scikit_learn(p):
    """Ties, weights and all."""
    signal, weights = p.scores[:, 1], p.weights
    known = sklearn_metrics.roc_auc_score(p.labels, signal, sample_weight=weights)
    assert metrics.auc(p).value == pytest.approx(known)
    known = sklearn_metrics.brier_score_loss(p.labels, signal, sample_weight=weights)
    assert metrics.brier(p).value == pytest.approx(known)
    known = sklearn_metrics.accuracy_score(p.labels, signal > 0.5, sample_weight=weights)
    assert metrics.accuracy_at_half(p).value == pytest.approx(known)
    known = sklearn_metrics.log_loss(p.labels, p.scores.astype(np.float32), sample_weight=weights)
    assert metrics.log_loss(p).value == pytest.approx(known, rel=1e-4)


def test_several_classes_agree_with_scikit_learn():
    """AUC is Hand and Till's macro one-vs-one; the Brier score sums over classes."""
    p = drawn(300, classes=4, levels=40)
    known = sklearn_metrics.roc_auc_score(p.labels, p.scores, multi_class="ovo")
    assert metrics.auc(p).value == pytest.approx(known)
    truth = np.eye(4)[p.labels]
    assert metrics.brier(p).value == pytest.approx(((p.scores - truth) ** 2).sum(axis=1).mean())
    known = sklearn_metrics.log_loss(p.labels, p.scores.astype(np.float32))
    assert metrics.log_loss(p).value == pytest.approx(known, rel=1e-6)
    assert metrics.accuracy(p).value == np.mean(p.scores.argmax(axis=1) == p.labels)


def test_several_classes_with_two_columns_are_the_two_class_auc():
    """Hand and Till's mean over both directions of one pair is that pair's AUC."""
    p = drawn(80)
    three = replace(p, scores=np.column_stack([p.scores, np.zeros(80)]))
    with pytest.raises(EmptyClassError, match="class 2"):
        metrics.auc(three)
    certain = Predictions(labels=np.full(20, 2), scores=np.tile([0, 0, 1.0], (20, 1)))
    joined = Predictions(
        labels=np.append(three.labels, certain.labels),
        scores=np.concatenate([three.scores, certain.scores]),
    )
    # of the three pairs two are perfect
    assert metrics.auc(joined).value == pytest.approx((metrics.auc(p).value + 2) / 3)


def test_a_perfect_order_has_an_interval_instead_of_an_error_of_zero():
    """Five pairs in order leave every AUC with AUC^5 >= 31.7 % possible."""
    found = metrics.auc(predictions([0] * 5 + [1] * 9, np.arange(14) / 14))
    assert (found.value, found.stderr, found.high) == (1.0, None, 1.0)
    assert found.low**5 == pytest.approx(1 - math.erf(math.sqrt(0.5)))
    wrong = metrics.auc(predictions([1] * 5 + [0] * 9, np.arange(14) / 14))
    assert (wrong.value, wrong.low) == (0.0, 0.0)
    assert wrong.high == pytest.approx(1 - found.low)


def test_constant_scores_have_auc_one_half():
    """Every pair is tied, so nothing scatters; tables show no error of such a row."""
    assert metrics.auc(predictions([0, 1, 1, 0, 0], [0.3] * 5)) == Measured(0.5, stderr=0.0)


@pytest.mark.parametrize("metric", TWO_CLASSES)
@steady
@given(tied_predictions(), st.integers(0, 9))
def test_no_metric_depends_on_the_order_of_rows(metric, p, seed):
    """Not even where scores are tied."""
    assert metric(reordered(p, seed)).value == pytest.approx(metric(p).value, rel=1e-12)


@pytest.mark.parametrize("metric", TWO_CLASSES)
@steady
@given(tied_predictions())
def test_an_integer_weight_counts_like_repetition(metric, p):
    """Values agree; a limit depends on how many examples scatter, and is left out."""
    weighted, again = metric(p), metric(repeated(p))
    assume(not weighted.limit)
    assume(not again.limit)
    assert weighted.value == pytest.approx(again.value)


@pytest.mark.parametrize("metric", TWO_CLASSES)
@steady
@given(tied_predictions(), st.sampled_from([0.25, 3.0, 1e6]))
def test_the_scale_of_the_weights_means_nothing(metric, p, factor):
    """A luminosity factor changes neither value nor error."""
    scaled = metric(replace(p, weights=factor * p.weights))
    for name in ("value", "stderr", "low", "high", "limit"):
        there, here = getattr(metric(p), name), getattr(scaled, name)
        assert here == pytest.approx(there, abs=1e-9)


@pytest.mark.parametrize("metric", ANY_CLASSES)
def test_an_example_of_weight_zero_is_not_there(metric):
    """Of two classes and of three, in value and in error."""
    for classes in (2, 3):
        p = drawn(60, classes=classes, weights=np.arange(60) % 4 / 2)
        kept = np.flatnonzero(p.weights)
        without = replace(p, labels=p.labels[kept], scores=p.scores[kept], weights=p.weights[kept])
        there, here = metric(p), metric(without)
        assert here.value == pytest.approx(there.value)
        assert (here.stderr or 0) == pytest.approx(there.stderr or 0)


def test_the_threshold_is_chosen_on_validation_alone():
    """Validation separates at .3; on the test part that misclassifies the signal at .2."""
    validation = predictions([0, 0, 1, 1], [0.1, 0.25, 0.35, 0.9])
    test = predictions([0, 1, 1, 1], [0.1, 0.2, 0.4, 0.8], validation=validation)
    assert metrics.accuracy_threshold(test) == pytest.approx(0.3)
    assert metrics.accuracy(test).value == 0.75
    relabelled = replace(test, labels=1 - test.labels)
    assert metrics.accuracy_threshold(relabelled) == pytest.approx(0.3)


def test_validation_itself_is_scored_with_the_threshold_chosen_on_it():
    """It has no other part to choose by."""
    assert metrics.accuracy(predictions([0, 0, 1, 1], [0.1, 0.25, 0.35, 0.9])).value == 1.0


@steady
@given(tied_predictions(validation=False))
def test_no_threshold_is_more_accurate_on_validation(p):
    """Compared with each score as a threshold, and with none."""
    signal = p.scores[:, 1]
    tried = [(signal > cut) == p.labels for cut in (-1, 2, *signal, *(signal - 1e-3))]
    best = max(np.average(right, weights=p.weights) for right in tried)
    assert metrics.accuracy(p).value == pytest.approx(best)


def test_of_equally_good_thresholds_the_one_nearest_one_half_is_taken():
    """.15 and .84 are right for three of four each; .45 and none or all for two."""
    p = predictions([0, 1, 0, 1], [0.1, 0.2, 0.7, 0.98])
    assert metrics.accuracy_threshold(p) == pytest.approx(0.84)


def test_accuracy_near_one_has_a_lopsided_interval():
    """Ten of ten right: no standard error, and Wilson's lower bound n / (n + 1)."""
    found = metrics.accuracy_at_half(predictions([0, 1] * 5, [0.1, 0.9] * 5))
    assert found == Measured(1.0, low=pytest.approx(10 / 11), high=1.0)


def test_a_score_of_zero_for_the_true_class_costs_a_finite_loss():
    """-log of float32's eps is 15.94; the other example costs nothing."""
    found = metrics.log_loss(predictions([0, 1], [1.0, 1.0]))
    assert found.value == pytest.approx(23 * math.log(2) / 2, abs=1e-6)


def test_ece_of_constant_scores_is_their_distance_from_the_share_of_signal():
    """Tied scores share one bin: .7 against two signal examples of five."""
    assert metrics.ece(predictions([0, 1, 0, 1, 0], [0.7] * 5)).value == pytest.approx(0.3)


def test_ece_bins_hold_equal_weight():
    """Thirty scores make fifteen bins of two: gaps of alternating sign cancel within a bin."""
    scores = np.arange(1, 31) / 100
    assert metrics.ece(predictions([0, 1] * 15, scores)).value == pytest.approx(0.5 - 0.155)
    # a bin for each example: nothing cancels
    scores = np.arange(1, 16) / 100
    gaps = abs(np.array([0, 1] * 7 + [0]) - scores)
    assert metrics.ece(predictions([0, 1] * 7 + [0], scores)).value == pytest.approx(gaps.mean())


def test_ece_of_several_classes_compares_the_highest_score_with_being_right():
    """Four examples at .5, three of them right."""
    p = predictions([0, 0, 0, 1], np.tile([0.5, 0.3, 0.2], (4, 1)))
    assert metrics.ece(p).value == pytest.approx(0.25)


def test_rejection_counts_background_above_the_cut_that_keeps_the_signal():
    """Ten signal jets; the third highest is at .8, where 4 of 100 background jets pass."""
    signal = np.arange(10) / 10 + 0.05
    background = np.append(np.full(4, 0.9), np.linspace(0.01, 0.74, 96))
    p = predictions([1] * 10 + [0] * 100, np.append(signal, background))
    found = metrics.rejection_30(p)
    assert found.value == pytest.approx(25)
    assert found.low < 25 < found.high
    assert not found.limit


def test_scores_tied_with_the_cut_all_pass():
    """Constant scores reject nothing at any signal efficiency."""
    found = metrics.rejection_50(predictions([0, 1] * 20, [0.4] * 40))
    assert (found.value, found.limit) == (1.0, False)


def test_a_signal_efficiency_that_is_reached_exactly_needs_no_further_example():
    """Three of ten are 30 %, whatever .1 + .2 is, with equal and with fractional weights."""
    scores = np.append(np.arange(10, 0, -1), [7.5, 0.5]) / 20
    for weights in (None, np.full(12, 0.1)):
        p = predictions([1] * 10 + [0, 0], scores, weights=weights)
        assert metrics.rejection_30(p).limit
        assert metrics.rejection_50(p).value == pytest.approx(2)


def test_without_passing_background_the_rejection_is_a_limit():
    """None of 59: the efficiency e has (1 - e)^59 = 5 %, the classic rule of 59 for e = 5 %."""
    p = predictions([1] * 10 + [0] * 59, [0.9] * 10 + [0.1] * 59)
    found = metrics.rejection_50(p)
    assert (1 - 1 / found.value) ** 59 == pytest.approx(0.05)
    assert (found.limit, found.stderr, found.low, found.high) == (True, None, None, None)
    assert found.value == pytest.approx(20.2, abs=0.1)


def test_a_speck_of_background_weight_gives_no_gigantic_rejection():
    """One jet of a millionth of the others' weight passes: still a limit."""
    weights = np.ones(110)
    weights[10] = 1e-6
    scores = [0.9] * 11 + [0.1] * 99
    found = metrics.rejection_50(predictions([1] * 10 + [0] * 100, scores, weights=weights))
    assert found.limit
    assert 30 < found.value < 40


@steady
@given(tied_predictions(), st.sampled_from([0.01, 0.3, 0.5, 0.7, 1.0]))
def test_rejection_is_finite_at_least_one_and_a_limit_exactly_without_background(p, efficiency):
    """Whatever the scores, with equal weights."""
    found = metrics.background_rejection(replace(p, weights=None), signal_efficiency=efficiency)
    assert 1 <= found.value < math.inf
    signal, background = p.scores[p.labels == 1, 1], p.scores[p.labels == 0, 1]
    cut = np.sort(signal)[::-1][math.ceil(efficiency * len(signal) - 1e-9) - 1]
    assert found.limit == (not (background >= cut).any())


def weighted(classes: int, *, signed: bool, seed: int = 0) -> Predictions:
    """Return scores away from 0 and 1 with weights over three decades, some negative if signed."""
    rng = np.random.default_rng(seed)
    p = drawn(600, classes=classes, seed=seed, levels=30)
    weights = rng.lognormal(0, 1.2, 600) * np.where(signed & (rng.random(600) < 0.15), -1, 1)
    scores = (p.scores + 0.05) / (p.scores + 0.05).sum(axis=1, keepdims=True)
    return replace(p, scores=scores, weights=weights)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_weighted_sums_are_those_of_scikit_learn(classes, signed, seed):
    """To 1e-12, with negative weights too."""
    p = weighted(classes, signed=signed, seed=seed)
    equals = {"rel": 1e-12, "abs": 1e-12}
    known = sklearn_metrics.log_loss(p.labels, p.scores, sample_weight=p.weights)
    assert metrics.log_loss(p).value == pytest.approx(known, **equals)
    called = p.scores.argmax(axis=1)
    known = sklearn_metrics.accuracy_score(p.labels, called, sample_weight=p.weights)
    found = metrics.accuracy(p) if classes > 2 else metrics.accuracy_at_half(p)
    assert found.value == pytest.approx(known, **equals)
    squares = (p.scores - np.eye(classes)[p.labels]) ** 2
    known = np.average(squares.sum(axis=1) / (2 if classes == 2 else 1), weights=p.weights)
    assert metrics.brier(p).value == pytest.approx(known, **equals)
    if classes == 2:
        known = sklearn_metrics.brier_score_loss(p.labels, p.scores[:, 1], sample_weight=p.weights)
        assert metrics.brier(p).value == pytest.approx(known, **equals)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_weighted_auc_and_rejection_are_those_of_scikit_learn(classes, seed):
    """To 1e-12; of several classes the mean over ordered pairs of classes."""
    p, pairs = weighted(classes, signed=False, seed=seed), []
    for i in range(classes):
        for j in set(range(classes)) - {i}:
            some = (p.labels == i) | (p.labels == j)
            truth, score, weights = p.labels[some] == i, p.scores[some, i], p.weights[some]
            pairs.append(sklearn_metrics.roc_auc_score(truth, score, sample_weight=weights))
    assert metrics.auc(p).value == pytest.approx(np.mean(pairs), rel=1e-12)
    if classes == 2:
        passed, kept, _ = sklearn_metrics.roc_curve(
            p.labels, p.scores[:, 1], sample_weight=p.weights, drop_intermediate=False
        )
        for efficiency in (0.3, 0.5, 0.7):
            found = metrics.background_rejection(p, signal_efficiency=efficiency)
            # less than one effective example of background passes in some
            assert found.limit or found.value == pytest.approx(
                1 / passed[np.argmax(kept >= efficiency)], rel=1e-12
            )


@pytest.mark.parametrize("seed", range(5))
def test_auc_with_negative_weights_sums_over_pairs(seed):
    """Scikit-learn gives none where the ROC curve turns back; each pair has the product of weights."""
    p = weighted(2, signed=True, seed=seed)
    signal, background = p.labels == 1, p.labels == 0
    right = p.scores[signal, 1][:, None] - p.scores[background, 1]
    pairs = p.weights[signal][:, None] * p.weights[background]
    known = (pairs * (right > 0) + pairs * (right == 0) / 2).sum() / pairs.sum()
    assert metrics.auc(p).value == pytest.approx(known, rel=1e-12)


@pytest.mark.parametrize("metric", TWO_CLASSES)
def test_every_metric_has_a_finite_value_with_negative_weights(metric):
    """Also where they bring a fraction below 0 or above 1."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        weights = np.where(rng.random(40) < 0.3, -1.0, 1.5)
        # a class whose weights add up to nothing has no value
        with suppress(UndefinedMetricError):
            found = metric(drawn(40, seed=seed, weights=weights))
            assert math.isfinite(found.value)
            assert found.stderr is None or math.isfinite(found.stderr)


@pytest.mark.parametrize(
    ("metric", "spread"),
    [(metrics.auc, 0.1), (metrics.log_loss, 0.1), (metrics.rejection_50, 0.15)],
)
@pytest.mark.parametrize("lowest", [None, 0.2, -0.4])
def test_errors_are_how_far_repeated_samples_scatter(metric, spread, lowest):
    """Three hundred test sets of a thousand examples, Gaussians 1.5 sigma apart; signed weights too."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(300):
        labels = np.arange(1000) % 2
        scores = 1 / (1 + np.exp(1.125 - 1.5 * (rng.normal(size=1000) + 1.5 * labels)))
        weights = None if lowest is None else rng.uniform(lowest, 1.8, 1000)
        found.append(metric(predictions(labels, scores, weights=weights)))
    expected = math.sqrt(np.mean([m.stderr**2 for m in found]))
    assert np.std([m.value for m in found]) == pytest.approx(expected, rel=spread)


@pytest.mark.parametrize("metric", TWO_CLASSES)
@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (predictions([], np.zeros((0, 2))), "no examples"),
        (predictions([0, 1], [np.nan, 0.5]), "not finite"),
        (predictions([0, 1], [-3.0, 4.0]), "not probabilities"),
        (predictions([0, -1], [0.2, 0.5]), "labels are -1 to 0"),
        (predictions([0, 2], [0.2, 0.5]), "scores have 2 columns"),
        (predictions([0, 1, 1], [0.2, 0.5]), "3 labels"),
        (predictions([0, 1], [0.2, 0.5], weights=np.array([1.0, -1.0])), "sum above 0"),
        (predictions([0, 1], [0.2, 0.5], weights=np.zeros(2)), "sum above 0"),
        (predictions([0, 1], [0.2, 0.5], weights=np.array([1.0, np.nan])), "finite"),
    ],
)
def test_what_cannot_be_scored_raises_with_the_reason(metric, broken, reason):
    """In one line, never 0.0 or NaN."""
    with pytest.raises(UndefinedMetricError, match=reason) as raised:
        metric(broken)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("metric", [metrics.auc, metrics.rejection_30, metrics.accuracy])
@pytest.mark.parametrize(("label", "missing"), [(0, "signal"), (1, "background")])
def test_a_single_class_has_no_auc_no_rejection_and_no_threshold(metric, label, missing):
    """The message names the class that is not there; weight zero is not being there."""
    with pytest.raises(EmptyClassError, match=missing):
        metric(predictions([label] * 3, [0.1, 0.5, 0.9]))
    weights = np.array([1.0, 1.0, 0.0])
    with pytest.raises(EmptyClassError, match=missing):
        metric(predictions([label, label, 1 - label], [0.1, 0.5, 0.9], weights=weights))


@pytest.mark.parametrize("metric", [metrics.rejection_50, metrics.accuracy_at_half])
def test_what_is_made_for_two_classes_says_so(metric):
    """Three classes have no single background."""
    with pytest.raises(UndefinedMetricError, match="two classes only; there are 3"):
        metric(drawn(30, classes=3))


def test_the_sort_is_shared_and_forgotten_with_its_predictions():
    """The same arrays while they live; nothing kept afterwards."""
    p = drawn(50)
    part = metrics.part_of(p)
    assert metrics.part_of(p) is part
    assert metrics.part_of(replace(p)) is not part
    kept = id(p)
    del p
    gc.collect()
    assert kept not in metrics._kept


# --- values of each example


def with_values(values, labels=(0, 0, 1, 1), **more):
    """Predictions of networks that have a loss of their own."""
    found = {name: np.asarray(array, dtype=float) for name, array in values.items()}
    return predictions(labels, np.full(len(labels), 0.5), values=found, **more)


def test_means_of_values_have_the_standard_error_of_the_mean():
    """1, 2, 3, 6: mean 3, sample deviation sqrt(14 / 3), over sqrt(4) examples."""
    names = {"reconstruction": "reconstruction", "kl": "kl", "latent_sparsity": "latent_zeros"}
    for name, value in names.items():
        found = getattr(metrics, name)(with_values({value: [1, 2, 3, 6]}))
        assert found.value == 3
        assert found.stderr == pytest.approx(math.sqrt(14 / 3 / 4))


def test_means_of_values_are_weighted():
    """Weights 2, 1, 0, 1 of 1, 2, 3, 6."""
    p = with_values({"kl": [1, 2, 3, 6]}, weights=np.array([2.0, 1, 0, 1]))
    assert metrics.kl(p).value == 10 / 4


def test_the_area_under_a_loss_counts_pairs_of_which_the_signal_has_more():
    """(5, 1) and (5, 3) are right, (2, 1) is, (2, 3) is not; below one half it is shown as it is."""
    loss, back = [1, 3, 5, 2], [5, 2, 1, 3]
    for name, value in (("auc_reconstruction", "reconstruction"), ("auc_elbo", "elbo")):
        compute = getattr(metrics, name)
        assert compute(with_values({value: loss})).value == 3 / 4
        assert compute(with_values({value: back})).value == 1 / 4


@steady
@given(tied_predictions())
def test_the_area_under_a_loss_is_that_of_a_score_in_its_order(p):
    """With its error; the scale of a loss does not matter."""
    loss = 1000 * p.scores[:, 1]
    found = metrics.auc_reconstruction(replace(p, values={"reconstruction": loss}))
    assert found == metrics.auc(p)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "such values exist only for networks whose encoder was last trained by its own loss"),
        (
            {"l1": [1, 2, 3, 4], "latent_zeros": [0, 0, 0, 1]},
            "has no value 'kl', only l1, latent_zeros",
        ),
        ({"kl": [1, 2, 3]}, "values 'kl' have shape (3,); finite numbers (4,) are expected"),
        ({"kl": [1, 2, 3, math.inf]}, "finite numbers (4,) are expected"),
    ],
)
def test_values_that_are_missing_are_said_to_be(values, reason):
    """Never 0.0."""
    with pytest.raises(UndefinedMetricError, match=re.escape(reason)):
        metrics.kl(with_values(values))


def test_an_unknown_aspect_of_comparison_is_refused():
    """A misspelt aspect would compare values that must not be compared."""
    with pytest.raises(PluginError, match=r"no aspect named 'splits'. Did you mean 'split'"):
        Metric(name="m", compute="m:m", higher_is_better=True, same=frozenset({"splits"}))


@pytest.mark.parametrize("rows", [slice(5, 9), np.array([3, 3, 1]), np.arange(200) % 3 == 0])
def test_predictions_of_some_rows_have_every_column_of_theirs(rows):
    """For metrics in slices; thresholds still come from the whole validation part."""
    rng = np.random.default_rng(1)
    columns = {"pt": rng.exponential(size=200)}
    whole = drawn(200, weights=rng.uniform(1, 2, 200), ids=np.arange(200), spectators=columns,
                  values=columns, validation=drawn(50, seed=2))  # fmt: skip
    some = whole[rows]
    for name in ("labels", "scores", "weights", "ids"):
        assert np.array_equal(getattr(some, name), getattr(whole, name)[rows])
    for found in (some.spectators, some.values):
        assert np.array_equal(found["pt"], columns["pt"][rows])
    assert some.validation is whole.validation
    assert drawn(9)[:4].weights is None
