"""Write the columns of a table as rounded texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench.specs import text
from hepbench.specs.text import DASH, one_line
from hepbench.storage.costs import LATENCIES
from hepbench.tables import latencies, rounding
from hepbench.tables.columns import COUNTS, base, title
from hepbench.tables.printed import Column
from hepbench.tables.where import value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hepbench.evaluation.seed_averages import SeedAverage
    from hepbench.tables.columns import Columns, Labels
    from hepbench.tables.rows import Row


def label_columns(labels: Sequence[Labels], names: Iterable[str]) -> list[Column]:
    """Return the columns that identify rows."""
    return [
        Column(
            name=name,
            title=name,
            cells=[one_line(getattr(each, name)) or DASH for each in labels],
            left=True,
            label=True,
        )
        for name in names
    ]


def value_columns(rows: Sequence[Row], columns: Columns) -> list[Column]:
    """Return the columns of metrics, costs and others, in their order."""
    return [
        Column(name=name, title=title(name), cells=_cells(rows, name, columns))
        for name in columns.names
    ]


def _cells(rows: Sequence[Row], name: str, columns: Columns) -> list[str]:
    if name == "seeds":
        return [_seeds_text(row) for row in rows]
    if name == "labels_from_scratch":
        return [each.text if (each := row.labels_from_scratch) else DASH for row in rows]
    if name == "published":
        found = (value(row, name, columns.main) for row in rows)
        return [DASH if number is None else repr(number) for number in found]
    if name in COUNTS:
        return [count_text(row, name) for row in rows]
    averages = [row.averages[base(name)] for row in rows]
    places = rounding.column_places(averages)
    decimals = (rounding.row_places(average, places) for average in averages)
    write = rounding.compact if name == base(name) else rounding.value_only
    return [write(row.averages[name], n) for row, n in zip(rows, decimals, strict=True)]


def _seeds_text(row: Row) -> str:
    ok, every = len(row.ok), len(row.cells)
    return str(ok) if ok == every else f"{ok} of {every}"


def count_text(row: Row, name: str) -> str:
    """Return the text of a table cell with a count or a time."""
    average: SeedAverage = row.averages[name]
    if name in {"train_seconds", "train_cpu_seconds", "pretrain_cpu_seconds"}:
        return text.duration(average.value)
    if name in LATENCIES:
        return latencies.cell_text(row, name)
    return rounding.number(average.value)
