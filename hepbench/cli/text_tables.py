"""Line up texts in columns for a terminal. Pure."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


WIDTH = 100


INDENT, GAP = "  ", "  "


LEAST = 30
"""Characters that the last column has at least."""


def lined_up(rows: Iterable[Sequence[str]], heads: Sequence[str] = ()) -> list[str]:
    """Return lines of a table whose last column is wrapped; a text may have several lines.

    Args:
        rows: texts of each row, one for each column.
        heads: titles of the columns; none: there is no line of titles.
    """
    table = [[text.splitlines() or [""] for text in row] for row in ([heads] if heads else [])]
    table += [[text.splitlines() or [""] for text in row] for row in rows]
    if not table:
        return []
    *firsts, _ = zip(*table, strict=True)
    widths = [max(len(line) for lines in column for line in lines) for column in firsts]
    room = max(LEAST, WIDTH - len(INDENT) - sum(width + len(GAP) for width in widths))
    return [line for row in table for line in _lines(row, [*widths, room])]


def _lines(row: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    *firsts, last = row
    wrapped = [
        piece
        for line in last
        for piece in wrap(line, widths[-1], break_long_words=False, break_on_hyphens=False) or [""]
    ]
    columns = [*firsts, wrapped]
    height = max(map(len, columns))
    padded = ([*column, *[""] * (height - len(column))] for column in columns)
    return [
        (INDENT + GAP.join(text.ljust(w) for text, w in zip(texts, widths, strict=True))).rstrip()
        for texts in zip(*padded, strict=True)
    ]
