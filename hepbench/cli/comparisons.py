"""The verbs ``compare`` and ``gate``: two results against each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hepbench.cli import tabulating
from hepbench.registry.plugins import installed
from hepbench.running import session
from hepbench.specs.errors import SuiteError, UsageError
from hepbench.specs.gate import COSTS, parse_condition
from hepbench.specs.text import several
from hepbench.storage.results import Results

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from hepbench.comparison.comparison import Comparison
    from hepbench.comparison.document import Report
    from hepbench.comparison.gate import Judgement, Policy
    from hepbench.storage.records import Record


MAIN = "auc"
"""The metric that is compared by default."""


SHOWN_COSTS = ("flops", "parameters", "latency")
"""Costs that are compared by default."""


def compare(*, base: Path, new: Path, metrics: str | None, suite: str | None, format_: str) -> str:
    """Return the text of ``compare``: what is better and worse in NEW than in BASE."""
    from hepbench.comparison import document, gate

    runs = _opened(base, new)
    policy, source = _suite_policy(suite, runs[1].records)
    names = _names(metrics, policy)
    found = _compared(runs, names)
    details = _details(runs, found)
    if policy:
        found = gate.with_tolerances(found, gate.judge(found, policy, is_default=False))
        details.append(gate.policy_line(policy, source))
    return document.write(_report(found, runs, names, details), format_)


def gate(
    *,
    base: Path,
    new: Path,
    metrics: str | None,
    suite: str | None,
    conditions: Sequence[str],
    format_: str,
) -> tuple[str, int]:
    """Return the text of ``gate``, and the exit code: 0 passed, 1 worse, 3 nothing concluded."""
    from hepbench.comparison import document
    from hepbench.comparison import gate as gates

    runs = _opened(base, new)
    policy, source = _policy(conditions, suite, runs[1].records)
    own = bool(policy)
    policy = policy or gates.default_policy(_names(metrics, [])[0])
    names = _names(metrics, policy)
    found = _compared(runs, names)
    judgements = gates.judge(found, policy, is_default=not own)
    if own:
        found = gates.with_tolerances(found, judgements)
    details = [*_details(runs, found), gates.policy_line(policy, source)]
    report = _report(found, runs, names, details, judgements)
    return document.write(report, format_), gates.code(judgements)


@dataclass(frozen=True)
class _Run:
    """One of the two results that are compared, and its records."""

    results: Results
    records: list[Record]


def _opened(base: Path, new: Path) -> tuple[_Run, _Run]:
    first, second = Results(base), Results(new)
    return _Run(first, tabulating.recorded(first, None)), _Run(
        second, tabulating.recorded(second, None)
    )


def _compared(runs: Sequence[_Run], names: Sequence[str]) -> Comparison:
    from hepbench.comparison import comparison
    from hepbench.comparison.quality import Runs

    specs = {entry.spec.name: entry.spec for entry in installed().entries("metric")}
    return comparison.compare(
        Runs(*(run.results for run in runs)),
        [run.records for run in runs],
        metrics=specs,
        names=names,
    )


def _names(metrics: str | None, policy: Policy) -> list[str]:
    """Return the names of metrics and costs to compare, the main metric first."""
    given = [name.strip() for name in (metrics or "").split(",")]
    rules = [name for name, _ in policy]
    first = [*filter(None, given), *(name for name in rules if name not in COSTS)] or [MAIN]
    return list(dict.fromkeys([*first, *SHOWN_COSTS, *rules]))


def _policy(
    conditions: Sequence[str], suite: str | None, records: Iterable[Record]
) -> tuple[Policy, str]:
    """Return the policy of a gate, and where it is from; an empty one stands for the default."""
    if conditions and suite:
        msg = "give --fail-if or --suite, not both"
        raise UsageError(msg)
    if conditions:
        return [parse_condition(text) for text in conditions], "--fail-if"
    return _suite_policy(suite, records)


def _suite_policy(suite: str | None, records: Iterable[Record]) -> tuple[Policy, str]:
    """Return the rules of a suite's ``[gate]``, by default those of the suite of NEW.

    Raises:
        SuiteError, UsageError: the named suite cannot be read, or has no ``[gate]``.
    """
    if suite:
        rules = session.read_suite(suite, installed()).rules()
        if not rules:
            msg = f"{suite} has no [gate] table"
            raise UsageError(msg)
        return rules, f"[gate] of {suite}"
    names = {(record.provenance.suite_file or record.suite, record.suite) for record in records}
    if len(names) > 1:
        return [], f"default, because NEW has {len(names)} suites"
    ((place, name),) = names
    try:
        found = session.read_suite(place, installed())
    except (SuiteError, UsageError):
        return [], f"default, because there is no suite {place} here"
    if found.name != name:
        return [], f"default, because {place} is another suite here"
    rules = found.rules()
    return rules, f"[gate] of {place}" if rules else f"default, because {place} has no [gate]"


def _details(runs: Sequence[_Run], found: Comparison) -> list[str]:
    """Return lines on what was compared."""
    from hepbench.comparison import sentences

    told = [
        f"{name}: {run.results.root}: {sentences.origin(run.records)}"
        for name, run in zip(("BASE", "NEW"), runs, strict=True)
    ]
    if found.older:
        told.append(f"{several(found.older, 'older row')} of the same cells left out")
    return told


def _report(
    found: Comparison,
    runs: Sequence[_Run],
    names: Sequence[str],
    details: Sequence[str],
    judgements: Sequence[Judgement] | None = None,
) -> Report:
    from hepbench.comparison import gate as gates
    from hepbench.comparison import sentences
    from hepbench.comparison.document import Report

    lead = sentences.sentences(found, names)
    more: dict[str, Any] = {
        name: str(run.results.root) for name, run in zip(("base", "new"), runs, strict=True)
    }
    if judgements is not None:
        lead = [gates.sentence(judgements), *gates.lines(judgements), *lead]
        more["gate"] = gates.as_json(judgements)
    return Report(lead=lead, details=details, comparison=found, names=names, more=more)
