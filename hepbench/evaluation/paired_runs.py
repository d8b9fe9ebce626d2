"""Paired test of two runs of a model: do the means over their trainings differ by more than chance?

Three things differ by chance between the means of two runs on one test set:

- the test examples, where the two runs answer them differently whatever their seeds are;
- each training, because other seeds give other networks;
- each training on these examples: it is right on others than the next training is.

The spread over trainings contains the last two, DeLong's covariance the first and the last. So the
last is counted once here, and runs that differ by seed alone are compared by their trainings alone.
Where many pairs of runs are compared, their spreads are moderated together.
``benchmarks/comparisons.py`` measures how often the test is wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from hepbench.evaluation import paired, spreads
from hepbench.evaluation.paired import Means
from hepbench.evaluation.spreads import Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hepbench.specs.types import Array


POWER = 0.8
"""Probability that the smallest visible loss is found."""


ROUNDING = 1e-12
"""Values that differ by less are equal."""


MANY = 1e5
"""Degrees of freedom from which Student's t is normal."""


FEW_DISAGREEMENTS = 25
"""Below this number of disagreements the exact test of McNemar is used beside the other one."""


@dataclass(frozen=True)
class RunDifference:
    """The difference of two runs on one test set: mean of NEW minus mean of BASE.

    Attributes:
        base, new: means over the trainings of each run.
        of_examples: variance that more test examples reduce and more trainings do not.
        spreads: over the trainings of BASE and of NEW.
        exact_p: from an exact test, if there is one: ``p`` is not smaller.
    """

    base: float
    new: float
    of_examples: float
    spreads: tuple[Spread, Spread]
    exact_p: float | None = None

    @property
    def of_trainings(self) -> float:
        """The variance of the difference of two runs that more trainings reduce."""
        return sum(spread.of_mean for spread in self.spreads)

    @property
    def freedom(self) -> float:
        """The degrees of freedom of ``of_trainings``, by Welch and Satterthwaite."""
        uncertain = sum(spread.of_mean**2 / spread.freedom for spread in self.spreads)
        return self.of_trainings**2 / uncertain if uncertain else math.inf

    @property
    def value(self) -> float:
        """The difference of the means of two runs, new minus base."""
        return self.new - self.base

    @property
    def stderr(self) -> float:
        """The standard error of the difference of two runs."""
        return math.sqrt(self.of_examples + self.of_trainings)

    @cached_property
    def p(self) -> float:
        """The probability of a difference at least as large between runs that are equally good."""
        # sums in another order differ in their last digits
        if abs(self.value) < ROUNDING:
            return 1.0
        if self.exact_p is not None and self.deterministic:
            return self.exact_p
        return max(self.beyond(abs(self.value)), self.exact_p or 0.0)

    @property
    def deterministic(self) -> bool:
        """Whether the trainings of each run agree with each other."""
        return self.of_trainings == 0

    def beyond(self, size: float) -> float:
        """Return the probability that chance alone makes a difference beyond +-``size``.

        Chance is a normal deviate of known variance plus Student's t of an estimated one. (Welch's
        approximation of their sum by a single t claims too often where significance levels are
        small, as they are after Holm's correction.)
        """
        known, estimated = self.of_examples, self.of_trainings
        if not known + estimated:
            return 0.0 if size else 1.0
        if estimated <= ROUNDING * known or self.freedom > MANY:
            return math.erfc(size / math.sqrt(2 * (known + estimated)))
        if not known:
            return paired.two_sided(size / math.sqrt(estimated), self.freedom)
        # Student's t is normal with the variance estimated * freedom / chi-squared
        x, weights = _chi_squared(self.freedom)
        sizes = size / np.sqrt(2 * (known + estimated * self.freedom / x))
        return float(sum(w * math.erfc(s) for w, s in zip(weights, sizes.tolist(), strict=True)))

    def smallest_visible(self, level: float) -> float:
        """Return the smallest true difference that is significant in POWER of such comparisons.

        Args:
            level: probability of a false alarm that is allowed.
        """
        return self.quantile(level) + self.quantile(2 * (1 - POWER))

    def quantile(self, level: float) -> float:
        """Return the size that chance alone exceeds with the probability ``level``."""
        return _root(self.beyond, level, start=self.stderr) if self.stderr else 0.0


def _chi_squared(freedom: float) -> tuple[Array, list[float]]:
    """Return nodes of chi-squared and their weights, for integrals over its distribution."""
    # in its logarithm, where equal steps are accurate: the integrand falls off on both sides
    steps = np.linspace(-64 / freedom, math.log(freedom + 10 * math.sqrt(2 * freedom) + 60), 200)
    logs = steps * freedom / 2 - np.exp(steps) / 2
    weights = np.exp(logs - logs.max())
    return np.exp(steps), (weights / weights.sum()).tolist()


def _root(falling: Callable[[float], float], value: float, *, start: float) -> float:
    """Return where a falling function has a value, to four digits."""
    low, high = 0.0, start
    while falling(high) > value:
        low, high = high, 2 * high
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > value else (low, middle)
    return high


def of_means(means: Means, base: int) -> RunDifference:
    """Return the difference of two runs from the values of single trainings.

    Args:
        means: of single trainings, each in place of a model: from ``paired.auc_means``,
            ``paired.resampled_means`` or ``accuracy_means``.
        base: number of trainings of BASE, which come first; 2 or more, as those of NEW.
    """
    runs = [slice(base), slice(base, None)]
    values = [means.values[run] for run in runs]
    spreads = [
        _spread(each, means.covariance[run, run]) for each, run in zip(values, runs, strict=True)
    ]
    signs = np.concatenate(
        [np.full(len(v), s / len(v)) for v, s in zip(values, (-1, 1), strict=True)]
    )
    paired_variance = float(signs @ means.covariance @ signs)
    own = sum(spread.own / spread.trainings for spread in spreads)
    return RunDifference(
        base=float(values[0].mean()),
        new=float(values[1].mean()),
        of_examples=_positive(paired_variance - own, compared_with=paired_variance),
        spreads=(spreads[0], spreads[1]),
    )


def _spread(values: Array, covariance: Array) -> Spread:
    """Return the spread over the trainings of one run, from their values and covariance."""
    n = len(values)
    # sums of equal values are rounded
    variance = float(values.var(ddof=1)) if np.ptp(values) > ROUNDING else 0.0
    own = float((np.trace(covariance) - covariance.sum() / n) / (n - 1))
    return Spread(variance, max(own, 0.0), n, n - 1)


def _positive(variance: float, *, compared_with: float) -> float:
    """Return a variance, or 0 if it is negative or only due to rounding."""
    return variance if variance > 1e-9 * compared_with else 0.0


def accuracy_means(correct: Array, weights: Array | None) -> Means:
    """Return the accuracies of single trainings with their covariance, which is exact.

    Args:
        correct: (T, N) bool, the examples that each training classifies correctly.
        weights: (N,), or None for equal weights.
    """
    n = correct.shape[1]
    relative = np.full(n, 1 / n) if weights is None else weights / weights.sum()
    values = correct @ relative
    scatter = (correct - values[:, None]) * relative
    each = np.full(len(values), math.nan)
    return Means(values, scatter @ scatter.T, each, np.ones(len(values), dtype=int))


def of_accuracy(correct: Array, weights: Array | None, base: int) -> RunDifference:
    """Return the difference of the accuracies of two runs.

    If the trainings of each run agree with each other, its probability is that of McNemar's exact
    test; it is at least that of this test where few examples are classified differently.

    Args:
        correct, weights: see ``accuracy_means``.
        base: number of trainings of BASE, which come first.
    """
    found = of_means(accuracy_means(correct, weights), base)
    gained = correct[base:].mean(axis=0) - correct[:base].mean(axis=0)
    lost, won = -gained[gained < 0].sum(), gained[gained > 0].sum()
    if weights is not None or not (found.deterministic or lost + won < FEW_DISAGREEMENTS):
        return found
    return replace(found, exact_p=mcnemar(round(lost), round(won)))


def mcnemar(lost: int, won: int) -> float:
    """Return the two-sided probability of McNemar's exact test.

    Args:
        lost, won: examples that only BASE, or only NEW, classifies correctly.

    Source: McNemar, Psychometrika 12 (1947) 153; here with the binomial distribution.
    """
    fewer, every = min(lost, won), lost + won
    if 2 * fewer >= every - 1:
        return 1.0
    # the probability of at most ``fewer`` heads in ``every`` tosses
    return min(1.0, 2 * paired.incomplete_beta(every - fewer, fewer + 1, 0.5))


def holm(probabilities: Sequence[float]) -> list[float]:
    """Return the probabilities of several tests, corrected by Holm's procedure.

    If those below a level are called significant, the probability that one of them is a false alarm
    is at most that level.
    """
    order = np.argsort(probabilities, kind="stable")
    left = np.arange(len(order), 0, -1)
    corrected = np.minimum(1, np.maximum.accumulate(np.take(probabilities, order) * left))
    found = np.empty(len(order))
    found[order] = corrected
    return found.tolist()


MOST_EXAMPLES, MOST_TRAININGS = 10**9, 1000
"""Numbers of test examples and seeds that are looked for, at most."""


def examples_needed(found: RunDifference, n: int, loss: float, level: float) -> int | None:
    """Return how many test examples would make a loss visible; None if no number would.

    Args:
        found: the difference on ``n`` examples.
        loss: above 0.
        level: see ``RunDifference.smallest_visible``.
    """

    def visible(factor: float) -> float:
        spreads = [_with_more_examples(spread, factor) for spread in found.spreads]
        more = replace(
            found, of_examples=found.of_examples / factor, spreads=(spreads[0], spreads[1])
        )
        return more.smallest_visible(level)

    if visible(MOST_EXAMPLES / n) > loss:
        return None
    return _rounded_up(n * _root(visible, loss, start=1.0))


def _with_more_examples(spread: Spread, factor: float) -> Spread:
    """Return a spread on more test examples: what each training has of its own on them shrinks."""
    own = min(spread.own, spread.variance)
    return replace(spread, variance=spread.variance - own + own / factor)


def trainings_needed(found: RunDifference, loss: float, level: float) -> int | None:
    """Return how many seeds per run would make a loss visible; None if no sensible number would.

    Args:
        found, loss, level: see ``examples_needed``.
    """
    now = min(spread.trainings for spread in found.spreads)

    def visible(seeds: float) -> float:
        first, second = (_with_more_trainings(spread, seeds / now) for spread in found.spreads)
        return replace(found, spreads=(first, second)).smallest_visible(level)

    if visible(MOST_TRAININGS) > loss:
        return None
    return math.ceil(_root(visible, loss, start=now))


def _with_more_trainings(spread: Spread, factor: float) -> Spread:
    freedom = spread.freedom + (factor - 1) * spread.trainings
    return replace(spread, trainings=factor * spread.trainings, freedom=max(freedom, 0.5))


def moderated(differences: Sequence[RunDifference]) -> list[RunDifference]:
    """Return the differences of many pairs of runs with spreads that are moderated together."""
    every = spreads.moderated([spread for each in differences for spread in each.spreads])
    both = zip(every[::2], every[1::2], strict=True)
    return [replace(each, spreads=pair) for each, pair in zip(differences, both, strict=True)]


def _rounded_up(number: float) -> int:
    """Return a number rounded up to two digits."""
    step = 10 ** max(0, len(str(int(number))) - 2)
    return int(math.ceil(number / step) * step)
