"""The verbs ``compare`` and ``gate``: two results against each other."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepbench.cli import tabulating
from hepbench.registry.plugins import installed
from hepbench.running import revisions, session
from hepbench.specs.errors import SuiteError, UsageError
from hepbench.specs.gate import COSTS, parse_condition
from hepbench.specs.text import several
from hepbench.storage.results import Results

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hepbench.comparison.comparison import Comparison
    from hepbench.comparison.document import Report
    from hepbench.comparison.gate import Judgement, Policy
    from hepbench.comparison.pairs import Pair
    from hepbench.running.revisions import Revision
    from hepbench.sharing.timed_in_turn import Rounds
    from hepbench.storage.records import Record


MAIN = "auc"
"""The metric that is compared by default."""


SHOWN_COSTS = ("flops", "parameters", "latency")
"""Costs that are compared by default."""


def compare(*, base: Path, new: Path, metrics: str | None, suite: str | None, format_: str) -> str:
    """Return the text of ``compare``: what is better and worse in NEW than in BASE."""
    from hepbench.comparison import document, gate

    with _opened(base, new, suite) as runs:
        policy, source = _suite_policy(suite, runs)
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

    with _opened(base, new, suite) as runs:
        policy, source = _policy(conditions, suite, runs)
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
    """One of the two results that are compared.

    Attributes:
        name: as the user gave it.
        results, records: its results.
        revision: that they were made from for this comparison; None for results that were there.
    """

    name: str
    results: Results
    records: list[Record]
    revision: Revision | None


@contextmanager
def _opened(base: Path, new: Path, suite: str | None) -> Iterator[tuple[_Run, _Run]]:
    """Yield two results: those that are there, and those of revisions, which run first.

    Raises:
        UsageError: one is neither, or revisions are given without a suite.
    """
    both = [(given, _revision(given)) for given in (base, new)]
    if suite is None and (named := [each for _, each in both if each]):
        msg = f"give --suite SUITE: what is run with {' and '.join(map(str, named))}"
        raise UsageError(msg)
    if suite and session.is_path(suite):
        session.read_suite(suite, installed())
    with ExitStack() as stack:
        first, second = (_run(stack, given, each, suite or "") for given, each in both)
        yield first, second


def _revision(given: Path) -> Revision | None:
    """Return the git revision that an argument names; None if it is a path of results."""
    name = str(given)
    if name == revisions.WORKING_TREE and Path("pyproject.toml").exists():
        return revisions.find(name)
    return None if given.exists() else revisions.find(name)


def _run(stack: ExitStack, given: Path, revision: Revision | None, suite: str) -> _Run:
    if revision is None:
        results = Results(given)
        return _Run(str(given), results, tabulating.recorded(results, None), None)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    _report_progress(f"{revision}: running {suite}")
    revisions.run(
        revision, str(Path(suite).absolute() if session.is_path(suite) else suite), folder
    )
    results = Results(folder)
    return _Run(str(revision), results, tabulating.recorded(results, None), revision)


def _compared(runs: Sequence[_Run], names: Sequence[str]) -> Comparison:
    from hepbench.comparison import comparison
    from hepbench.comparison.quality import Runs

    specs = {entry.spec.name: entry.spec for entry in installed().entries("metric")}
    return comparison.compare(
        Runs(*(run.results for run in runs)),
        [run.records for run in runs],
        metrics=specs,
        names=names,
        time_in_turn=partial(_rounds, runs) if all(run.revision for run in runs) else None,
    )


def _rounds(runs: Sequence[_Run], pairs: Sequence[Pair]) -> dict[str, Rounds]:
    """Return the rounds of cells whose networks were timed in turn: those of their first seed."""
    from hepbench.sharing import timed_in_turn

    cells = {
        pair.cell: (pair.rows["BASE"].ok[0], pair.rows["NEW"].ok[0])
        for pair in pairs
        if not pair.missing and not pair.differing({"data", "split"})
    }
    if any(record.stage_keys.get("cost") for both in cells.values() for record in both):
        _report_progress("latencies are timed in turn")
    first, second = (run.results for run in runs)
    return timed_in_turn.rounds((first, second), cells, session.cache_folder())


def _report_progress(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _names(metrics: str | None, policy: Policy) -> list[str]:
    """Return the names of metrics and costs to compare, the main metric first."""
    given = [name.strip() for name in (metrics or "").split(",")]
    rules = [name for name, _ in policy]
    first = [*filter(None, given), *(name for name in rules if name not in COSTS)] or [MAIN]
    return list(dict.fromkeys([*first, *SHOWN_COSTS, *rules]))


def _policy(
    conditions: Sequence[str], suite: str | None, runs: Sequence[_Run]
) -> tuple[Policy, str]:
    """Return the policy of a gate, and where it is from; an empty one stands for the default."""
    if conditions and suite and not any(run.revision for run in runs):
        msg = "give --fail-if or --suite, not both"
        raise UsageError(msg)
    if conditions:
        return [parse_condition(text) for text in conditions], "--fail-if"
    return _suite_policy(suite, runs)


def _suite_policy(suite: str | None, runs: Sequence[_Run]) -> tuple[Policy, str]:
    """Return the rules of a suite's ``[gate]``, by default those of the suite of NEW.

    Raises:
        SuiteError, UsageError: the named suite cannot be read, or has no ``[gate]`` and was named
            for nothing else.
    """
    if suite:
        rules = session.read_suite(suite, installed()).rules()
        if rules:
            return rules, f"[gate] of {suite}"
        if any(run.revision for run in runs):
            return [], f"default, because {suite} has no [gate]"
        msg = f"{suite} has no [gate] table"
        raise UsageError(msg)
    return _policy_of_records(runs[1].records)


def _policy_of_records(records: Iterable[Record]) -> tuple[Policy, str]:
    """Return the rules of the suite that made some records, if it is the same here."""
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

    lines = []
    for name, run in zip(("BASE", "NEW"), runs, strict=True):
        lines.append(f"{name}: {run.name}: {sentences.origin(run.records)}")
        if run.revision and run.revision.warning:
            lines.append(f"{name}: {run.revision.warning}")
    if found.older:
        lines.append(f"{several(found.older, 'older row')} of the same cells left out")
    return lines


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
    more: dict[str, Any] = {name: run.name for name, run in zip(("base", "new"), runs, strict=True)}
    if judgements is not None:
        lead = [gates.sentence(judgements), *gates.lines(judgements), *lead]
        more["gate"] = gates.as_json(judgements)
    return Report(lead=lead, details=details, comparison=found, names=names, more=more)
