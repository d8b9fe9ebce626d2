"""Equal keys, equal results: compare a record with one of the same cell, run again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from hepbench.specs.text import several
from hepbench.storage.keys import differences
from hepbench.storage.records import comparable

if TYPE_CHECKING:
    from hepbench.storage.records import Record


NAME = "not reproducible"
"""The name of the warning in a record whose cell gave other results when it was run again."""


COMPARED = (
    *("metrics", "metrics_validation", "metrics_train", "predictions"),
    *("history", "epochs", "best_epoch", "cost"),
)
"""Fields that may not differ, those first that readers care about most."""


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
    """Return a new record, marked if it differs from the one that it replaces, or if that is marked.

    One repetition with the same result does not prove that all have it.
    """
    if changed := changes(replaced, record):
        return marked(record, changed)
    old = [text for text in replaced.warnings if text.startswith(f"{NAME}: ")]
    return msgspec.structs.replace(record, warnings=[*record.warnings, *old])


def marked(record: Record, changed: list[str]) -> Record:
    """Return the record with a warning that names the first of the values that changed."""
    more = f", and {several(len(changed) - 1, 'more value')}" if len(changed) > 1 else ""
    kept = [text for text in record.warnings if not text.startswith(f"{NAME}: ")]
    warning = f"{NAME}: run again with the same key, {changed[0]}{more}"
    return msgspec.structs.replace(record, warnings=[*kept, warning])
