"""Cache of comparisons of table rows, so that a table is not slower when it is shown again."""

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


class Comparison(msgspec.Struct, frozen=True):
    """The outcome of a comparison of rows, by their place in the given list.

    Attributes:
        best: rows that are not significantly worse than the best one, which is among them.
        elsewhere: rows that were left out because their test examples are others.
    """

    best: list[int]
    elsewhere: list[int]


class ComparisonCache:
    """Comparisons in a cache folder, by the checksums of the predictions that were compared.

    A damaged or missing entry is compared again; a folder that cannot be written is no cache.
    """

    def __init__(self, root: Path | None) -> None:
        self._folder = root / "comparisons" if root else None

    def find(
        self, results: Results, rows: Sequence[Sequence[Record]], metric: Metric
    ) -> Comparison | None:
        """Return the comparison of these rows; None if it is not known, or a file is missing."""
        path = self._path(rows, metric)
        if path is None or not all(map(results.files.exists, _stored_paths(rows))):
            return None
        try:
            found = msgspec.json.decode(regular_files.read_text(path), type=Comparison)
        except (OSError, ValueError):
            return None
        places = {*found.best, *found.elsewhere}
        return found if places <= {*range(len(rows))} else None

    def keep(
        self, rows: Sequence[Sequence[Record]], metric: Metric, comparison: Comparison
    ) -> None:
        """Write a comparison into the cache."""
        if (path := self._path(rows, metric)) is None:
            return
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            part = temporary.part(path)
            try:
                part.write_bytes(msgspec.json.encode(comparison))
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)

    def _path(self, rows: Sequence[Sequence[Record]], metric: Metric) -> Path | None:
        # the code of other metrics is not part of the key
        if self._folder is None or not metric.compute.startswith("hepbench."):
            return None
        compared = [[_checksums(record) for record in row] for row in rows]
        key = keys.key([keys.NUMERICS["compare"], metric.compute, compared])
        return self._folder / f"{key}.json"


def _checksums(record: Record) -> list[str]:
    return [stored.sha256 if stored else "" for stored in (record.predictions, record.labels)]


def _stored_paths(rows: Sequence[Sequence[Record]]) -> list[str]:
    """Return the paths of the predictions and labels of all records; "" where there are none."""
    files = (each for row in rows for r in row for each in (r.predictions, r.labels))
    return [stored.path if stored else "" for stored in dict.fromkeys(files)]
