"""Verification: recompute every metric from the stored predictions alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import msgspec

from hepbench.evaluation import joining, measure
from hepbench.registry.plugins import installed
from hepbench.specs.text import several
from hepbench.storage.results import ResultsFolder, arrays, checksum

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hepbench.registry.plugins import Entry
    from hepbench.storage.records import Record, Value


TOLERANCE = 1e-9
"""Relative difference allowed: other processors round sums over examples differently."""


def verify(results: Path) -> tuple[list[str], int]:
    """Return a line for each difference, a summary, and the exit code.

    Raises:
        ResultsError: there is no record, or one is cut short.
    """
    records = [record for record in ResultsFolder(results).records() if record.status == "ok"]
    entries = list(installed().entries("metric"))
    root = results if any(results.glob("*/*.json")) else results.parent
    lines = []
    wrong, values = 0, 0
    for record in records:
        found, count = differences(record, root, entries)
        values += count
        wrong += bool(found)
        lines += [f"{record.cell} ({record.key[:10]}): {line}" for line in found]
    summary = f"{len(records)} records, {values} values recomputed: "
    summary += f"{several(wrong, 'record')} with differences" if wrong else "no difference"
    return [*lines, summary], 1 if wrong else 0


def differences(record: Record, root: Path, entries: list[Entry]) -> tuple[list[str], int]:
    """Return what disagrees with the stored predictions, and how many values were recomputed."""
    lines = []
    for stored in (record.predictions, record.labels):
        if stored is None:
            return ["the record names no predictions"], 0
        path = root / stored.path
        if not path.is_file():
            return [f"{stored.path} is missing"], 0
        if checksum(path) != stored.sha256:
            lines.append(f"{stored.path} was changed after the record was written")
    assert record.predictions is not None
    assert record.labels is not None
    try:
        labels = arrays(root / record.labels.path)
        parts = joining.join(labels, root / record.predictions.path)
    except (BadZipFile, EOFError, KeyError, OSError, ValueError) as error:
        return [*lines, f"{record.predictions.path} cannot be read: {error}"], 0
    recorded = {
        "test": record.metrics,
        "train": record.metrics_train,
        "validation": record.metrics_validation,
    }
    known = {entry.spec.name for entry in entries}
    count = 0
    for part, values in recorded.items():
        chosen = [entry for entry in entries if entry.spec.name in values]
        again = measure.measure(chosen, parts[part])
        lines += [
            f"{part} {name}: its metric is not installed" for name in sorted({*values} - known)
        ]
        lines += [
            f"{part} {name}: recorded, and not defined for this number of classes"
            for name in sorted({*values} & known - again.keys())
        ]
        lines += _compare(part, values, again)
        count += len(again)
    return lines, count


def _compare(part: str, recorded: Mapping[str, Value], again: Mapping[str, Value]) -> list[str]:
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
