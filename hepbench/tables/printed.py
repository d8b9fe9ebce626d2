"""Tables of rounded texts, before they are written in a format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of texts.

    Attributes:
        name: as users name it.
        title: above it.
        cells: one text for each row.
        left: whether texts are aligned left.
        label: whether it tells rows apart; its texts may be wrapped.
    """

    name: str
    title: str
    cells: list[str]
    left: bool = False
    label: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of texts.

    Attributes:
        title, subtitle: above it.
        shared: parameters that all its rows have, one text for each model or method.
        columns: labels first, notes last.
        main: name of the column that ranks the rows; empty if there is none.
        best: for each row, whether it is marked as best.
        notes: numbered lines below it.
        remarks: other lines below it.
        slug: a name made of letters, digits and hyphens.
        names: a short name for each row.
        legend: lines that explain its own columns, for formats in which each table stands alone.
    """

    title: str
    subtitle: str
    shared: list[str]
    columns: list[Column]
    main: str
    best: list[bool]
    notes: list[str]
    remarks: list[str]
    slug: str
    names: list[str]
    legend: list[str] = field(default_factory=list)

    def rows(self, mark: Callable[[str], str], escaped: Callable[[str], str]) -> list[list[str]]:
        """Return the rows as escaped texts, with a mark on the main value of the best ones."""
        columns = []
        for column in self.columns:
            cells = [escaped(cell) for cell in column.cells]
            if column.name == self.main:
                pairs = zip(cells, self.best, strict=True)
                cells = [mark(cell) if best else cell for cell, best in pairs]
            columns.append(cells)
        return [list(row) for row in zip(*columns, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Document:
    """Tables of texts with what stands above and below them.

    Attributes:
        verdicts: on each dataset: a line, and lines with more findings.
        tables: at least one.
        tie: the meaning of the mark of the best rows; empty if no row is marked.
        legend: lines below all tables.
        more: names of columns that could be shown too.
    """

    verdicts: list[tuple[str, list[str]]]
    tables: list[Table]
    tie: str
    legend: list[str]
    more: list[str] = field(default_factory=list)

    def explained(self, mark: str, table: Table | None = None) -> list[str]:
        """Return the legend, or that of one table, which begins with the meaning of a mark."""
        if table is None:
            return [f"{mark}: {self.tie}", *self.legend] if self.tie else self.legend
        return [f"{mark}: {self.tie}", *table.legend] if any(table.best) else table.legend


def joined(blocks: Sequence[str]) -> str:
    """Join blocks of lines by empty lines."""
    return "\n\n".join(filter(None, blocks)) + "\n"
