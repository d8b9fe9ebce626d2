"""Spreads over the few trainings of a run, each moderated by those of many other runs.

The variance of three trainings is known to a factor of three. Where many runs are compared at once,
all of their variances show how large such variances are, and how much they differ: the more alike
they are, the more they count.

Source: Smyth, Stat. Appl. Genet. Mol. Biol. 3 (2004) 3, with a cautious number of degrees of freedom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hepbench.evaluation.paired import incomplete_beta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepbench.specs.types import Array


FEWEST = 10
"""Variances from which their distribution is estimated, at least."""


CAUTION = 2.0
"""Standard errors by which variances are taken to differ more than they seem to."""


OUTLIER = 0.05
"""A variance that others make less probable than this is left as it is."""


@dataclass(frozen=True)
class Spread:
    """The spread over the trainings of one run.

    Attributes:
        variance: of single trainings.
        own: the part of it that more test examples reduce: what each training has of its own on them.
        trainings: their number.
        freedom: degrees of freedom of ``variance``.
    """

    variance: float
    own: float
    trainings: float
    freedom: float

    @property
    def of_mean(self) -> float:
        """The variance of the mean over the trainings of a run, due to their spread."""
        return self.variance / self.trainings


def moderated(spreads: Sequence[Spread]) -> list[Spread]:
    """Return spreads whose variances are weighted means of their own and of the typical one.

    A variance that is much larger than others are is left as it is, so are all where there are fewer
    than FEWEST. Variances are compared in units of ``own``, which the number of test examples fixes.
    """
    scaled = any(spread.own > 0 for spread in spreads)
    scales = [(spread.own if scaled else 1.0) * (spread.variance > 0) for spread in spreads]
    used = [i for i, scale in enumerate(scales) if scale > 0]
    if len(used) < FEWEST:
        return list(spreads)
    ratios = np.array([spreads[i].variance / scales[i] for i in used])
    prior = _prior(ratios, np.array([spreads[i].freedom for i in used]))
    found = list(spreads)
    for i in used:
        found[i] = _moderated(spreads[i], prior, scales[i])
    return found


class Prior(NamedTuple):
    """The distribution of variances: the typical one, and the degrees of freedom that it counts for."""

    variance: float
    freedom: float


def _prior(ratios: Array, freedoms: Array) -> Prior:
    """Return the distribution of variances (N,), estimated from the moments of their logarithms."""
    halves = (freedoms / 2).tolist()
    logs = np.log(ratios) + [math.log(h) - digamma(h) for h in halves]
    expected = [trigamma(h) for h in halves]
    kurtosis = np.mean([tetragamma(h) / trigamma(h) ** 2 for h in halves])
    scatter = float(logs.var(ddof=1))
    stderr = scatter * math.sqrt((2 + kurtosis) / len(logs))
    more = max(scatter - float(np.mean(expected)), 0.0) + CAUTION * stderr
    half = _inverse_trigamma(more)
    typical = math.exp(float(logs.mean()) + digamma(half) - math.log(half))
    return Prior(typical, 2 * half)


def _moderated(spread: Spread, prior: Prior, scale: float) -> Spread:
    ratio, freedom = spread.variance / scale, spread.freedom
    # the probability of a larger ratio, from the F distribution
    part = prior.freedom / (prior.freedom + freedom * ratio / prior.variance)
    if incomplete_beta(prior.freedom / 2, freedom / 2, part) < OUTLIER:
        return spread
    every = prior.freedom + freedom
    weighted = (prior.freedom * prior.variance * scale + freedom * spread.variance) / every
    return replace(spread, variance=weighted, freedom=every)


FAR = 10.0
"""From here on, series in 1 / x are exact to eleven digits."""


def digamma(x: float) -> float:
    """Return the derivative of the logarithm of the gamma function, for x > 0.

    Source of this and the next two: NIST Digital Library of Mathematical Functions, 5.5.2, 5.11.2.
    """
    shift = 0.0
    while x < FAR:
        shift -= 1 / x
        x += 1
    return shift + math.log(x) - 1 / (2 * x) - 1 / (12 * x**2) + 1 / (120 * x**4) - 1 / (252 * x**6)


def trigamma(x: float) -> float:
    """Return the second derivative of the logarithm of the gamma function, for x > 0."""
    shift = 0.0
    while x < FAR:
        shift += 1 / x**2
        x += 1
    series = 1 / x + 1 / (2 * x**2) + 1 / (6 * x**3) - 1 / (30 * x**5) + 1 / (42 * x**7)
    return shift + series - 1 / (30 * x**9)


def tetragamma(x: float) -> float:
    """Return the fourth derivative of the logarithm of the gamma function, for x > 0."""
    shift = 0.0
    while x < FAR:
        shift += 6 / x**4
        x += 1
    return shift + 2 / x**3 + 3 / x**4 + 2 / x**5 - 1 / x**7 + 4 / (3 * x**9) - 3 / x**11


def _inverse_trigamma(value: float) -> float:
    """Return where the trigamma function, which falls, has a value."""
    low, high = 1e-3, 1e6
    while high > low * (1 + 1e-9):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if trigamma(middle) > value else (low, middle)
    return low
