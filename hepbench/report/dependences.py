"""Rows of a report that differ in one parameter: pruning ratios, numbers of labels."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from hepbench.plots.results import pareto
from hepbench.report.content import Dependence
from hepbench.specs.errors import UsageError
from hepbench.specs.references import chain, uses
from hepbench.specs.text import one_line
from hepbench.tables import row_names, sized_rows
from hepbench.tables.columns import title

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hepbench.tables.rows import Row


FEWEST = 3
"""Values of a parameter that a line needs."""

Line = tuple[str, list[tuple[int, int, float]]]


def dependences(tables: Sequence[Sequence[Row]]) -> list[Dependence]:
    """Return the lines of all tables: over a parameter of the last step, and over numbers of examples.

    Args:
        tables: the rows of each dataset.
    """
    found: dict[tuple[int, str, str], list[Line]] = defaultdict(list)
    for table, rows in enumerate(tables):
        for parameter, line in _over_parameters(table, rows):
            found[table, parameter, rows[0].labels.dataset].append(line)
    lines = [
        Dependence(title=dataset, parameter=title(parameter), table=table, lines=each)
        for (table, parameter, dataset), each in found.items()
    ]
    return [*lines, *_over_sizes(tables)]


def _over_parameters(table: int, rows: Sequence[Row]) -> Iterator[tuple[str, Line]]:
    try:
        families = pareto.curves(rows, "flops")
    except UsageError:
        # the label of a record that something else wrote
        return
    for places in families:
        members = [rows[i] for i in places]
        name = pareto.parameter(members) if len(places) >= FEWEST else ""
        values = [_parameter(row, name) for row in members]
        if name and all(_is_number(value) for value in values):
            points = [(table, i, float(v)) for i, v in zip(places, values, strict=True)]
            yield name, (_name(members[0], without=name), points)


def _parameter(row: Row, name: str) -> Any:
    steps = uses(step.name for step in chain(row.labels.chain))
    return row.record.params.get("methods", {}).get(steps[-1], {}).get(name)


def _name(row: Row, *, without: str) -> str:
    """Return a name for a line: what its rows share, without the parameter that differs."""
    *before, last = row_names.steps(row.labels.chain)
    shared = tuple(param for param in last.params if param.partition("=")[0] != without)
    steps = [*before, last._replace(params=shared)]
    return one_line(f"{row.labels.model} {'+'.join(step.text for step in steps)}")


def _over_sizes(tables: Sequence[Sequence[Row]]) -> Iterator[Dependence]:
    """Yield lines over the number of training examples or of labels, one figure for each dataset."""
    places = {
        id(row): (table, i) for table, rows in enumerate(tables) for i, row in enumerate(rows)
    }
    every = [row for rows in tables for row in rows]
    for axis, parameter in sized_rows.AXES.items():
        datasets: dict[tuple[str, str], list[Line]] = defaultdict(list)
        for setting, rows in sized_rows.series(every, axis).items():
            if len(sized_rows.numbers(rows)) >= FEWEST:
                points = [(*places[id(row)], float(sized_rows.number(row))) for row in rows]
                name = one_line(f"{setting.labels.model} {setting.labels.chain}")
                datasets[setting.dataset, setting.params].append((name, points))
        for (dataset, _), lines in datasets.items():
            # the table with all examples: that of the last points
            table = max(lines[0][1], key=lambda point: point[2])[0]
            yield Dependence(title=dataset, parameter=parameter, table=table, lines=lines)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
