"""Findings of a comparison: a verdict on each cell for each metric and cost. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import exp, log, sqrt
from statistics import median, stdev
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from hepbench.evaluation import paired, paired_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepbench.evaluation.paired_runs import RunDifference


Verdict: TypeAlias = Literal[
    "worse",
    "missing",
    "not measured",
    "not comparable",
    "nothing concluded",
    "worse within tolerance",
    "better",
    "no difference shown",
    "identical",
    "only in NEW",
]


VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""Verdicts on a cell, those to look at first at the beginning."""


CONCLUSIVE: tuple[Verdict, ...] = (
    *("worse", "worse within tolerance", "better"),
    *("no difference shown", "identical"),
)
"""Verdicts after a comparison that has concluded something."""


LEAST_TIMED = 0.1
"""The largest relative change of a latency timed in turn that counts as no difference."""


QUANTILE_80 = 0.84
"""Standard deviations above the mean at which a normal distribution has 80 %."""


@dataclass(frozen=True)
class TimedInTurn:
    """Latencies of two runs that were timed in turn, round by round, in several turns.

    In each turn, both were timed by new processes, which changes a latency by some percent.

    Attributes:
        base, new: ms of each round, by turn.
    """

    base: Sequence[Sequence[float]]
    new: Sequence[Sequence[float]]

    @cached_property
    def ms(self) -> float:
        """The median of all rounds of BASE, in ms."""
        return median(x for turn in self.base for x in turn)

    @cached_property
    def ratios(self) -> list[float]:
        """How many times longer NEW takes than BASE, in each turn."""
        return [median(new) / median(base) for base, new in zip(self.base, self.new, strict=True)]

    @cached_property
    def factor(self) -> float:
        """How many times longer NEW takes than BASE."""
        return median(self.ratios)

    @cached_property
    def p(self) -> float:
        """The probability of such different rounds by chance, by the test of Mann and Whitney."""
        from scipy.stats import mannwhitneyu

        base, new = ([x for turn in turns for x in turn] for turns in (self.base, self.new))
        return float(mannwhitneyu(new, base).pvalue)

    @property
    def is_large(self) -> bool:
        """Whether the change is larger than LEAST_TIMED, and in the same direction in all turns."""
        return abs(log(self.factor)) > log(1 + LEAST_TIMED) and (
            min(self.ratios) > 1 or max(self.ratios) < 1
        )

    @property
    def smallest_visible(self) -> float:
        """The relative increase that is found with a probability of 80 %, about."""
        turns = len(self.ratios)
        error = stdev(map(log, self.ratios)) / sqrt(turns) if turns > 1 else 0.0
        return (1 + LEAST_TIMED) * exp(QUANTILE_80 * error) - 1


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The finding of a comparison on one cell, for one metric or cost.

    Attributes:
        cell: ``dataset/model/chain``.
        name: of the metric or cost.
        verdict: see VERDICTS.
        base, new: values, means over seeds; None where there are none. Latencies are multiples of
            the reference computation's.
        higher_is_better: direction of the values.
        difference: the test of the difference; of latencies, in their logarithms. None where nothing
            was tested.
        is_log: whether ``difference`` is one of logarithms.
        timed: the rounds of a latency that was timed in turn; None for one that was recorded.
        p: its probability, corrected for the number of cells.
        tests: number of cells that were tested together.
        n_test: number of test examples.
        reason: why there is this verdict, where that must be said.
    """

    cell: str
    name: str
    verdict: Verdict
    base: float | None = None
    new: float | None = None
    higher_is_better: bool = False
    difference: RunDifference | None = None
    is_log: bool = False
    timed: TimedInTurn | None = None
    p: float | None = None
    tests: int = 1
    n_test: int | None = None
    reason: str = ""

    @property
    def change(self) -> float | None:
        """How much larger the value is in NEW than in BASE."""
        return None if self.base is None or self.new is None else self.new - self.base

    @property
    def loss(self) -> float:
        """How much worse the value is in NEW than in BASE; 0 where one is missing."""
        change = self.change or 0.0
        return -change if self.higher_is_better else change

    @property
    def increase(self) -> float:
        """How much larger a cost is in NEW, as a fraction of that in BASE."""
        return (self.change or 0.0) / self.base if self.base else 0.0

    @property
    def level(self) -> float:
        """The level at which this finding was tested, if Holm's procedure got no further."""
        return paired.LEVEL / self.tests

    @cached_property
    def smallest_visible(self) -> float | None:
        """The smallest loss (of latencies: relative increase) that would have been found."""
        if self.timed is not None:
            return self.timed.smallest_visible
        if self.difference is None:
            return None
        found = self.difference.smallest_visible(self.level)
        return exp(min(found, 50.0)) - 1 if self.is_log else found

    @property
    def is_of_cell(self) -> bool:
        """Whether the verdict is one on the whole cell, whatever is compared in it."""
        return self.verdict in {"missing", "only in NEW"}

    @property
    def is_conclusive(self) -> bool:
        """Whether the comparison of this cell has concluded something."""
        return self.verdict in CONCLUSIVE


def judged(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings on one metric with verdicts on those that were tested.

    Their spreads over trainings are moderated together, their probabilities corrected together.
    """
    tested = [(i, found) for i, each in enumerate(findings) if (found := each.difference)]
    differences = paired_runs.moderated([found for _, found in tested])
    corrected = paired_runs.holm([found.p for found in differences])
    judged = list(findings)
    for (i, _), difference, p in zip(tested, differences, corrected, strict=True):
        finding = replace(findings[i], difference=difference, p=p, tests=len(tested))
        judged[i] = replace(finding, verdict=_verdict(finding, p))
    return _judged_in_turn(judged)


def _judged_in_turn(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings with verdicts on latencies that were timed in turn."""
    timed = [(i, found) for i, each in enumerate(findings) if (found := each.timed)]
    judged = list(findings)
    corrected = paired_runs.holm([found.p for _, found in timed])
    for (i, found), p in zip(timed, corrected, strict=True):
        finding = replace(findings[i], p=p, tests=len(timed))
        verdict = _verdict(finding, p) if found.is_large else "no difference shown"
        judged[i] = replace(finding, verdict=verdict)
    return judged


def _verdict(finding: Finding, p: float) -> Verdict:
    if p >= paired.LEVEL:
        return "no difference shown"
    return "worse" if finding.loss > 0 else "better"
