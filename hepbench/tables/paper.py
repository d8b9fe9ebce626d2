r"""Write tables in LaTeX for an article with two columns of text: short names, notes, labels.

Widths are estimated from the number of characters, so that no line is too wide; a table that is too
wide or too long for a page is divided into several.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from hepbench.tables.latex import caption, escape, shared
from hepbench.tables.printed import joined

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hepbench.tables.printed import Column, Document, Table


COLUMN, PAGE = 229, 469
"""Widths in pt of one column and of both, in the class article with two columns."""


DIGIT, SEPARATION = 4.9, 8
"""Widths in pt of a bold digit of footnotesize, and of the space between two columns."""


LINES = 44
"""Lines of rows that fit a page, with a caption and notes."""


BREAKS = re.compile(r"(?<=[-,=_])|(?=[+\[])")
"""Where the names of rows may be broken."""


LONGEST_PIECE = 24
"""Characters of a name that are not broken, at most."""


class Part(NamedTuple):
    """Some columns and rows of a table that fit a page.

    Attributes:
        table: with these columns and rows only.
        width: of the text that it fits, COLUMN or PAGE.
        name_width: of the column with names of rows, in pt.
    """

    table: Table
    width: int
    name_width: float


def write(document: Document) -> str:
    r"""Return LaTeX tables for ``\usepackage{array,booktabs,threeparttable}``."""
    tables = []
    for table in document.tables:
        parts = list(_parts(table))
        tables += [
            _environment(part, i, _notes(table, document) if i == len(parts) else "")
            for i, part in enumerate(parts, 1)
        ]
    return joined([r"% needs \usepackage{array,booktabs,threeparttable}", *tables])


def _parts(table: Table) -> Iterator[Part]:
    """Yield a table in parts that fit a column of text, or a page."""
    marks = _marks(table)
    pieces = [piece for name in table.names for piece in _pieces(name.replace(" ", "-"))]
    least = max(80.0, DIGIT * max(map(len, [*pieces, *marks])) + SEPARATION)
    values = [c for c in table.columns if not c.label and c.name != "notes"]
    for columns, width in _side_by_side(values, least):
        name_width = width - sum(map(_points, columns))
        for rows in _pages(table.names, name_width):
            part = replace(
                table,
                columns=[replace(c, cells=[c.cells[i] for i in rows]) for c in columns],
                best=[table.best[i] for i in rows],
                names=[_name(table.names[i], marks[i]) for i in rows],
            )
            yield Part(part, width, name_width)


def _pieces(name: str) -> list[str]:
    """Return the parts of a name between which lines may be broken."""
    return [
        piece[i : i + LONGEST_PIECE]
        for piece in BREAKS.split(name)
        for i in range(0, len(piece), LONGEST_PIECE)
    ]


def _marks(table: Table) -> list[str]:
    """Return for each row the numbers of its notes."""
    noted = (column.cells for column in table.columns if column.name == "notes")
    return next(noted, [""] * len(table.names))


def _points(column: Column) -> float:
    return DIGIT * max(map(len, [column.title, *column.cells])) + SEPARATION


def _side_by_side(columns: Sequence[Column], least: float) -> list[tuple[list[Column], int]]:
    """Divide columns into those that fit side by side, beside names of a width."""
    if least + sum(map(_points, columns)) <= COLUMN:
        return [(list(columns), COLUMN)]
    groups: list[list[Column]] = [[]]
    for column in columns:
        if groups[-1] and least + sum(map(_points, [*groups[-1], column])) > PAGE:
            groups.append([])
        groups[-1].append(column)
    return [(group, PAGE) for group in groups]


def _pages(names: Sequence[str], width: float) -> list[list[int]]:
    """Divide the rows of a table into those that fit a page."""
    pages: list[list[int]] = [[]]
    lines = 0
    for i, name in enumerate(names):
        height = math.ceil(DIGIT * len(name) / width)
        if pages[-1] and lines + height > LINES:
            pages.append([])
            lines = 0
        pages[-1].append(i)
        lines += height
    return pages


def _name(name: str, marks: str) -> str:
    """Return the escaped name of a row, in which lines may be broken, with marks of its notes."""
    broken = r"\allowbreak{}".join(map(escape, _pieces(name)))
    return broken + (rf"\tnote{{{marks}}}" if marks else "")


def _environment(part: Part, number: int, notes: str) -> str:
    """Return the LaTeX of a part of a table, with notes below it."""
    table = part.table
    return _TABLE.format(
        environment="table" if part.width == COLUMN else "table*",
        caption=caption(table) + (" (continued)" if number > 1 else ""),
        label=table.slug + (f"-{number}" if number > 1 else ""),
        align="r" * len(table.columns),
        share=(part.name_width - SEPARATION) / part.width,
        grid=_grid(table),
        notes=notes,
    )


def _grid(table: Table) -> str:
    heads = " & ".join(["model", *(escape(column.title) for column in table.columns)])
    rows = table.rows(r"\textbf{{{}}}".format, escape)
    lines = (" & ".join([name, *row]) + r" \\" for name, row in zip(table.names, rows, strict=True))
    return "\n".join([r"\toprule", heads + r" \\", r"\midrule", *lines, r"\bottomrule"])


def _notes(table: Table, document: Document) -> str:
    numbered = (rf"\item[{n}] {escape(note)}" for n, note in enumerate(table.notes, 1))
    others = [*shared(table), *table.remarks, *document.explained("bold", table)]
    items = [*numbered, *(rf"\item[] {escape(text)}" for text in others)]
    return "\n".join([r"\begin{tablenotes}\footnotesize", *items, "\\end{tablenotes}\n"])


_TABLE = r"""\begin{{{environment}}}
\centering\footnotesize
\begin{{threeparttable}}
\caption{{{caption}}}
\label{{tab:{label}}}
\setlength{{\tabcolsep}}{{4pt}}
\begin{{tabular}}{{@{{}}>{{\raggedright\arraybackslash}}p{{{share:.3f}\linewidth}}{align}@{{}}}}
{grid}
\end{{tabular}}
{notes}\end{{threeparttable}}
\end{{{environment}}}"""
