"""Write tables as plain text that fits the width of a terminal."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from hepbench.tables.latencies import DOUBT
from hepbench.tables.printed import joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hepbench.tables.printed import Column, Document, Table


GAP = "  "


NARROWEST = 40
"""Characters of a line that tables are written for at least."""


LONGEST_PIECE = 32
"""Characters of a label that are kept on one line if the width allows it."""


class Block(NamedTuple):
    """Columns that stand side by side, each with the lines of its cells; the first is its title."""

    columns: list[Column]
    cells: list[list[list[str]]]

    def lines(self) -> list[str]:
        """The block as lines of text, with a rule below the titles."""
        widths = [_width(column) for column in self.cells]
        found = [self._row(0, widths), [GAP.join("-" * width for width in widths)]]
        found += (self._row(i, widths) for i in range(1, len(self.cells[0])))
        return [line.rstrip() for row in found for line in row]

    def _row(self, i: int, widths: Sequence[int]) -> list[str]:
        height = max(len(column[i]) for column in self.cells)
        lines = []
        for n in range(height):
            texts = (column[i][n] if n < len(column[i]) else "" for column in self.cells)
            aligned = (
                text.ljust(width) if column.left else text.rjust(width)
                for text, width, column in zip(texts, widths, self.columns, strict=True)
            )
            lines.append(GAP.join(aligned))
        return lines


def write(document: Document, width: int, *, verdict_last: bool = False) -> str:
    """Return tables as plain text, at most ``width`` characters wide if labels can be wrapped.

    Labels are wrapped; columns for which there is no room stand below.
    """
    width = max(width, NARROWEST)
    verdict = "\n".join(
        wrapped(line, width, indent)
        for line, findings in document.verdicts
        for line, indent in ((line, GAP), *((f"{GAP}{each}", GAP * 2) for each in findings))
    )
    parts = [] if verdict_last else [verdict]
    for table in document.tables:
        blocks = ("\n".join(block.lines()) for block in _blocks(table, width))
        parts += [_above(table, width), *blocks, "\n".join(_below(table, width))]
    below = [*document.explained("*"), *_more(document.more)]
    parts.append("\n".join(wrapped(line, width, GAP) for line in below))
    return joined([*parts, verdict] if verdict_last else parts)


def narrowed(table: Table, width: int, least_needed: Iterable[str]) -> Table:
    """Return a table without the least needed columns that do not fit a width, labels wrapped."""
    texts = _texts(table)
    columns = table.columns
    for name in least_needed:
        if _least_width(columns, texts) <= max(width, NARROWEST):
            break
        if name != table.main:
            columns = [column for column in columns if column.name != name]
    return replace(table, columns=columns)


def _texts(table: Table) -> dict[str, list[str]]:
    """Return the title and cells of each column, with the mark of the best rows."""
    rows = table.rows("*{}".format, str)
    return {c.name: [c.title, *(row[i] for row in rows)] for i, c in enumerate(table.columns)}


def _more(names: Sequence[str]) -> list[str]:
    return [f"more columns: --columns all, or NAME,... of {', '.join(names)}"] if names else []


def _above(table: Table, width: int) -> str:
    title = f"{table.title}{GAP}{table.subtitle}".rstrip()
    shared = (
        [f"{GAP}left out of the names below: {', '.join(table.shared)}"] if table.shared else []
    )
    return "\n".join(wrapped(line, width, GAP * 2) for line in (title, *shared))


def _below(table: Table, width: int) -> list[str]:
    notes = (f"{n:>3}  {note}" for n, note in enumerate(table.notes, 1))
    lines = [wrapped(note, width, " " * 5) for note in notes]
    return lines + [wrapped(f"{GAP}{remark}", width, GAP * 2) for remark in table.remarks]


def _blocks(table: Table, width: int) -> list[Block]:
    """Return a table as blocks that fit the width."""
    texts = _texts(table)
    groups = _side_by_side(table.columns, texts, width)
    return [_block(group, texts, width) for group in groups]


def _side_by_side(
    columns: Sequence[Column], texts: dict[str, list[str]], width: int
) -> list[list[Column]]:
    """Divide columns into groups that fit the width; each begins with the labels."""
    labels = [column for column in columns if column.label]
    others = [column for column in columns if column not in labels]
    groups = [[*labels, *others[:1]]]
    for column in others[1:]:
        if _least_width([*groups[-1], column], texts) > width:
            groups.append(list(labels))
        groups[-1].append(column)
    return groups


def _least_width(columns: Sequence[Column], texts: dict[str, list[str]]) -> int:
    """Return the width of columns whose labels are wrapped wherever they can be."""
    widths = (_width(_narrow(column, texts[column.name])) for column in columns)
    return sum(widths) + len(GAP) * (len(columns) - 1)


def _width(cells: Iterable[Sequence[str]]) -> int:
    return max(len(line) for lines in cells for line in lines)


def _narrow(column: Column, texts: Sequence[str]) -> list[list[str]]:
    """Return the cells of a column as lines, as narrow as they can be."""
    if column.label:
        return [_wrapped_label(text, 1) for text in texts]
    return [_head_lines(texts), *([text] for text in _aligned(texts[1:]))]


def _head_lines(texts: Sequence[str]) -> list[str]:
    """Return a title in lines no wider than needed for it and the cells below it."""
    from textwrap import wrap

    longest_word = max(map(len, texts[0].split()), default=1)
    widest = max(longest_word, *map(len, _aligned(texts[1:]) or [""]))
    return wrap(texts[0], widest, break_long_words=False, break_on_hyphens=False) or [""]


def _aligned(cells: Sequence[str]) -> list[str]:
    """Return cells in which a mark of doubt stands beside the numbers, not below a digit."""
    if not any(cell.endswith(DOUBT) for cell in cells):
        return list(cells)
    return [cell if cell.endswith(DOUBT) else f"{cell} " for cell in cells]


def _block(columns: list[Column], texts: dict[str, list[str]], width: int) -> Block:
    """Return columns side by side; the widest labels are wrapped until all fit the width."""
    cells = {c.name: [[t] for t in texts[c.name]] for c in columns if c.label}
    narrow = {c.name: _narrow(c, texts[c.name]) for c in columns}
    room = width - len(GAP) * (len(columns) - 1)
    room -= sum(_width(narrow[c.name]) for c in columns if not c.label)
    least = {name: _width(narrow[name]) for name in cells}
    while sum(map(_width, cells.values())) > room:
        wide = [name for name in cells if _width(cells[name]) > least[name]]
        if not wide:
            break
        widest = max(wide, key=lambda name: _width(cells[name]))
        limit = _width(cells[widest]) - 1
        cells[widest] = [_wrapped_label(text, limit) for text in texts[widest]]
    return Block(columns, [cells.get(c.name) or narrow[c.name] for c in columns])


def _wrapped_label(text: str, width: int) -> list[str]:
    """Return a label in lines that begin with ``+``, a bracket or a parameter."""
    lines: list[str] = []
    for piece in re.findall(r"[+\[]?[^+\[, ]*[, ]*", text)[:-1] or [""]:
        for part in _parts(piece, max(width - 1, LONGEST_PIECE)):
            if lines and len(lines[-1]) + len(part.rstrip()) <= width:
                lines[-1] += part
            else:
                lines.append(f" {part}" if lines else part)
    return [line.rstrip() for line in lines]


def _parts(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)] or [""]


def wrapped(text: str, width: int, indent: str = "") -> str:
    """Return a text in lines of a width; all but the first are indented."""
    from textwrap import fill

    if len(text) <= width:
        return text
    return fill(text, width, subsequent_indent=indent, break_on_hyphens=False)
