"""Compares the costs of two runs of a cell: counts exactly, latencies by a reference. Pure."""

from __future__ import annotations

import math
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from hepbench.comparison.findings import Finding, TimedInTurn
from hepbench.evaluation import paired_runs
from hepbench.evaluation.paired import Means

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hepbench.comparison.findings import Verdict
    from hepbench.comparison.pairs import Pair
    from hepbench.storage.costs import Latency
    from hepbench.tables.rows import Row


LATENCIES = ("latency", "batch_latency")


COUNTED_FROM_MACS = ("macs", "flops", "theoretical_macs")


ONE_MEASUREMENT = (
    "one measurement does not show how much latencies vary; with cost = 'each seed' a suite measures "
    "the network of each seed"
)


NO_REFERENCE = "the time of the reference computation was not recorded"


Rounds: TypeAlias = "tuple[Sequence[Sequence[float]], Sequence[Sequence[float]]]"
"""Times of BASE and NEW in ms, by turn and round; none if both have the same graph."""


def compare(
    pair: Pair, name: str, timed: Mapping[str, Rounds] = MappingProxyType({})
) -> Finding | None:
    """Return the finding on one cost of a cell; None if neither run has measured it.

    A latency that was tested has no verdict yet: ``findings.judged`` gives it.

    Args:
        pair: both runs of the cell.
        name: of the cost.
        timed: rounds of latencies that were timed in turn, by cell.
    """
    values = {run: row.averages[name].value for run, row in pair.rows.items()}
    if all(
        value is None and row.ok
        for value, row in zip(values.values(), pair.rows.values(), strict=True)
    ):
        return None
    base, new = values.get("BASE"), values.get("NEW")
    finding = Finding(cell=pair.cell, name=name, verdict="identical", base=base, new=new)
    if pair.base is None:
        return replace(finding, verdict="only in NEW", reason="not in BASE")
    if pair.missing:
        return replace(finding, verdict="missing", reason=pair.missing)
    if base is None or new is None:
        run = "BASE" if base is None else "NEW"
        return replace(
            finding, verdict="not measured", reason=f"not measured in {run}{_gap(pair, run)}"
        )
    assert pair.new is not None
    if name == "latency" and pair.cell in timed:
        return _of_rounds(finding, timed[pair.cell])
    if name in LATENCIES:
        return _of_latencies(finding, pair.base, pair.new)
    return _of_counts(finding, pair)


def _gap(pair: Pair, run: str) -> str:
    gaps = [gap for record in pair.rows[run].ok for gap in record.cost.gaps]
    return f": {gaps[0]}" if gaps else ""


def _of_rounds(finding: Finding, rounds: Rounds) -> Finding:
    """Return the finding on a latency that was timed in turn; equal graphs were not timed."""
    if not rounds[0]:
        return replace(finding, base=None, new=None)
    timed = TimedInTurn(*rounds)
    return replace(finding, base=timed.ms, new=timed.ms * timed.factor, timed=timed)


def _of_counts(finding: Finding, pair: Pair) -> Finding:
    """Return the finding on a count; a lower bound says nothing, unless nothing changed."""
    lower_bounds = [
        gap
        for row in pair.rows.values()
        for record in row.ok
        for gap in record.cost.gaps
        if gap.startswith("macs:") and finding.name in COUNTED_FROM_MACS
    ]
    if lower_bounds and (pair.changes or finding.change):
        reason = f"only a lower bound is known: {lower_bounds[0]}"
        return replace(finding, verdict="nothing concluded", reason=reason)
    if not finding.change:
        return finding
    return replace(finding, verdict="worse" if finding.loss > 0 else "better")


def _of_latencies(finding: Finding, base: Row, new: Row) -> Finding:
    """Return the finding on a latency: the ratio of both runs, each in multiples of a reference.

    The reference computation was timed in the process that timed the network, so the speed of the
    machine cancels, as far as it changes both alike. The sample are all measurements, of which seeds
    may share one.
    """
    timed = [_measurements(row, finding.name) for row in (base, new)]
    if timed[0] == timed[1]:
        return finding
    verdict, reason = _why_not_comparable(base, new, timed)
    ratios = [[_ratio(each) for each in some] for some in timed]
    known = [[r for r in some if r is not None] for some in ratios]
    means = [math.exp(sum(map(math.log, some)) / len(some)) if some else None for some in known]
    finding = replace(finding, base=means[0], new=means[1])
    if verdict is not None:
        return replace(finding, verdict=verdict, reason=reason)
    logs = np.log([*known[0], *known[1]])
    n = len(logs)
    # no test examples are drawn: only the measurements differ by chance
    single = Means(logs, np.zeros((n, n)), np.full(n, math.nan), np.ones(n, dtype=int))
    difference = paired_runs.of_means(single, len(known[0]))
    return replace(finding, difference=difference, is_log=True)


def _measurements(row: Row, name: str) -> list[Latency | None]:
    """Return the measurements of a latency in the records of a row, each once."""
    found: list[Latency | None] = []
    for record in row.ok:
        timed = record.cost.timed(name)
        if timed not in found:
            found.append(timed)
    return found


def _why_not_comparable(
    base: Row, new: Row, timed: Sequence[Sequence[Latency | None]]
) -> tuple[Verdict | None, str]:
    """Return a verdict with its reason if two latencies cannot be compared; None if they can."""
    if any(_ratio(each) is None for some in timed for each in some):
        return "not comparable", NO_REFERENCE
    here, there = base.setting, new.setting
    if what := [f"{n} ({here[n]} against {there[n]})" for n in here if here[n] != there[n]]:
        return "not comparable", f"BASE against NEW: {', '.join(what)}"
    kinds = {(each.runtime, each.batch) for some in timed for each in some if each}
    if len(kinds) > 1:
        ways = " and ".join(f"{runtime} (batch of {batch})" for runtime, batch in sorted(kinds))
        return "not comparable", f"timed in {ways}"
    if min(map(len, timed)) < 2:
        return "nothing concluded", ONE_MEASUREMENT
    return None, ""


def _ratio(timed: Latency | None) -> float | None:
    """Return a latency in multiples of the reference computation's; None without a reference."""
    if timed is None or not timed.reference_ms:
        return None
    return timed.median_ms / timed.reference_ms
