"""Verifies records: recomputes metrics from stored predictions, and compares keys and counts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from hepbench.evaluation import joining, measure, record_checks
from hepbench.registry.plugins import installed
from hepbench.specs.errors import ResultsError
from hepbench.specs.text import several

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hepbench.registry.plugins import Entry
    from hepbench.specs.metric import Predictions
    from hepbench.storage.records import Record, Stored, Value
    from hepbench.storage.results import Results
    from hepbench.storage.stored_arrays import Arrays


TOLERANCE = 1e-9
"""Relative difference allowed: other processors round sums over examples differently."""


@dataclass
class Findings:
    """The findings when one record is verified.

    Attributes:
        different: what disagrees, a line each.
        missing: what cannot be compared because it is not there, a line each.
        recomputed: number of values that were recomputed.
        left_out: number of values whose predictions were left out when the results were packed.
        newer: metrics that were installed after the record was made.
        keys_unchecked: whether the key parts are those of another version of hepbench.
    """

    different: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    recomputed: int = 0
    left_out: int = 0
    newer: set[str] = field(default_factory=set)
    keys_unchecked: bool = False

    @property
    def lines(self) -> list[str]:
        """All findings of the verification of a record, one line each."""
        return [*self.different, *(f"missing: {line}" for line in self.missing)]


def verify(results: Results, records: Iterable[Record]) -> tuple[list[str], int]:
    """Compute the metrics of records again from stored scores; return findings and the exit code."""
    entries = list(installed().entries("metric"))
    given = list(records)
    chosen = [record for record in given if record.status == "ok"]
    failed = len(given) - len(chosen)
    if not chosen:
        return [f"nothing to verify: {several(failed, 'record')}, all of failed cells"], 1
    found = [check(record, results, entries) for record in chosen]
    lines = [
        f"{record.cell} ({record.key[:10]}): {line}"
        for record, findings in zip(chosen, found, strict=True)
        for line in findings.lines
    ]
    unverified = f"; {several(failed, 'record')} of failed cells not verified" if failed else ""
    return [*lines, _summary(found) + unverified], 1 if lines else 0


def _summary(found: Sequence[Findings]) -> str:
    values = sum(each.recomputed for each in found)
    different = sum(bool(each.different) for each in found)
    missing = sum(bool(each.missing) for each in found)
    left_out = sum(each.left_out for each in found)
    unchecked = sum(each.keys_unchecked for each in found)
    newer = sorted(set[str]().union(*(each.newer for each in found)))
    said = [f"{several(different, 'record')} with differences" if different else "no difference"]
    if missing:
        said.append(f"{several(missing, 'record')} with missing files or metrics")
    if left_out:
        said.append(f"{several(left_out, 'value')} left out when results were packed")
    if unchecked:
        said.append(f"keys of {several(unchecked, 'record')} not checked, from an older hepbench")
    if newer:
        said.append(f"metrics that were installed later: {', '.join(newer)}")
    return f"{several(len(found), 'record')}, {values} values recomputed: {'; '.join(said)}"


def check(record: Record, results: Results, entries: Sequence[Entry]) -> Findings:
    """Verify one record: return what differs or is missing."""
    findings = Findings(different=list(record_checks.wrong_names(record)))
    if record_checks.keys_can_be_checked(record):
        findings.different += record_checks.wrong_keys(record)
    else:
        findings.keys_unchecked = True
    labels = _read_arrays(record.labels, "labels", results, findings)
    scores = _read_arrays(record.predictions, "predictions", results, findings)
    if labels is not None and scores is not None:
        try:
            parts = joining.joined(labels, scores)
            findings.different += record_checks.wrong_counts(record, parts)
            _recompute(record, parts, entries, findings)
        except (IndexError, KeyError, TypeError, ValueError) as error:
            findings.different.append(
                f"predictions and labels do not match: {type(error).__name__}: {error}"
            )
    return findings


def _read_arrays(
    stored: Stored | None, what: str, results: Results, findings: Findings
) -> Arrays | None:
    """Return the arrays of a record's stored file; None and a finding if they are missing."""
    if stored is None:
        findings.missing.append(f"the record has no {what}")
        return None
    try:
        checksum, arrays = results.arrays(stored)
    except (FileNotFoundError, NotADirectoryError):
        findings.missing.append(stored.path)
        return None
    except ResultsError as error:
        findings.different.append(str(error))
        return None
    if checksum != stored.sha256:
        findings.different.append(f"{stored.path} was changed after its record was written")
    return arrays


def _recompute(
    record: Record,
    parts: Mapping[str, Predictions],
    entries: Sequence[Entry],
    findings: Findings,
) -> None:
    """Recompute a record's metrics of every part, and add findings."""
    recorded = {
        "test": record.metrics,
        "train": record.metrics_train,
        "validation": record.metrics_validation,
    }
    kept = record.predictions.parts if record.predictions else ()
    then = set(record.key_parts.get("evaluate", {}).get("metrics", ()))
    measured = measure.measure(entries, {part: parts[part] for part in recorded if part in parts})
    for part, values in recorded.items():
        if part not in measured:
            if part in kept or not kept:
                findings.missing.append(f"predictions of {part}")
            findings.left_out += len(values)
            continue
        again = measured[part]
        # only values that were to be expected: what needs validation may be left out
        absent = {n for n, value in again.items() if value.undefined == joining.LEFT_OUT}
        findings.left_out += len(absent & values.keys())
        findings.recomputed += len((again.keys() & values.keys()) - absent)
        findings.newer |= again.keys() - values.keys() - then if then else set()
        findings.missing += _metrics_on_one_side(part, values, again, then, entries)
        compared = {n: value for n, value in again.items() if n in values and n not in absent}
        findings.different += _value_differences(part, values, compared)


def _metrics_on_one_side(
    part: str,
    recorded: Mapping[str, Value],
    again: Mapping[str, Value],
    then: set[str],
    entries: Iterable[Entry],
) -> Iterator[str]:
    """Yield a line for each metric of a record that is only recorded, or only recomputed."""
    known = {entry.spec.name for entry in entries}
    for name in sorted(recorded.keys() - again.keys()):
        why = "is not defined for this number of classes" if name in known else "is not installed"
        yield f"{part} {name}: recorded, but its metric {why}"
    for name in sorted(again.keys() - recorded.keys()):
        if name in then or not then:
            yield f"{part} {name}: not recorded, but its metric is installed"


def _value_differences(
    part: str, recorded: Mapping[str, Value], again: Mapping[str, Value]
) -> list[str]:
    lines = []
    for name, value in again.items():
        old, new = msgspec.to_builtins(recorded[name]), msgspec.to_builtins(value)
        # where both have no value, another version of hepbench may word the reason differently
        same = {"undefined"} & old.keys() & new.keys()
        compared = sorted((old.keys() | new.keys()) - same)
        changed = [k for k in compared if not _close(old.get(k), new.get(k))]
        lines += [
            f"{part} {name}.{k}: recorded {old.get(k)}, recomputed {new.get(k)}" for k in changed
        ]
    return lines


def _close(a: object, b: object) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-12)
    return a == b
