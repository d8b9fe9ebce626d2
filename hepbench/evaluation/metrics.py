"""The built-in metrics: weighted functions ``(Predictions) -> Measured``, in float64.

With two classes, 1 is the signal and ``scores[:, 1]`` its score. A metric without a value raises,
with the reason in one line. Checked arrays and sorted scores are computed once for all metrics and
kept as long as the predictions: do not change their arrays.
"""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hepbench.evaluation import uncertainty
from hepbench.specs.errors import EmptyClassError, UndefinedMetricError
from hepbench.specs.metric import Measured

if TYPE_CHECKING:
    from hepbench.specs.metric import Predictions
    from hepbench.specs.types import Array


SMALLEST = float(np.finfo(np.float32).eps)
"""The log loss clips scores to this distance from 0 and 1: float32 scores may be exactly 0 or 1."""


BINS = 15
"""Number of bins of the calibration error, as in Guo et al., arXiv:1706.04599."""


def auc(predictions: Predictions) -> Measured:
    """Return the area under the ROC curve, with DeLong's standard error.

    Ties count one half. More than two classes: the mean over ordered pairs of classes (i, j) of
    the AUC of score i between examples of i and of j, which is Hand and Till's macro one-vs-one.
    For a perfect (or perfectly wrong) order DeLong's error would be 0: ``stderr`` is None then, and
    ``low`` and ``high`` are an exact 68 % interval.

    Raises:
        EmptyClassError: a class has no example.

    Source: Hand and Till, Machine Learning 45 (2001) 171.
    """
    return _auc_of_part(part_of(predictions))


def _auc_of_part(part: Part) -> Measured:
    part.require_every_class()
    if part.classes == 2:
        gains = uncertainty.placements(part.curve.ties, part.labels == 1, part.weights)
    else:
        gains = uncertainty.one_vs_one(part.scores, part.labels, part.weights)
    found, covariance = uncertainty.delong(gains[None], part.labels, part.weights)
    value, variance = float(found[0]), float(covariance[0, 0])
    signed = part.weights.min() < 0
    if min(value, 1 - value) < 1e-12 and not (signed and variance > 0):
        smallest = min(uncertainty.effective_number(w) for w in part.weights_by_class)
        reach = uncertainty.perfect_order(smallest)
        return Measured(value, low=max(0.0, value - reach), high=min(1.0, value + reach))
    # weights of both signs may give a negative estimate, one example of a class gives none
    return Measured(value, stderr=math.sqrt(variance) if variance >= 0 else None)


def accuracy(predictions: Predictions) -> Measured:
    """Return the accuracy: the fraction of correctly classified examples.

    Its error is binomial.

    Two classes: an example is signal above the threshold that maximises this fraction on
    ``predictions.validation``. If that is None, ``predictions`` are the validation examples
    themselves and the threshold is chosen on them: a value for model selection, not for
    publication. More classes: the class of the highest score (the first of equal scores).

    Raises:
        EmptyClassError: two classes, and the validation part holds only one.
    """
    part = part_of(predictions)
    if part.classes == 2:
        return uncertainty.binomial(
            part.correct_above(accuracy_threshold(predictions)), part.weights
        )
    return uncertainty.binomial(part.scores.argmax(axis=1) == part.labels, part.weights)


def accuracy_at_half(predictions: Predictions) -> Measured:
    """Return the accuracy with the threshold at one half."""
    part = part_with_two_classes(predictions)
    return uncertainty.binomial(part.correct_above(0.5), part.weights)


def accuracy_threshold(predictions: Predictions) -> float:
    """Return the threshold that gives the best accuracy on the validation part.

    It lies midway between two neighbouring scores, or is infinite if one class is always best. Of
    several thresholds with the same accuracy it is the one nearest to one half.
    """
    part = part_with_two_classes(predictions.validation or predictions)
    part.require_every_class()
    accuracies, cuts = part.cuts
    best = np.flatnonzero(accuracies >= accuracies.max() - 1e-12)
    return float(cuts[best[np.argmin(abs(cuts[best] - 0.5))]])


def log_loss(predictions: Predictions) -> Measured:
    """Return the log loss: mean of -log(score of the true class), in nats.

    Scores are clipped to [eps, 1 - eps], eps = 1.19e-7 being float32's, so that a single score of
    0 costs 15.9 and not infinity.
    """
    part = part_of(predictions)
    true = part.scores[np.arange(len(part.labels)), part.labels]
    return uncertainty.mean(-np.log(np.clip(true, SMALLEST, 1 - SMALLEST)), part.weights)


def brier(predictions: Predictions) -> Measured:
    """Return the Brier score: mean squared difference between scores and labels.

    Two classes: of the signal score, between 0 and 1. More: summed over classes, between 0 and 2
    (Brier, Mon. Weather Rev. 78 (1950) 1).
    """
    part = part_of(predictions)
    if part.classes == 2:
        return uncertainty.mean((part.signal_scores - part.labels) ** 2, part.weights)
    true = part.scores[np.arange(len(part.labels)), part.labels]
    squares = np.einsum("nc,nc->n", part.scores, part.scores) - 2 * true + 1
    return uncertainty.mean(squares, part.weights)


def ece(predictions: Predictions) -> Measured:
    """Return the expected calibration error: mean over bins of |mean score - fraction|.

    Two classes: the signal score is compared with the fraction of signal. More: the highest score
    with the fraction of correct answers. The 15 bins hold equal weight, which is less biased than
    equal width; tied scores stay in one bin. Perfectly calibrated scores give about
    3 sqrt(mean(p (1 - p)) / N), not 0 (.08 at N = 300): compare at equal N only. There is no error.

    Source: Roelofs et al., AISTATS 2022, arXiv:2012.08668.
    """
    part = part_of(predictions)
    found = part.curve
    if part.classes > 2:
        right = part.scores.argmax(axis=1) == part.labels
        found = curve(part.scores.max(axis=1), right, part.weights)
    mass = found.signal + found.background
    total = mass.sum()
    # bins hold equal absolute weight, which is the weight if none is negative
    size = mass if part.weights.min() >= 0 else np.bincount(found.ties, abs(part.weights))
    middle = (np.cumsum(size) - size / 2) / size.sum()
    bins = np.minimum((BINS * middle).astype(int), BINS - 1)
    gaps = np.bincount(bins, found.signal - mass * found.scores)
    return Measured(float(abs(gaps).sum() / total))


def rejection_30(predictions: Predictions) -> Measured:
    """Return the background rejection at a signal efficiency of 30 %."""
    return background_rejection(predictions, signal_efficiency=0.3)


def rejection_50(predictions: Predictions) -> Measured:
    """Return the background rejection at a signal efficiency of 50 %."""
    return background_rejection(predictions, signal_efficiency=0.5)


def rejection_70(predictions: Predictions) -> Measured:
    """Return the background rejection at a signal efficiency of 70 %."""
    return background_rejection(predictions, signal_efficiency=0.7)


def background_rejection(predictions: Predictions, *, signal_efficiency: float) -> Measured:
    """Return 1 / (background efficiency) at a fixed signal efficiency.

    The cut is the highest score that keeps at least this fraction of the signal; all examples with
    exactly that score pass. So the result belongs to a real cut, and ties make it worse.

    Args:
        predictions: of two classes.
        signal_efficiency: working point in (0, 1].

    Returns:
        value >= 1. The error adds in quadrature the binomial error of the passing background and
        that of the signal efficiency, which moves the cut; ``low`` and ``high`` are Wilson's. If no
        background passes, or less than one (effective) example, the value is the 95 % lower limit
        and ``limit`` is True.

    Raises:
        EmptyClassError: there is no signal or no background.

    Source: Kasieczka et al., SciPost Phys. 7, 014 (2019), arXiv:1902.09914.
    """
    part = part_with_two_classes(predictions)
    part.require_every_class()
    background, signal = part.weights_by_class
    cut = part.cut_at(signal_efficiency)[0]
    passed = part.signal_scores[part.labels == 0] >= cut
    found, variance = uncertainty.fraction(passed, background)
    n_signal = uncertainty.effective_number(signal)
    step = math.sqrt(signal_efficiency * (1 - signal_efficiency) / n_signal)
    looser, tighter = (
        part.cut_at(signal_efficiency + step)[1],
        part.cut_at(signal_efficiency - step)[1],
    )
    variance += ((looser - tighter) / 2) ** 2
    return uncertainty.inverse(found, variance, uncertainty.effective_number(background))


def reconstruction(predictions: Predictions) -> Measured:
    """Return the mean reconstruction error of examples, as in the network's own loss."""
    return _mean_of_values(predictions, "reconstruction")


def kl(predictions: Predictions) -> Measured:
    """Return the mean KL divergence of posterior and prior over examples, in nats."""
    return _mean_of_values(predictions, "kl")


def latent_sparsity(predictions: Predictions) -> Measured:
    """Return the mean fraction of latents below 1 % of the largest one in the example."""
    return _mean_of_values(predictions, "latent_zeros")


def auc_reconstruction(predictions: Predictions) -> Measured:
    """Return the AUC with the reconstruction error as the signal score.

    Below one half, signal is reconstructed better than background.
    """
    return _anomaly_auc(predictions, "reconstruction")


def auc_elbo(predictions: Predictions) -> Measured:
    """Return the AUC with the negative evidence lower bound (ELBO) as the signal score."""
    return _anomaly_auc(predictions, "elbo")


def _mean_of_values(predictions: Predictions, name: str) -> Measured:
    return uncertainty.mean(_values_per_example(predictions, name), part_of(predictions).weights)


def _anomaly_auc(predictions: Predictions, name: str) -> Measured:
    part, values = part_with_two_classes(predictions), _values_per_example(predictions, name)
    return _auc_of_part(replace(part, scores=np.stack([-values, values], axis=1)))


def _values_per_example(predictions: Predictions, name: str) -> Array:
    """Return a stored value of each example (such as ``kl``) for a metric.

    Raises:
        UndefinedMetricError: there are none; the message says why.
    """
    found, n = predictions.values, len(part_of(predictions).labels)
    if not found:
        _undefined_metric(
            "such values exist only for networks whose encoder was last trained by its own loss"
        )
    if name not in found:
        _undefined_metric(
            f"the network's own loss has no value '{name}', only {', '.join(sorted(found))}"
        )
    values = np.asarray(found[name], dtype=float)
    if values.shape != (n,) or not np.isfinite(values).all():
        _undefined_metric(
            f"values '{name}' have shape {values.shape}; finite numbers ({n},) are expected"
        )
    return values


class Curve(NamedTuple):
    """The ROC curve of scores: signal and background weight at each distinct score.

    Attributes:
        scores: (T,) distinct.
        ties: (N,) int, index into ``scores`` of each example.
        signal, background: (T,) sums of weights.
    """

    scores: Array
    ties: Array
    signal: Array
    background: Array


def curve(scores: Array, signal: Array, weights: Array) -> Curve:
    """Return the ROC curve of (N,) scores with (N,) bool ``signal``; all metrics use it."""
    lowest, ties = np.unique(-scores, return_inverse=True)
    sums = [np.bincount(ties, weights * side) for side in (signal, ~signal)]
    return Curve(-lowest, ties, *sums)


@dataclass(frozen=True)
class Part:
    """Predictions of one part, checked, with intermediate results that metrics share.

    Attributes:
        labels: (N,) int; scores: (N, C); weights: (N,) float, of positive sum. Some may be negative.
    """

    labels: Array
    scores: Array
    weights: Array

    @property
    def classes(self) -> int:
        """Number of classes in the scores."""
        return int(self.scores.shape[1])

    @cached_property
    def signal_scores(self) -> Array:
        """Scores of class 1 (signal), as a contiguous array for metrics."""
        return np.ascontiguousarray(self.scores[:, 1])

    @cached_property
    def curve(self) -> Curve:
        """ROC curve of class 1 (signal) against the rest."""
        return curve(self.signal_scores, self.labels == 1, self.weights)

    @cached_property
    def weights_by_class(self) -> list[Array]:
        """Total weight of the examples of each class."""
        return [self.weights[self.labels == label] for label in range(self.classes)]

    def require_every_class(self) -> None:
        """Raise EmptyClassError if a class has no examples with weight."""
        for label, weights in enumerate(self.weights_by_class):
            name = ("background", "signal")[label] if self.classes == 2 else f"class {label}"
            if not weights.any():
                none = f"none of the {len(self.labels)} examples is {name}"
                msg = f"no example of {name} has weight" if len(weights) else none
                raise EmptyClassError(msg)
            if (total := weights.sum()) <= 0:
                msg = f"the weights of {name} add up to {total:.3g}; more than 0 is needed"
                raise EmptyClassError(msg)

    def correct_above(self, cut: float) -> Array:
        """Return which examples are correctly classified with a threshold, as (N,) bool."""
        return (self.signal_scores > cut) == (self.labels == 1)

    @cached_property
    def cuts(self) -> tuple[Array, Array]:
        """Accuracy at each of the (T + 1,) distinct thresholds, and the thresholds."""
        scores = self.curve.scores
        between = (scores[:-1] + scores[1:]) / 2
        gained = np.cumsum(np.append(0, self.curve.signal - self.curve.background))
        accuracies = (gained + self.curve.background.sum()) / self.weights.sum()
        return accuracies, np.concatenate(([np.inf], between, [-np.inf]))

    @cached_property
    def passing(self) -> tuple[Array, Array]:
        """Signal and background efficiency (T,) at each threshold, highest score first."""
        signal, background = np.cumsum(self.curve.signal), np.cumsum(self.curve.background)
        return signal / signal[-1], background / background[-1]

    def cut_at(self, efficiency: float) -> tuple[float, float]:
        """Return the highest threshold with this signal efficiency, and the background's."""
        signal, background = self.passing
        # sums of weights are rounded: an efficiency too small by 1e-12 counts as reached
        reached = signal >= efficiency - 1e-12
        # with negative weights, the efficiency also falls on the way
        at = int(np.argmax(reached)) if reached.any() else len(signal) - 1
        return float(self.curve.scores[at]), float(background[at])


_kept: dict[int, Part] = {}


def part_of(predictions: Predictions) -> Part:
    """Return checked predictions for metrics, computed once for each object.

    Raises:
        UndefinedMetricError: metrics cannot be computed from the arrays.
    """
    part = _kept.get(id(predictions))
    if part is None:
        part = _kept[id(predictions)] = _checked_part(predictions)
        # Python reuses an id once its object is gone
        weakref.finalize(predictions, _kept.pop, id(predictions), None)
    return part


def _checked_part(predictions: Predictions) -> Part:
    labels = np.asarray(predictions.labels, dtype=np.int64)
    scores, weights = np.asarray(predictions.scores, dtype=float), predictions.weights
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, dtype=float)
    n = len(labels)
    if not n:
        _undefined_metric("there are no examples")
    if scores.shape[:1] != (n,) or scores.ndim != 2 or scores.shape[1] < 2 or len(weights) != n:
        _undefined_metric(
            f"{n} labels, scores of shape {scores.shape} and {len(weights)} weights do not match"
        )
    if not (scores.min() >= 0 and scores.max() <= 1 + 1e-6):
        _undefined_metric("scores are not probabilities: some are not finite or not within 0 and 1")
    if labels.min() < 0 or labels.max() >= scores.shape[1]:
        _undefined_metric(
            f"labels are {labels.min()} to {labels.max()}, but scores have {scores.shape[1]} columns"
        )
    if not (np.isfinite(weights).all() and 0 < weights.sum() < np.inf):
        _undefined_metric("weights must be finite, and their sum above 0")
    return Part(labels, scores, weights)


def _undefined_metric(reason: str) -> None:
    raise UndefinedMetricError(reason)


def part_with_two_classes(predictions: Predictions) -> Part:
    """Return checked predictions of two classes, see ``part_of``."""
    part = part_of(predictions)
    if part.classes != 2:
        _undefined_metric(f"the metric is defined for two classes only; there are {part.classes}")
    return part
