"""Compares two results: pairs their cells, and finds a verdict on each, for each metric and cost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from hepbench.comparison import costs, findings, quality
from hepbench.comparison.pairs import paired
from hepbench.specs.errors import UsageError
from hepbench.specs.gate import COSTS
from hepbench.specs.text import unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hepbench.comparison.costs import Rounds
    from hepbench.comparison.findings import Finding
    from hepbench.comparison.pairs import Pair
    from hepbench.comparison.quality import Runs
    from hepbench.specs.metric import Metric
    from hepbench.storage.records import Record


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The comparison of two results.

    Attributes:
        pairs: cells of BASE and NEW.
        findings: by metric or cost, those on its cells; only cells where a run has measured it.
        older: number of older rows that were left out.
    """

    pairs: list[Pair]
    findings: dict[str, list[Finding]]
    older: int = 0

    @cached_property
    def by_cell(self) -> dict[str, dict[str, Finding]]:
        """Findings by cell and name."""
        found: dict[str, dict[str, Finding]] = {pair.cell: {} for pair in self.pairs}
        for name, some in self.findings.items():
            for finding in some:
                found[finding.cell][name] = finding
        return found

    def in_both(self, name: str) -> list[Finding]:
        """Return the findings on a metric or cost in cells that both runs have."""
        return [finding for finding in self.findings[name] if not finding.is_of_cell]


def compare(
    runs: Runs,
    records: Sequence[Sequence[Record]],
    *,
    metrics: Mapping[str, Metric],
    names: Sequence[str],
    time_in_turn: Callable[[Sequence[Pair]], Mapping[str, Rounds]] | None = None,
) -> Comparison:
    """Return the comparison of two results.

    Args:
        runs: the results.
        records: of BASE and of NEW.
        metrics: all that are installed, by name.
        names: metrics and costs to compare.
        time_in_turn: returns rounds of latencies of some cells, which replace the recorded ones.

    Raises:
        UsageError: a name is unknown, or neither high nor low values of a metric are better.
    """
    for name in names:
        _check(name, metrics)
    pairs, older = paired(*records, columns=names)
    timed = time_in_turn(pairs) if time_in_turn and "latency" in names else {}
    found = {
        name: findings.judged(
            [each for pair in pairs if (each := _finding(pair, name, metrics, runs, timed))]
        )
        for name in names
    }
    return Comparison(pairs=pairs, findings=found, older=older)


def _check(name: str, metrics: Mapping[str, Metric]) -> None:
    if name in COSTS:
        return
    if name not in metrics:
        raise UsageError(unknown("metric or cost", name, {*metrics, *COSTS}))
    if metrics[name].higher_is_better is None:
        msg = f"metric {name} cannot be compared: neither its high nor its low values are better"
        raise UsageError(msg)


def _finding(
    pair: Pair,
    name: str,
    metrics: Mapping[str, Metric],
    runs: Runs,
    timed: Mapping[str, Rounds],
) -> Finding | None:
    if name in COSTS:
        return costs.compare(pair, name, timed)
    return quality.compare(pair, metrics[name], runs)
