"""Pairs the cells of two results: rows of BASE and NEW with the same names. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from hepbench.storage.keys import differences
from hepbench.tables.notes import difference
from hepbench.tables.rows import age, collect, made_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from hepbench.storage.records import Record
    from hepbench.tables.rows import Row


Names: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """The newest rows of one cell in BASE and in NEW; None where a run has no such cell.

    Attributes:
        cell: ``dataset/model/chain``, with suite and preset where cells of several are compared.
    """

    cell: str
    base: Row | None
    new: Row | None

    @property
    def rows(self) -> dict[str, Row]:
        """The rows of a pair that are there, by ``BASE`` and ``NEW``."""
        both = {"BASE": self.base, "NEW": self.new}
        return {name: row for name, row in both.items() if row is not None}

    @cached_property
    def changes(self) -> list[str]:
        """Lines on how the key of NEW differs from that of BASE, as ``hepbench why`` writes them."""
        if self.base is None or self.new is None:
            return []
        old, new = (made_of(row.record) for row in (self.base, self.new))
        return differences(old, new)

    @cached_property
    def new_warnings(self) -> list[str]:
        """Warnings of records in NEW of a kind that those in BASE do not have, one of each kind.

        It is chance which latencies were timed at a noisy moment; their warnings are left out.
        """
        kinds: dict[str, dict[str, str]] = {"BASE": {}, "NEW": {}}
        for run, row in self.rows.items():
            for record in row.ok:
                kinds[run] |= {text.partition(": ")[0]: text for text in record.warnings}
        if self.base is None:
            return []
        new = kinds["NEW"].items()
        return [
            t for kind, t in new if kind not in kinds["BASE"] and not kind.startswith("latency")
        ]

    @cached_property
    def missing(self) -> str:
        """Why a pair cannot be compared: a run has no such cell, or it failed there; "" if it can."""
        for name, row in (("BASE", self.base), ("NEW", self.new)):
            if row is None:
                return f"not in {name}"
            if not row.ok:
                return f"failed in {name}: {_failure(row.cells[0])}"
        return self._failed_seeds()

    def _failed_seeds(self) -> str:
        """Return which seeds of a cell failed in NEW and did not in BASE; "" if there are none."""
        assert self.base is not None
        assert self.new is not None
        good = {record.seed for record in self.base.ok}
        bad = [r for r in self.new.cells if r.status != "ok" and r.seed in good]
        return f"seed {bad[0].seed} failed in NEW: {_failure(bad[0])}" if bad else ""

    def differing(self, same: Collection[str]) -> str:
        """Describe in which of some aspects (data, split, ...) a pair differs; "" if in none."""
        if self.base is None or self.new is None:
            return ""
        names = [name for name in self.base.differing(self.new) if name in same]
        texts = [difference(self.base, self.new, name) for name in names]
        return f"BASE against NEW: {', '.join(texts)}" if texts else ""

    @property
    def is_same_record(self) -> bool:
        """Whether NEW holds the very records of BASE, which were not made anew."""
        if self.base is None or self.new is None:
            return False
        made = [[age(record) for record in row.cells] for row in (self.base, self.new)]
        return made[0] == made[1]


def _failure(record: Record) -> str:
    if record.error is None:
        return "no reason recorded"
    return f"{record.error.type}: {record.error.message}"


def paired(
    base: Iterable[Record], new: Iterable[Record], *, columns: Sequence[str]
) -> tuple[list[Pair], int]:
    """Return the pairs of cells of two results, and the number of older rows that were left out.

    If either results hold a single suite, its name may differ.

    Args:
        base, new: records of BASE and NEW.
        columns: metrics and costs whose means over seeds are needed.
    """
    rows = [collect(records, columns=columns) for records in (base, new)]
    suites = [{row.labels.suite for row in some} for some in rows]
    by_suite = max(map(len, suites)) > 1
    newest: list[dict[Names, Row]] = [{}, {}]
    for found, some in zip(newest, rows, strict=True):
        for row in sorted(some, key=lambda row: max(map(age, row.cells))):
            found[_names(row, by_suite=by_suite)] = row
    every = sorted(newest[0].keys() | newest[1].keys())
    cells = _cells(every)
    pairs = [
        Pair(cell, newest[0].get(names), newest[1].get(names))
        for cell, names in zip(cells, every, strict=True)
    ]
    return pairs, sum(map(len, rows)) - sum(map(len, newest))


def _names(row: Row, *, by_suite: bool) -> Names:
    labels = row.labels
    suite = labels.suite if by_suite else ""
    return (labels.dataset, labels.model, labels.chain, labels.preset, suite)


def _cells(every: Sequence[Names]) -> list[str]:
    """Return the names of cells, with preset and suite where they are needed to tell cells apart."""
    short = ["/".join(names[:3]) for names in every]
    times = Counter(short)
    return [
        f"{name} ({', '.join(filter(None, names[3:]))})" if times[name] > 1 else name
        for name, names in zip(short, every, strict=True)
    ]
