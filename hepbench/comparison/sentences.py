"""Says in sentences what a comparison of two results found. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from hepbench.evaluation.seed_averages import SeedAverage
from hepbench.specs.gate import COSTS
from hepbench.specs.text import one_line, several, shortened
from hepbench.tables import rounding
from hepbench.tables.columns import title

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hepbench.comparison.comparison import Comparison
    from hepbench.comparison.findings import Finding, Verdict
    from hepbench.storage.records import Record


QUALITY: dict[Verdict, str] = {
    "worse": "worse",
    "worse within tolerance": "worse within the tolerance",
    "better": "better",
    "no difference shown": "without a difference that can be shown",
    "identical": "bit-identical",
    "missing": "missing or failed",
    "not measured": "not measured in one of the runs",
    "not comparable": "not comparable",
    "nothing concluded": "where nothing can be concluded",
    "only in NEW": "only in NEW",
}
"""Verdicts on metrics, as a sentence counts cells, in its order."""


COST: dict[Verdict, str] = QUALITY | {
    "worse": "higher",
    "worse within tolerance": "higher within the tolerance",
    "better": "lower",
    "identical": "equal",
}


LATENCY: dict[Verdict, str] = COST | {"identical": "from the same measurement or graph"}


PLURAL = ("flops", "macs", "theoretical_macs", "parameters", "nonzero_parameters", "comparisons")


MOST_NAMED = 3
"""Cells that a sentence names for each verdict."""


LONGEST_REASON = 200


def sentences(comparison: Comparison, names: Sequence[str]) -> list[str]:
    """Return a sentence on each metric and cost, the first on the one that matters most.

    The first counts cells that only one run has, too.
    """
    main, *others = names
    said = [_sentence(main, comparison.findings[main])]
    pairs = comparison.pairs
    if pairs and all(pair.is_same_record for pair in pairs):
        said.append("NEW holds the same records as BASE: nothing was computed anew.")
    in_both = {name: comparison.in_both(name) for name in others}
    said += [_sentence(name, findings) for name, findings in in_both.items() if findings]
    if unknown := [name_of(name) for name in others if not in_both[name]]:
        said.append(f"Not recorded in any cell of both runs: {', '.join(unknown)}.")
    return said


def name_of(name: str) -> str:
    """Return the name of a metric or cost in a sentence."""
    return "parameters" if name == "parameters" else title(name)


def _sentence(name: str, findings: Sequence[Finding]) -> str:
    called = name_of(name)
    subject = f"{called[0].upper()}{called[1:]}"
    verb = "are" if name in PLURAL else "is"
    if not findings:
        return f"{subject} {verb} not recorded in any cell of either run."
    words = LATENCY if "latency" in name else COST if name in COSTS else QUALITY
    by_verdict: dict[Verdict, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_verdict[finding.verdict].append(finding)
    if len(by_verdict) > 1 or not by_verdict.keys().isdisjoint({"worse", "better"}):
        parts = [_part(words[each], by_verdict[each]) for each in words if by_verdict[each]]
        return f"{subject} of {several(len(findings), 'cell')}: {', '.join(parts)}."
    return f"{subject}{_same_for_all(findings, words, verb)}."


def _same_for_all(findings: Sequence[Finding], words: dict[Verdict, str], verb: str) -> str:
    """Return the rest of the sentence if the verdict is the same in all cells."""
    verdict = findings[0].verdict
    every = {1: "the only cell", 2: "both cells"}.get(len(findings), f"all {len(findings):,} cells")
    reasons = dict.fromkeys(each.reason for each in findings if each.reason)
    why = f": {brief(next(iter(reasons)))}" if len(reasons) == 1 else ""
    if verdict == "no difference shown":
        return f": no difference can be shown in {every}"
    if verdict == "nothing concluded":
        return f": nothing can be concluded in {every}{why}"
    return f" {verb} {words[verdict]} in {every}{why}"


def _part(words: str, findings: Sequence[Finding]) -> str:
    """Return ``2 worse (higgs/gbdt/scratch by 0.021, ...)``; names where they matter."""
    count = f"{len(findings):,} {words}"
    verdict = findings[0].verdict
    if verdict in {"identical", "no difference shown"}:
        return count
    named = [f"{each.cell}{_by(each)}" for each in sorted(findings, key=lambda f: -abs(f.loss))]
    if len(named) <= MOST_NAMED:
        return f"{count} ({', '.join(named)})"
    if verdict not in {"worse", "better"}:
        return count
    return f"{count} ({', '.join(named[:MOST_NAMED])} and {len(named) - MOST_NAMED} more)"


def _by(finding: Finding) -> str:
    if finding.change is None or not finding.is_conclusive:
        return ""
    return f" by {size_of(finding)}"


def size_of(finding: Finding) -> str:
    """Return the size of a difference: relative for costs, else in units of the metric."""
    if finding.name in COSTS:
        return relative(finding.increase).lstrip("+-")
    return number(abs(finding.loss), finding)


def relative(change: float) -> str:
    """Return a relative change of a cost as text, such as ``+12 %``."""
    return f"{100 * change:+.3g} %"


def number(value: float, finding: Finding) -> str:
    """Return a value or difference of a metric with the digits that its error allows."""
    stderr = finding.difference.stderr if finding.difference else None
    places = rounding.places(SeedAverage(finding.new or finding.base, stderr or None))
    return f"{value:.{max(0, min(places, rounding.MOST_PLACES))}f}"


def brief(reason: str) -> str:
    """Return a reason as one line that is not too long for a sentence."""
    return shortened(one_line(reason), LONGEST_REASON)


def origin(records: Iterable[Record]) -> str:
    """Describe where the records of a run come from: their number, run, commit and version."""
    every = list(records)
    parts = [several(len(every), "record")]
    for what, values in (
        ("run", {_moment(record.run) for record in every}),
        ("commit", {record.provenance.git for record in every}),
        ("hepbench", {record.provenance.hepbench for record in every}),
    ):
        known = sorted(values - {""})
        if known:
            parts.append(f"{what} {known[0] if len(known) == 1 else f'{known[0]} to {known[-1]}'}")
    return ", ".join(parts)


def _moment(run: str) -> str:
    """Return the name of a run; the start of one without a name to the minute."""
    return f"{run[:10]} {run[11:16]}" if re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:", run) else run
