"""The columns of a report's tables: what is known of any row, and its texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench.report.content import Column
from hepbench.storage.costs import LATENCIES
from hepbench.tables import cells, latencies, rounding
from hepbench.tables.columns import COUNTS, PARTS, Columns, base, title
from hepbench.tables.rows import recorded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hepbench.evaluation.seed_averages import SeedAverage
    from hepbench.storage.records import Record
    from hepbench.tables.columns import Metrics
    from hepbench.tables.rows import Row


FIRST = ("auc", "accuracy", "rejection_30", "rejection_50", "rejection_70", "log_loss")
"""Test metrics that come before all others; the first one that is recorded ranks the rows."""

SHOWN = ("rejection_50", "parameters", "flops", "latency")
"""Columns that are shown at first beside the main one."""

SHOWN_IF_WIDE = ("accuracy", "train_seconds")

OTHERS = {
    "published": "value of the main metric in the publication that a note names; other data, "
    "other protocol: no competitor in the ranking",
    "parameters": "parameters of the network that was scored, or as the estimator states",
    "nonzero_parameters": "parameters that are not zero",
    "macs": "multiply-accumulates of scoring one example",
    "flops": "twice the multiply-accumulates of scoring one example",
    "theoretical_macs": "multiply-accumulates without those of zero weights",
    "comparisons": "comparisons along the paths of one example through trees, on average",
    "train_seconds": "training of all methods of the chain together",
    "train_cpu_seconds": "CPU time of the training of all methods of the chain together",
    "pretrain_cpu_seconds": "CPU time of the methods that train an encoder without labels, spent once for "
    "all rows that share them",
    "pretrain_examples": "training examples that these methods processed, in each epoch anew",
    "trained_per_second": "training examples, in each epoch anew, per second of training",
    "peak_memory_mb": "memory of scoring a large batch; of training where that was not measured",
    "large_batch": "examples in the large batch that was timed",
    "load": "cores that other processes kept busy while latencies were measured",
    "epochs": "epochs of the last method",
    "best_epoch": "epoch whose weights were kept, counted from 0",
}

PUBLISHED = "published"

UNITS = {
    **dict.fromkeys(LATENCIES, "ms"),
    **dict.fromkeys(("train_seconds", "train_cpu_seconds", "pretrain_cpu_seconds"), "s"),
    "peak_memory_mb": "MB",
    "load": "cores",
}


def names(records: Iterable[Record], metrics: Metrics) -> list[str]:
    """Return the names of all columns that a record has a value for, the main one first."""
    ok = [record for record in records if record.status == "ok"]
    tests = {n for r in ok for n, value in r.metrics.items() if value.value is not None}
    ranking = [n for n in (*FIRST, *sorted(metrics)) if n in tests]
    ordered = list(dict.fromkeys([*ranking, *sorted(tests)])) or ["auc"]
    of_parts = [f"{part}_{name}" for name in ordered for part in PARTS]
    known = [n for n in (*of_parts, *COUNTS) if any(_has_value(r, n) for r in ok)]
    published = any(r.published and ordered[0] in r.published.metrics for r in records)
    return [*ordered, *known, *([PUBLISHED] if published else [])]


def _has_value(record: Record, name: str) -> bool:
    found = recorded(record, name)
    return found is not None and found.value is not None


def described(found: Columns, summaries: Mapping[str, str]) -> list[Column]:
    """Return the columns of a page.

    Args:
        found: names and directions.
        summaries: of metrics, one line each.
    """
    return [_column(name, found, summaries) for name in found.names]


def _column(name: str, found: Columns, summaries: Mapping[str, str]) -> Column:
    metric = base(name)
    part = "" if metric == name else f", of {name.partition('_')[0]} examples"
    about = f"{summaries.get(metric, title(metric))}{part}"
    if name in LATENCIES:
        about = latencies.about(name)
    direction = found.direction(metric)
    shown = name == found.main or name in SHOWN
    return Column(
        name=name,
        title=title(name),
        about=OTHERS.get(name, about),
        kind="other" if name == PUBLISHED else "cost" if name in COUNTS else "metric",
        better=0 if direction is None else 1 if direction else -1,
        shown=1 if shown else 2 if name in SHOWN_IF_WIDE else 0,
        unit=UNITS.get(name, ""),
    )


def values(row: Row, found: Columns) -> list[float | None]:
    """Return the value of a row in each column: counts exactly, others with seven digits."""
    known = (
        _published(row, found) if n == PUBLISHED else row.averages[n].value for n in found.names
    )
    return [None if v is None else v if v == int(v) else float(f"{v:.7g}") for v in known]


def _published(row: Row, found: Columns) -> float | None:
    return row.published.metrics.get(found.main) if row.published else None


def texts(rows: Sequence[Row], found: Columns) -> list[list[str]]:
    """Return the rounded texts of the rows of one table, for each row one for each column."""
    by_column = [_texts_of_column(rows, name, found) for name in found.names]
    return [list(each) for each in zip(*by_column, strict=True)]


def _texts_of_column(rows: Sequence[Row], name: str, found: Columns) -> list[str]:
    if name == PUBLISHED:
        known = (_published(row, found) for row in rows)
        return ["" if value is None else repr(value) for value in known]
    averages = [row.averages[name] for row in rows]
    if name in COUNTS:
        return [_cost(row, name) for row in rows]
    places = rounding.column_places(averages)
    return [_metric(average, places) for average in averages]


def _metric(average: SeedAverage, places: int) -> str:
    if average.value is None:
        return ""
    return " ".join(rounding.with_errors(average, rounding.row_places(average, places)).split())


def _cost(row: Row, name: str) -> str:
    if row.averages[name].value is None:
        return ""
    # the texts of times have units of their own
    unit = UNITS.get(name, "")
    unit = "" if unit in {"ms", "s"} else unit
    return f"{cells.count_text(row, name)} {unit}".strip()
