"""Groups of table rows that paired tests cannot tell apart, named by letters."""

from __future__ import annotations

from string import ascii_uppercase
from typing import TYPE_CHECKING

from hepbench.specs.errors import ResultsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepbench.storage.records import Record
    from hepbench.tables.columns import Columns
    from hepbench.tables.rows import Row
    from hepbench.tables.stars import Compare


MEANING = (
    "A: not significantly worse than the best row; B: worse than that, but not significantly worse "
    "than the best of the rows that are left; and so on. Paired tests on the same test examples, "
    "with the spread over seeds, at 95 % for each letter. ?: its few seeds differ by too much to tell. "
    "No letter: not compared"
)

UNCLEAR = "?"

MOST_ROWS = 200
"""Rows of a dataset that are divided into more groups than the best one."""


def letters(rows: Sequence[Row], columns: Columns, compare: Compare) -> list[str]:
    """Return the letter of each of the ranked rows of one dataset; "" where it is not compared.

    The rows that tie with the best are A, or ? where that is unclear; the same test among the
    others gives B, and so on.
    """
    found = [""] * len(rows)
    left = [i for i, row in enumerate(rows) if _can_be_compared(row, columns)]
    for letter in ascii_uppercase if len(rows) <= MOST_ROWS else "A":
        best, left = _best(rows, left, columns.main, compare)
        for i in best:
            found[i] = UNCLEAR if rows[i].standing == "unclear" else letter
    # a single row in the first group is compared with none
    return found if sum(map(bool, found)) > 1 else [""] * len(rows)


def _can_be_compared(row: Row, columns: Columns) -> bool:
    if columns.direction(columns.main) is None or not row.comparable or row.constant:
        return False
    average = row.averages[columns.main]
    return average.n > 1 and not average.limit


def _best(
    rows: Sequence[Row], left: list[int], main: str, compare: Compare
) -> tuple[list[int], list[int]]:
    """Return the rows that tie with the best of those that are left, and the others."""
    if len(left) < 2:
        return left, []
    try:
        outcome = compare([_with_values(rows[i], main) for i in left], main)
    except ResultsError:
        return [], []
    apart = {*outcome.best, *outcome.elsewhere}
    others = [i for place, i in enumerate(left) if place not in apart]
    return [left[place] for place in outcome.best], others


def _with_values(row: Row, main: str) -> list[Record]:
    return [r for r in row.ok if main in r.metrics and r.metrics[main].value is not None]
