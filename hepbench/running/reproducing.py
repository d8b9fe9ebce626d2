"""Check reproducibility: compare the record of a rerun cell with the record before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from hepbench.specs.text import several
from hepbench.storage.keys import differences
from hepbench.storage.records import comparable

if TYPE_CHECKING:
    from hepbench.storage.records import Record


NAME = "not reproducible"
"""The name of the warning in a record: a rerun of the cell gave different results."""


COMPARED = (
    *("metrics", "metrics_validation", "metrics_train", "predictions"),
    *("history", "epochs", "best_epoch", "cost"),
)
"""Fields of a record that a rerun must reproduce, the most important first."""


def changes(before: Record, after: Record) -> list[str]:
    """Return a line ``metrics.auc.value: 0.75 -> 0.76`` for each result that is not bit-identical.

    Times, memory and warnings are not compared.
    """
    a, b = _results(before), _results(after)
    return [line for n in COMPARED for line in differences({n: a[n]}, {n: b[n]})]


def _results(record: Record) -> dict[str, Any]:
    stored = record.predictions
    return {**comparable(record), "predictions": {"sha256": stored.sha256 if stored else ""}}


def compared(record: Record, replaced: Record) -> Record:
    """Return the record of a rerun, with a warning if its results differ from the old record's.

    A warning of the old record stays: one more equal result does not prove reproducibility.
    """
    if changed := changes(replaced, record):
        return marked(record, changed)
    old = [text for text in replaced.warnings if text.startswith(f"{NAME}: ")]
    return msgspec.structs.replace(record, warnings=[*record.warnings, *old])


def marked(record: Record, changed: list[str]) -> Record:
    """Return the record with a warning that names the first result that changed in a rerun."""
    more = f", and {several(len(changed) - 1, 'more value')}" if len(changed) > 1 else ""
    kept = [text for text in record.warnings if not text.startswith(f"{NAME}: ")]
    warning = f"{NAME}: a rerun with the same key changed {changed[0]}{more}"
    return msgspec.structs.replace(record, warnings=[*kept, warning])
