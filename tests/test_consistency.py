"""What marks a row: each check must catch its fault and accept sound metrics."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from hepbench import Measured, Predictions, UndefinedMetricError
from hepbench.evaluation import consistency, measure, metric_audit, metrics
from hepbench.evaluation.significance import ams
from hepbench.storage.records import CONSTANT_SCORES

CORE = [
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


def separated(n: int = 2000, *, seed: int = 0, shift: float = 0.0, **more) -> Predictions:
    """Scores of AUC .81, calibrated unless their logits are shifted."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    logits = 1.24 * (rng.normal(size=n) + 1.24 * labels) - 0.77 + shift
    signal = 1 / (1 + np.exp(-logits))
    return Predictions(labels=labels, scores=np.stack([1 - signal, signal], axis=1), **more)


def best_accuracy(p):
    """The threshold is chosen on the labels that are scored."""
    signal = p.scores[:, 1]
    return max(float(np.mean((signal > cut) == p.labels)) for cut in (0, *np.unique(signal)))


def accuracy_on_a_grid(p):
    """The same, as it is often seen."""
    cuts = np.linspace(0, 1, 21)
    return max(float(np.mean((p.scores[:, 1] > cut) == p.labels)) for cut in cuts)


def largest_youden(p):
    """Best of signal efficiency minus background efficiency over all thresholds."""
    signal, background = metrics.part_of(p).passing
    return float((signal - background).max())


def tie_blind_auc(p):
    """Ranks without mid-ranks."""
    order = np.argsort(p.scores[:, 1], kind="stable")
    ranks = np.empty(len(order))
    ranks[order] = np.arange(1, len(order) + 1)
    signal = p.labels == 1
    n = signal.sum()
    return float((ranks[signal].sum() - n * (n + 1) / 2) / n / (~signal).sum())


def f1_at_half(p):
    """A ratio of sums: biased by O(1 / n), and sound."""
    called, signal = p.scores[:, 1] > 0.5, p.labels == 1
    return float(2 * (called & signal).sum() / (called.sum() + signal.sum()))


def average_precision(p):
    """Over all thresholds, but the best of none."""
    return float(average_precision_score(p.labels, p.scores[:, 1]))


def equal_width_ece(p):
    """Ten bins."""
    signal = p.scores[:, 1]
    gaps = np.bincount(np.minimum((10 * signal).astype(int), 9), p.labels - signal)
    return float(abs(gaps).sum() / len(signal))


def accuracy_above_the_median(p):
    """A threshold from the scores alone sees no label."""
    signal = p.scores[:, 1]
    return float(np.mean((signal > np.median(signal)) == p.labels))


def mean_score(p):
    """Blind to labels."""
    return float(p.scores[:, 1].mean())


def drawing(seed: int = 0):
    """A metric with a generator that goes on."""
    rng = np.random.default_rng(seed)
    return lambda p: float(rng.normal())


def sorting_in_place(p):
    """Spoils the scores for whoever comes next."""
    p.scores.sort(axis=0)
    return 0.5


def undefined(p):
    """Needs what made-up predictions do not have."""
    msg = "needs the target 'mass'"
    raise UndefinedMetricError(msg)


@pytest.mark.parametrize("metric", CORE)
def test_audit_passes_every_metric_of_the_core(metric):
    """Of two classes."""
    assert metric_audit.audit(metric) == []


@pytest.mark.parametrize("classes", [3, 5, 10])
@pytest.mark.parametrize(
    "metric", [metrics.auc, metrics.accuracy, metrics.log_loss, metrics.brier, metrics.ece]
)
def test_audit_passes_the_core_for_several_classes(metric, classes):
    """Those that take any number."""
    assert metric_audit.audit(metric, classes=classes) == []


@pytest.mark.parametrize(
    "metric",
    [f1_at_half, average_precision, equal_width_ece, accuracy_above_the_median, mean_score],
)
def test_audit_passes_what_others_rightly_use(metric):
    """Ratios, sums over thresholds, bins and label-blind thresholds are sound."""
    assert metric_audit.audit(metric) == []


def signal_events(p):
    """A sum over examples, which grows with their number."""
    return float((p.labels == 1).sum())


def significance(p):
    """Signal over the root of the background above one half: grows as the root of the number."""
    called = p.scores[:, 1] > 0.5
    return float((called & (p.labels == 1)).sum() / np.sqrt((called & (p.labels == 0)).sum() + 1))


@pytest.mark.parametrize("metric", [signal_events, significance, ams])
def test_audit_passes_what_grows_with_the_number_of_examples(metric):
    """Sums of expected events are not fitted to labels."""
    assert metric_audit.audit(metric) == []


@pytest.mark.parametrize("n", [100, 200, 2000])
def test_audit_flags_a_metric_of_the_first_rows(n):
    """Random permutations of many rows tell."""
    found = metric_audit.audit(lambda p: float(np.mean(p.scores[:n, 1] > 0.5)))
    assert "depends on the order of rows (ties?)" in found


@pytest.mark.parametrize("metric", [best_accuracy, accuracy_on_a_grid, largest_youden])
def test_audit_flags_a_threshold_chosen_on_the_test_labels(metric):
    """Such a metric finds something in random labels, the more the fewer there are."""
    (warning,) = metric_audit.audit(metric)
    assert warning.startswith("under random labels")
    assert "chosen on the labels" in warning


def test_audit_flags_an_auc_that_is_blind_to_ties():
    """Its value depends on which of two tied rows comes first."""
    assert metric_audit.audit(tie_blind_auc) == ["depends on the order of rows (ties?)"]


@pytest.mark.parametrize(
    ("metric", "warning"),
    [
        (lambda p: float("nan"), "returns nan"),
        (lambda p: Measured(0.5, stderr=float("inf")), "returns inf"),
        (lambda p: "0.5", "returns a str"),
        (lambda p: None, "returns a NoneType"),
        (lambda p: np.array([0.5, 0.5]), "returns a ndarray"),
        (lambda p: True, "returns a bool"),
        (drawing(), "returns two different values"),
        (sorting_in_place, "changes its input arrays"),
    ],
)
def test_audit_flags_what_breaks_the_contract(metric, warning):
    """With one message and no other check after it."""
    (found,) = metric_audit.audit(metric)
    assert found.startswith(warning)


@pytest.mark.parametrize(
    "metric", [lambda p: np.float32(0.5), lambda p: Measured(0.5), lambda p: 1]
)
def test_audit_accepts_any_finite_number(metric):
    """Python's or numpy's, or Measured."""
    assert metric_audit.audit(metric) == []


@pytest.mark.parametrize("metric", [undefined, lambda p: p.spectators["mass"]])
def test_audit_leaves_what_raises_to_the_records(metric):
    """A metric that needs more than made-up predictions cannot be judged by them."""
    assert metric_audit.audit(metric) == []


def test_audit_is_quick():
    """Ten times the 20 ms that it takes on an idle core."""
    start = time.process_time()
    metric_audit.audit(metrics.auc)
    assert time.process_time() - start < 0.2


@pytest.mark.parametrize("noise", [0, 1e-9])
def test_scores_that_are_equal_but_for_rounding_are_marked(noise):
    """An AUC of such scores would rank rounding errors."""
    signal = 0.3 + noise * np.random.default_rng(0).random(20)
    same = Predictions(labels=np.arange(20) % 2, scores=np.column_stack([1 - signal, signal]))
    warning = consistency.scores_differ(same)
    assert warning.startswith("all test examples get the same scores")
    assert measure.row_warnings([], {"test": same}, {}) == [f"scores: {warning}"]


def test_scores_that_differ_are_not_marked():
    """Nor is the score of a single example; write-up 000's masked filters still leave .0002."""
    scores = np.array([[0.5, 0.5], [0.5002, 0.4998]])
    test = Predictions(labels=np.array([0, 1]), scores=scores)
    assert consistency.scores_differ(test) is None
    single = Predictions(labels=np.array([0]), scores=scores[:1])
    assert consistency.scores_differ(single) is None


def warned(predictions, **more):
    """Warnings about one cell, without metrics of plugins."""
    return measure.row_warnings([], {"test": predictions}, {}, **more)


def test_constant_scores_are_named_and_nothing_else_is():
    """Not "not calibrated"; a model that reports no parameter has grown no tree."""
    same = Predictions(labels=np.arange(20) % 2, scores=np.tile([0.9, 0.1], (20, 1)))
    (warning,) = warned(same)
    assert warning.startswith(CONSTANT_SCORES)
    assert warned(same, parameters=3) == [warning]
    assert warned(same, parameters=0) == [warning + consistency.NO_PARAMETERS]
    assert metrics.auc(same).value == 0.5


@pytest.mark.parametrize("sharp", [0.0, 0.02])
def test_scores_of_classes_in_place_of_probabilities_are_named(sharp):
    """Hard ones, and those that are rounded to 0 or 1 for most examples."""
    p = separated()
    signal = np.clip((p.scores[:, 1] - 0.5) / (sharp or 1e-9) + 0.5, 0, 1)
    hard = Predictions(labels=p.labels, scores=np.stack([1 - signal, signal], axis=1))
    (warning,) = warned(hard)
    kind = "hard, all are 0 or 1" if not sharp else r"saturated, 9\d% are exactly 0 or 1"
    assert re.fullmatch(rf"scores: {kind}, so \d\d% of the pairs .*", warning)
    assert "calibrated" not in warning


def test_tied_pairs_by_hand():
    """Signal .2, 0, 1, 1 and background 0, 0, .5, 1: of 16 pairs 2 are tied at 0, and 2 at 1."""
    scores = np.array([0.2, 0, 1, 1, 0, 0, 0.5, 1])
    p = Predictions(labels=np.repeat([1, 0], 4), scores=np.stack([1 - scores, scores], axis=1))
    assert "saturated, 75% are exactly 0 or 1, so 25% of the pairs" in consistency.ranking_lost(p)
    weighted = replace(p, weights=np.array([1, 3, 1, 1, 1, 1, 1, 1.0]))
    assert "so 33% of the pairs" in consistency.ranking_lost(weighted)


def test_scores_that_tell_the_classes_apart_may_be_hard():
    """No pair of two classes is tied: there is no ranking to lose. Nor where few scores are 1."""
    labels = np.arange(400) % 2
    (doubt,) = warned(Predictions(labels=labels, scores=np.eye(2)[labels]))
    assert doubt.startswith("auc: 1.0000 is 1 within its error; does an input give")
    p = separated()
    signal = np.where(p.scores[:, 1] > 0.97, 1.0, p.scores[:, 1])
    assert warned(Predictions(labels=p.labels, scores=np.stack([1 - signal, signal], axis=1))) == []


@pytest.mark.parametrize(("wrong", "doubted"), [(0, True), (1, True), (8, False)])
def test_an_auc_of_1_within_its_error_is_questioned(wrong, doubted):
    """In one line; an AUC below 1 by more than its error is not, however good it is."""
    labels = np.arange(400) % 2
    signal = labels * 0.5 + np.linspace(0, 0.4, 400)
    signal[1 : 2 * wrong : 2] = 0.2
    p = Predictions(labels=labels, scores=np.stack([1 - signal, signal], axis=1))
    assert (consistency.too_good(p) is not None) == doubted


def test_hard_scores_of_several_classes_are_named():
    """By the pairs of each class and the others."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=600)
    called = np.where(rng.uniform(size=600) < 0.6, labels, rng.integers(3, size=600))
    (warning,) = warned(Predictions(labels=labels, scores=np.eye(3)[called]))
    assert warning.startswith("scores: hard, all are 0 or 1")
    assert warned(Predictions(labels=labels, scores=0.9 * np.eye(3)[called] + 1 / 30)) == []


def test_scores_that_rank_the_wrong_way_are_named():
    """More than three errors below one half; within three it is chance."""
    p = separated()
    (warning,) = warned(replace(p, scores=p.scores[:, ::-1]))
    assert re.match(r"scores: ranked the wrong way, AUC 0.1\d\d is 3\d standard errors", warning)
    assert warning.endswith("(are the classes swapped?)")
    rng = np.random.default_rng(1)
    noise = rng.uniform(size=2000)
    chance = replace(p, scores=np.stack([1 - noise, noise], axis=1))
    assert warned(chance) == []


def test_a_perfectly_wrong_order_is_named():
    """It has no standard error, but an interval."""
    labels = np.arange(40) % 2
    scores = np.stack([0.3 + 0.4 * labels, 0.7 - 0.4 * labels], axis=1)
    (warning,) = warned(Predictions(labels=labels, scores=scores))
    assert "ranked the wrong way, AUC 0.000" in warning


def test_accuracy_that_fits_is_not_marked():
    """Calibrated scores of AUC .81, at one half and at a threshold from validation."""
    test = separated(validation=separated(500, seed=1))
    assert metrics.auc(test).value == pytest.approx(0.81, abs=0.01)
    assert consistency.accuracy_fits_auc(test) is None
    assert consistency.accuracy_fits_auc(test, threshold=0.5) is None


def test_fifty_one_percent_at_auc_81_is_marked_with_the_reason():
    """Logits shifted by 4: one half calls all signal; validation, shifted alike, finds the cut."""
    test = separated(shift=4, validation=separated(500, seed=1, shift=4))
    warning = consistency.accuracy_fits_auc(test, threshold=0.5)
    assert "accuracy 0.5" in warning
    assert "at AUC 0.81" in warning
    assert "these scores allow 0.73" in warning
    assert "classifies 100% as signal, and 50% are signal" in warning
    assert warning.endswith("so the scores are not calibrated")
    assert "\n" not in warning
    assert consistency.accuracy_fits_auc(test) is None


def test_a_threshold_from_another_validation_is_marked():
    """Validation scores that were shifted against the test part's."""
    test = separated(validation=separated(500, seed=1, shift=4))
    warning = consistency.accuracy_fits_auc(test)
    assert "from validation classifies" in warning
    assert "not calibrated" not in warning


@pytest.mark.parametrize("n", [30, 100, 1000])
def test_scores_that_know_nothing_are_not_marked(n):
    """The best of all thresholds is better than one half by chance; five errors allow for that."""
    rng = np.random.default_rng(n)
    for _ in range(40):
        signal = rng.uniform(size=n)
        p = Predictions(labels=np.arange(n) % 2, scores=np.stack([1 - signal, signal], axis=1))
        assert consistency.accuracy_fits_auc(p, threshold=0.5) is None


def test_a_rare_signal_never_called_is_not_marked():
    """With 2 % signal, calling none is as accurate as any threshold."""
    p = separated(4000)
    rare = np.flatnonzero((p.labels == 0) | (np.arange(4000) % 50 == 1))
    cut = Predictions(labels=p.labels[rare], scores=p.scores[rare])
    assert consistency.accuracy_fits_auc(cut, threshold=0.999) is None


def test_what_has_no_auc_has_nothing_to_fit():
    """A single class, and more than two."""
    p = separated(20)
    single = Predictions(labels=np.ones(20, dtype=int), scores=p.scores)
    assert consistency.accuracy_fits_auc(single, threshold=0.5) is None
    three = Predictions(labels=np.arange(20) % 3, scores=np.full((20, 3), 1 / 3))
    assert consistency.accuracy_fits_auc(three) is None
    assert consistency.accuracy_fits_auc(three, threshold=0.5) is None
    validated = Predictions(labels=p.labels, scores=p.scores, validation=single)
    assert consistency.accuracy_fits_auc(validated) is None


@pytest.mark.parametrize("seed", range(20))
def test_an_auc_bounds_the_best_youden_from_below(seed):
    """J >= 1 - sqrt(2 (1 - AUC)), as the docstring says, for any scores."""
    rng = np.random.default_rng(seed)
    labels = np.arange(60) % 2
    signal = np.clip(rng.integers(0, 10, 60) / 10 + rng.uniform(0, 1) * labels, 0, 1.5) / 1.5
    p = Predictions(labels=labels, scores=np.stack([1 - signal, signal], axis=1))
    assert largest_youden(p) >= 1 - np.sqrt(2 * (1 - metrics.auc(p).value)) - 1e-12
