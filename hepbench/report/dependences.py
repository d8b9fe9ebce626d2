"""Rows of a report that differ in one parameter: pruning ratios, fractions of labels."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from hepbench.plots.results import error_vs_cost
from hepbench.report.content import Dependence
from hepbench.specs.errors import UsageError
from hepbench.specs.references import chain, uses
from hepbench.specs.text import one_line
from hepbench.tables import row_names
from hepbench.tables.columns import title

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hepbench.tables.rows import Row


FEWEST = 3
"""Values of a parameter that a line needs."""

LABELS = "label_fraction"

Line = tuple[str, list[tuple[int, int, float]]]


def dependences(tables: Sequence[Sequence[Row]]) -> list[Dependence]:
    """Return the lines of all tables: over a parameter of the last step, and over label fractions.

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
    return [*lines, *_over_labels(tables)]


def _over_parameters(table: int, rows: Sequence[Row]) -> Iterator[tuple[str, Line]]:
    try:
        families = error_vs_cost.curves(rows, "flops")
    except UsageError:
        # the label of a record that something else wrote
        return
    for places in families:
        members = [rows[i] for i in places]
        name = error_vs_cost.parameter(members) if len(places) >= FEWEST else ""
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


def _over_labels(tables: Sequence[Sequence[Row]]) -> list[Dependence]:
    """Return lines over the fraction of labels, of rows that are alike in everything else."""
    points: dict[Any, list[tuple[int, int, float]]] = defaultdict(list)
    for table, rows in enumerate(tables):
        for i, row in enumerate(rows):
            params = dict(row.record.params.get("dataset", {}))
            fraction = params.pop(LABELS, None)
            if _is_number(fraction) and row.ok:
                name = row.labels.dataset.partition("[")[0]
                alike = (name, repr(sorted(params.items())), row.labels._replace(dataset=""))
                points[alike].append((table, i, float(fraction)))
    datasets: dict[Any, list[Line]] = defaultdict(list)
    for (name, params, labels), found in points.items():
        if len({value for *_, value in found}) >= FEWEST:
            line = (one_line(f"{labels.model} {labels.chain}"), sorted(found, key=lambda p: p[2]))
            datasets[name, params].append(line)
    return list(_by_dataset(datasets))


def _by_dataset(datasets: dict[Any, list[Line]]) -> Iterable[Dependence]:
    for (name, _), lines in datasets.items():
        # the table with all labels: that of the last points
        table = max(lines[0][1], key=lambda point: point[2])[0]
        yield Dependence(title=name, parameter="fraction of labels", table=table, lines=lines)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
