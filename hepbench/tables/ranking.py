"""Rank table rows: find those that can be compared, and sort them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hepbench.tables.notes import annotate
from hepbench.tables.rows import newest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from hepbench.tables.columns import Columns
    from hepbench.tables.rows import Row


def rank(rows: Sequence[Row], columns: Columns) -> list[Row]:
    """Return the ranked table rows of one dataset: best first, incomparable ones later.

    Rows without a value come last. Comparable rows agree with the majority in everything that the
    main metric declares in ``Metric.same``. Rows keep their order if the metric has no direction,
    or if they are equal.
    """
    main, same = columns.main, columns.same(columns.main)
    sign = {True: -1, False: 1, None: 0}[columns.direction(main)]
    reference = standard(rows, same)
    last = newest(rows)

    def place(row: Row) -> tuple[Any, ...]:
        value = row.averages[main].value if main else None
        apart = [str(row.aspects[name]) for name in row.differing(reference) if name in same]
        return (value is None, bool(apart), apart, sign * (value or 0.0))

    places = sorted((place(row), i) for i, row in enumerate(rows))
    ordered = [rows[i] for _, i in places]
    comparable = sum(not valueless and not apart for (valueless, apart, *_), _ in places)
    return [
        replace(
            row,
            comparable=i < comparable,
            notes=annotate(row, reference=reference, last=last[row.labels], columns=columns),
        )
        for i, row in enumerate(ordered)
    ]


def standard(rows: Iterable[Row], same: Collection[str]) -> Row | None:
    """Return the row to compare others with: it agrees with the majority in data, split, etc.

    Of two groups of equally many rows, the one with more test examples is the majority.
    """

    def some(row: Row) -> tuple[Any, ...]:
        return tuple(row.aspects[name] for name in sorted(row.aspects.keys() & same))

    def every(row: Row) -> tuple[Any, ...]:
        return tuple(row.aspects.values())

    ok = [row for row in rows if row.ok]
    agreeing, alike = Counter(map(some, ok)), Counter(map(every, ok))

    def weight(row: Row) -> tuple[Any, ...]:
        size = row.data.n_test if row.data else 0
        return (agreeing[some(row)], size, some(row), alike[every(row)], every(row))

    return max(ok, key=weight, default=None)
