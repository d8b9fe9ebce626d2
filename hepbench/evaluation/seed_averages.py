"""Averages metrics over seeds, with the error of the test set and the spread. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum, hypot, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hepbench.storage.records import Value


@dataclass(frozen=True, slots=True)
class SeedAverage:
    """The average of a metric over seeds, unrounded.

    Attributes:
        value: mean over the seeds with a value; None without any.
        stderr: standard error of the test sample, averaged over those seeds.
        spread: sample standard deviation over those seeds; None for a single seed.
        n: number of seeds with a value.
        limit: True if a seed has only a 95 % lower limit, which makes the mean a lower limit.
    """

    value: float | None = None
    stderr: float | None = None
    spread: float | None = None
    n: int = 0
    limit: bool = False

    @property
    def error(self) -> float | None:
        """Standard error of a metric's mean over seeds that share one test set."""
        if self.stderr is None:
            return None
        return hypot(self.stderr, (self.spread or 0.0) / sqrt(self.n))


def over_seeds(recorded: Iterable[Value | None]) -> SeedAverage:
    """Return the average of a metric over seeds; it is a limit if one value is."""
    known = [each for each in recorded if each is not None and each.value is not None]
    values = [each.value for each in known if each.value is not None]
    mean = _mean(values)
    if any(each.limit for each in known):
        return SeedAverage(mean, n=len(values), limit=True)
    stderr = _mean([each.stderr for each in known if each.stderr is not None])
    return SeedAverage(mean, stderr, _spread(values, mean), len(values))


def _mean(values: Sequence[float]) -> float | None:
    if not values:
        return None
    # the mean of equal values is that value to the last bit
    return values[0] if min(values) == max(values) else fsum(values) / len(values)


def _spread(values: Sequence[float], mean: float | None) -> float | None:
    if mean is None or len(values) < 2:
        return None
    return sqrt(fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
