"""Select recorded cells by globs on their dataset, model and chain, as ``-d``, ``-m`` and ``-x``."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from hepbench.planning.matrix import fits, no_match
from hepbench.specs.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hepbench.storage.records import Record


def chosen(
    records: Sequence[Record],
    datasets: Sequence[str] = (),
    models: Sequence[str] = (),
    methods: Sequence[str] = (),
    *,
    where: object = "these results",
) -> list[Record]:
    """Return the records that match one glob of each kind; no globs match all.

    Args:
        records: of any cells.
        datasets, models, methods: globs, as on the command line.
        where: names the results in messages.

    Raises:
        UsageError: a glob matches nothing, or no record matches globs of all kinds.
    """
    globs = {"dataset": datasets, "model": models, "chain": methods}
    for kind, patterns in globs.items():
        labels = sorted({getattr(record, kind) for record in records})
        for pattern in patterns:
            if not any(_matches(label, pattern) for label in labels):
                raise UsageError(no_match(pattern, kind, f"in {where}", labels))
    found = [record for record in records if _matches_all(record, globs)]
    if records and not found:
        msg = "no cell matches all of -d, -m and -x; each matches some, but never together"
        raise UsageError(msg)
    return found


def _matches_all(record: Record, globs: Mapping[str, Sequence[str]]) -> bool:
    return all(
        not patterns or any(_matches(getattr(record, kind), pattern) for pattern in patterns)
        for kind, patterns in globs.items()
    )


def _matches(label: str, pattern: str) -> bool:
    try:
        return fits(label, pattern)
    except UsageError:
        # the label of a record is any text
        return fnmatchcase(label, pattern.replace("[", "[[]"))
