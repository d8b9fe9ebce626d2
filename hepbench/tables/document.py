"""Make the text of result tables from records, one table for each dataset or other group."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Any

from hepbench.specs import text
from hepbench.specs.errors import ResultsError, UsageError
from hepbench.specs.text import DASH, one_line, unknown
from hepbench.tables import formats, rounding, stars
from hepbench.tables.columns import (
    COUNTS,
    DEFAULT_COLUMNS,
    LABELS,
    LOSS_METRICS,
    OTHERS,
    Columns,
    base,
    check,
    title,
)
from hepbench.tables.notes import SIZES, SOURCES, listed
from hepbench.tables.ranked import RankedRows, ranked
from hepbench.tables.rows import collect, recorded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hepbench.storage.records import Record
    from hepbench.tables.columns import Metrics
    from hepbench.tables.rows import Row
    from hepbench.tables.stars import Compare


FORMATS = (*formats.WRITERS, "csv", "json")


GROUPS = (
    *("suite", "dataset", "model", "method", "chain", "preset", "seed", "status"),
    "data.source",
)


LONGEST_NOTE = 300


def table(
    records: Sequence[Record],
    *,
    metrics: Metrics,
    compare: Compare,
    looked: Iterable[Record] | None = None,
    format: str = "plain",
    group: str = "dataset",
    columns: Sequence[str] | None = None,
) -> str:
    """Return the text of the tables of ``records``, one table for each value of ``group``.

    Args:
        records: in any order; the newest of each cell is shown.
        metrics: direction and comparability of each metric, from its spec.
        compare: compares rows on their predictions; called only where there are rows to compare.
        looked: records that count as uses of the test sets, superseded ones too; None:
            ``records``.
        format: one of FORMATS.
        group: one of GROUPS.
        columns: instead of DEFAULT_COLUMNS. Their first test metric ranks the rows.

    Raises:
        ResultsError: there are no records.
        UsageError: unknown format, group or column.
    """
    if not records:
        msg = "no records to show; 'hepbench run' writes them"
        raise ResultsError(msg)
    for kind, name, known in (("format", format, FORMATS), ("group", group, GROUPS)):
        if name not in known:
            raise UsageError(unknown(kind, name, known))
    check(columns or (), records, metrics)
    group = group.removeprefix("data.")
    rows = collect(records, group=group, columns=columns or DEFAULT_COLUMNS)
    shown = _columns(rows, columns, metrics, group=group)
    peers = ranked(rows, shown, compare)
    looks = _count_looks(records if looked is None else looked)
    if format in formats.WRITERS:
        return formats.WRITERS[format](_document(peers, shown, looks))
    objects = [_plain_row(row, shown, looks) for each in peers for row in each.rows]
    return formats.csv(objects) if format == "csv" else formats.json(objects)


def _columns(
    rows: Sequence[Row], asked: Sequence[str] | None, metrics: Metrics, *, group: str
) -> Columns:
    """Return the table columns that the user named, or all default ones with values."""
    names = asked or [name for name in DEFAULT_COLUMNS if name == "auc" or _has_values(rows, name)]
    needed = {"dataset", "model", "chain", *names}
    needed |= {name for i, name in enumerate(LABELS[:-1]) if len({r.labels[i] for r in rows}) > 1}
    sources = {(row.group, row.labels.source) for row in rows}
    # otherwise the titles of the tables name the source
    if group != "dataset" or len(sources) > len({row.group for row in rows}):
        needed.add("source")
    return Columns(
        group=group,
        labels=[name for name in LABELS if name in needed and name != group],
        names=[name for name in dict.fromkeys(names) if name not in LABELS],
        metrics=metrics,
        optional=frozenset() if asked else frozenset({*COUNTS, *OTHERS, *LOSS_METRICS}),
    )


def _has_values(rows: Iterable[Row], name: str) -> bool:
    if name in OTHERS:
        return name == "seeds" or any(row.published for row in rows)
    found = (recorded(record, name) for row in rows for record in row.ok)
    # few networks have metrics of their own loss: shown where one has a value; others also where
    # a note must say why there is none
    return any(each and (each.value is not None or name not in LOSS_METRICS) for each in found)


def _count_looks(records: Iterable[Record]) -> Counter[str]:
    """Return the number of evaluated records for each test set."""
    return Counter(r.data.test_set for r in records if r.data and r.status == "ok")


def _plain_row(row: Row, columns: Columns, looks: Mapping[str, int]) -> dict[str, Any]:
    """Return a table row as plain data for CSV and JSON, unrounded."""
    entries: dict[str, Any] = row.labels._asdict() | {columns.group: row.group}
    entries |= {size: getattr(row.data, size, None) for size in SIZES}
    split = getattr(row.data, "split_hash", "")
    entries |= {"split_hash": split, "seeds": len(row.ok), "failed": len(row.cells) - len(row.ok)}
    for name in columns.names:
        if name == "published":
            entries[name] = _published(row, columns)
        elif average := row.averages.get(name):
            entries[name] = average.value
            if name not in COUNTS:
                entries |= {f"{name}_stderr": average.stderr, f"{name}_spread": average.spread}
                entries[f"{name}_limit"] = average.limit
    entries |= {"comparable": row.comparable, "best": row.best}
    looked = looks[row.data.test_set] if row.data else 0
    return entries | {"test_looks": looked, "notes": row.notes}


def _published(row: Row, columns: Columns) -> float | None:
    return row.published.metrics.get(columns.main) if row.published else None


def _document(
    peers: Sequence[RankedRows], columns: Columns, looks: Mapping[str, int]
) -> formats.Document:
    """Return the tables of ranked rows as a document of rounded text."""
    main, labels, names = columns.main, columns.labels, columns.names
    heads = [f"{title(name)} ±test ±seeds" if name == main else title(name) for name in names]
    ranked_rows = [row for each in peers for row in each.rows]
    notes = ["notes"] if any(row.notes for row in ranked_rows) else []
    tables = [
        _group_table(list(rows), columns, looks, noted=bool(notes))
        for _, rows in groupby(ranked_rows, key=lambda row: row.group)
    ]
    return formats.Document(
        verdict=[_verdict_line(each, columns) for each in peers],
        heads=[*labels, *heads, *notes],
        align=["left"] * len(labels) + ["right"] * len(heads) + ["left"] * len(notes),
        optional=[name in columns.optional for name in [*labels, *names, *notes]],
        tables=tables,
        main=len(labels) + names.index(main) if main else 0,
        tie=stars.MEANING if any(row.best for row in ranked_rows) else "",
        legend=_legend(tables, columns),
    )


def _verdict_line(peers: RankedRows, columns: Columns) -> str:
    """Return the verdict on rows, with their dataset and group."""
    group = "" if columns.group == "dataset" else f"{columns.group} {peers.group}, "
    return one_line(f"{group}{peers.dataset}: {peers.verdict}")


def _group_table(
    rows: Sequence[Row], columns: Columns, looks: Mapping[str, int], *, noted: bool
) -> formats.Table:
    """Return the table of one group as text, with numbered notes."""
    metrics = {base(name) for name in columns.names}.difference(COUNTS, OTHERS)
    places = {name: rounding.column_places(row.averages[name] for row in rows) for name in metrics}
    numbers: dict[str, int] = {}
    lines = []
    for row in rows:
        marks = {numbers.setdefault(_shortened(note), len(numbers) + 1) for note in row.notes}
        labels = [one_line(getattr(row.labels, name)) or DASH for name in columns.labels]
        cells = [_cell_text(row, name, places, columns) for name in columns.names]
        lines.append([*labels, *cells, *([", ".join(map(str, sorted(marks)))] if noted else [])])
    name, whole = one_line(str(rows[0].group)) or "not recorded", columns.group == "dataset"
    seen = {row.data.test_set: row.data.n_test for row in rows if row.ok and row.data}
    return formats.Table(
        title=name if whole else f"{columns.group} {name}",
        subtitle=_subtitle(rows[0]) if whole else "",
        rows=lines,
        best=[row.best for row in rows],
        notes=list(numbers),
        remarks=[_test_set_line(*each, looks[each[0]]) for each in sorted(seen.items())],
    )


def _shortened(note: str) -> str:
    return note if len(note) <= LONGEST_NOTE else f"{note[: LONGEST_NOTE - 3]}..."


def _subtitle(row: Row) -> str:
    source = SOURCES[row.labels.source]
    if (data := row.data) is None:
        return source
    sizes = f"{data.n_train} training, {data.n_validation} validation, {data.n_test} test examples"
    more = f"; {data.n_unlabelled} more without labels" if data.n_unlabelled else ""
    return f"{source}: {sizes}{more}"


def _test_set_line(split: str, size: int, looks: int) -> str:
    times = "once" if looks == 1 else f"{looks} times"
    return f"test set {split[:8]} ({size} examples): looked at {times}"


def _cell_text(row: Row, name: str, places: Mapping[str, int], columns: Columns) -> str:
    """Return the text of one table cell: a rounded value with errors."""
    if name == "seeds":
        ok, every = len(row.ok), len(row.cells)
        return str(ok) if ok == every else f"{ok} of {every}"
    if name == "published":
        published = _published(row, columns)
        return DASH if published is None else repr(published)
    average, metric = row.averages[name], base(name)
    if name in COUNTS:
        return _count_text(name, average.value)
    decimals = rounding.row_places(row.averages[metric], places[metric])
    if name == columns.main:
        return rounding.with_errors(average, decimals)
    return (rounding.compact if name == metric else rounding.value_only)(average, decimals)


def _count_text(name: str, value: float | None) -> str:
    if name == "train_seconds":
        return text.duration(value)
    if name in {"latency", "batch_latency"}:
        return DASH if value is None else f"{value:.2g} ms"
    return rounding.number(value)


def _legend(tables: Iterable[formats.Table], columns: Columns) -> list[str]:
    """Return the lines below all tables that explain their columns."""
    shown = list(tables)
    return [
        *_legend_of_errors(shown, columns),
        *_legend_of_metrics(columns),
        *_legend_of_others(shown, columns),
    ]


def _legend_of_errors(tables: Iterable[formats.Table], columns: Columns) -> list[str]:
    lines = []
    if main := title(columns.main):
        lines.append(
            f"{main}: mean over seeds; ±test: standard error of the test sample, averaged over "
            f"seeds; ±seeds: standard deviation over seeds, {DASH} with one seed"
        )
    if len(columns.tests) > 1:
        cells = (cell for table in tables for row in table.rows for cell in row)
        spelt = filter(None, map(rounding.spelt_out, cells))
        first = next(spelt, "the second is over seeds")
        # preferably one with both errors
        example = first if DASH not in first else next((t for t in spelt if DASH not in t), first)
        lines.append(f"in brackets: the same errors in units of the last digit; {example}")
    return lines


def _legend_of_metrics(columns: Columns) -> list[str]:
    lines = []
    if means := [title(name) for name in columns.tests if name in LOSS_METRICS[:3]]:
        lines.append(
            f"{listed(means)}: means over test examples, computed on preprocessed inputs; empty "
            "if a later step retrained the encoder"
        )
    if areas := [title(name) for name in columns.tests if name in LOSS_METRICS[3:]]:
        lines.append(
            f"{listed(areas)}: AUC with this loss as the score; above 0.5 the loss is larger for "
            "signal"
        )
    if "ams" in columns.tests:
        lines.append(
            "AMS: approximate median significance of the cut that is best on validation, with the "
            "sums of the event weights of the test examples"
        )
    if points := [title(name) for name in columns.tests if name.startswith("rejection_")]:
        lines.append(f"{listed(points)}: 1 / background efficiency at this signal efficiency")
    return lines


def _legend_of_others(tables: Iterable[formats.Table], columns: Columns) -> list[str]:
    lines = []
    if means := [title(name) for name in columns.names if name in COUNTS or base(name) != name]:
        lines.append(f"{listed(means)}: mean over seeds")
    if "latency" in columns.names:
        lines.append("latency: median per example, in ONNX Runtime (estimators: in Python)")
    if "batch_latency" in columns.names:
        lines.append("batch latency: median of one call that scores the large batch")
    if any("label_fraction=" in table.title for table in tables):
        lines.append(
            "label_fraction: fraction of the training labels that methods see, drawn anew for each "
            "seed; validation keeps all its labels"
        )
    if "published" in columns.names and columns.main:
        lines.append(f"published: {title(columns.main)} in the publication that the note names")
    if "source" in columns.labels:
        lines.append(
            "source: file: original dataset; sample: small sample bundled with hepbench or a "
            "plugin; simulated: files that 'hepbench data simulate' wrote"
        )
    return lines
