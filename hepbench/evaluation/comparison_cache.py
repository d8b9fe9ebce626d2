"""Cache of comparisons of table rows, so that a table is not slower when it is shown again.

They are kept by the checksums of the predictions that were compared, and by what changes with their
files. A damaged or missing entry is compared again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from hepbench.storage import keys, regular_files, temporary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hepbench.specs.metric import Metric
    from hepbench.storage.records import Record
    from hepbench.storage.results import Results


class PairDifference(msgspec.Struct, frozen=True, array_like=True):
    """The difference of two rows: first minus second, its standard error, whether it is significant."""

    value: float
    stderr: float
    significant: bool


class Comparison(msgspec.Struct, frozen=True):
    """The outcome of a comparison of rows, by their place in the given list.

    Attributes:
        best: rows that are not significantly worse than the best one, which is among them.
        elsewhere: rows that were left out because their test examples are others.
        differences: of each pair that was asked for; None if one of its rows was left out, or if the
            error of the difference is not known.
    """

    best: list[int]
    elsewhere: list[int]
    differences: list[PairDifference | None] = []


def path_of(
    folder: Path | None,
    results: Results,
    rows: Sequence[Sequence[Record]],
    metric: Metric,
    pairs: Sequence[tuple[int, int]] = (),
) -> Path | None:
    """Return where in a cache folder the comparison of rows is kept; None if it cannot be.

    It cannot if a file is missing, or the metric is a plugin's, whose code is not in the key.
    """
    if folder is None or not metric.compute.startswith("hepbench."):
        return None
    files = [[_stored_files(results, record) for record in row] for row in rows]
    if any(version is None for row in files for record in row for _, version in record):
        return None
    of_metric = [metric.compute, metric.higher_is_better, metric.physical_weights]
    key = keys.key([keys.NUMERICS["compare"], of_metric, files, list(map(list, pairs))])
    return folder / "comparisons" / f"{key}.json"


def _stored_files(results: Results, record: Record) -> list[tuple[str, str | None]]:
    """Return checksums of a record's predictions and labels, and the versions of their files."""
    stored = (record.predictions, record.labels)
    return [(s.sha256, results.files.version(s.path)) if s else ("", None) for s in stored]


def find(path: Path, rows: int, pairs: int = 0) -> Comparison | None:
    """Return the comparison of a number of rows and pairs from the cache; None if it is not known."""
    try:
        found = msgspec.json.decode(regular_files.read_text(path), type=Comparison)
    except (OSError, ValueError):
        return None
    places = {*found.best, *found.elsewhere}
    return found if places <= {*range(rows)} and len(found.differences) == pairs else None


def keep(path: Path, comparison: Comparison) -> None:
    """Write a comparison into the cache; a folder that cannot be written is no cache."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = temporary.part(path)
        try:
            part.write_bytes(msgspec.json.encode(comparison))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
