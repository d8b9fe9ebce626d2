"""Make the text of result tables from records, one table for each dataset or other group."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from hepbench.specs.errors import ResultsError, UsageError
from hepbench.specs.text import natural_order, one_line, several
from hepbench.tables import (
    data_rows,
    findings,
    label_efficiency,
    latex,
    markup,
    paper,
    plain,
    stars,
)
from hepbench.tables.columns import (
    ALL,
    FEW_ROWS,
    LABELS,
    LEAST_NEEDED,
    LOSS_METRICS,
    OTHERS,
    WORTH_NAMING,
    Columns,
    base,
)
from hepbench.tables.legend import legend
from hepbench.tables.printed import Document
from hepbench.tables.ranked import ranked
from hepbench.tables.request import DATA_FORMATS, Request
from hepbench.tables.rows import collect, recorded
from hepbench.tables.sections import section
from hepbench.tables.where import Condition, in_order, value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hepbench.storage.records import Record
    from hepbench.tables.columns import Metrics
    from hepbench.tables.label_efficiency import CountLabels
    from hepbench.tables.printed import Table
    from hepbench.tables.ranked import RankedRows
    from hepbench.tables.rows import Row
    from hepbench.tables.stars import Compare


class Group(NamedTuple):
    """The rows of one table.

    Attributes:
        peers: all rows, ranked within each dataset.
        rows: those that are shown, in their order.
        columns: those that are shown.
    """

    peers: list[RankedRows]
    rows: list[Row]
    columns: Columns


USUAL = Request()


def table(
    records: Sequence[Record],
    *,
    metrics: Metrics,
    compare: Compare,
    looked: Iterable[Record] | None = None,
    count_labels: CountLabels | None = None,
    request: Request = USUAL,
) -> str:
    """Return the text of the tables of ``records``, one table for each value of a group.

    Args:
        records: in any order; the newest of each cell is shown.
        metrics: direction and comparability of each metric, from its spec.
        compare: compares rows on their predictions; called only where there are rows to compare.
        looked: records that count as uses of the test sets, superseded ones too; None:
            ``records``.
        count_labels: compares pretrained rows with those from scratch on their predictions; None:
            they are not compared.
        request: format, columns, order, and which rows are shown.

    Raises:
        ResultsError: there are no records.
        UsageError: unknown format, group or column, or no row fulfils all conditions.
    """
    if not records:
        msg = "no records to show; 'hepbench run' writes them"
        raise ResultsError(msg)
    request.check(records, metrics)
    rows, columns = _collected(records, request, metrics, count_labels)
    groups = _groups(rows, columns, request, compare)
    looks = _count_looks(records if looked is None else looked)
    if request.format in DATA_FORMATS:
        shown = [row for group in groups for row in group.rows]
        objects = data_rows.row_objects(shown, columns, looks, per_seed=request.per_seed)
        return data_rows.csv(objects) if request.format == "csv" else data_rows.json(objects)
    return _written(_document(groups, request, looks), request)


def _written(document: Document, request: Request) -> str:
    if request.format == "plain":
        return plain.write(document, request.width, verdict_last=request.verdict_last)
    writers = {"github": markup.github, "html": markup.html, "latex": latex.write}
    if request.style == "paper":
        return paper.write(document)
    return writers[request.format](document)


def _collected(
    records: Sequence[Record],
    request: Request,
    metrics: Metrics,
    count_labels: CountLabels | None,
) -> tuple[list[Row], Columns]:
    """Return rows with the averages that are needed, and the columns that tables may have."""
    names = request.names(records, metrics)
    conditions = (each.name for each in request.conditions if each.name not in Condition.FLAGS)
    needed = [*names, *conditions, *filter(None, [request.sorted_by])]
    rows = collect(records, group=request.data_field, columns=needed)
    if count_labels and "labels_from_scratch" in needed:
        every = _columns(rows, names, request, metrics, asked=True)
        if every.direction(every.main) is not None:
            rows = label_efficiency.fill(rows, every.main, count_labels)
    asked = request.columns is not None and ALL not in request.columns
    if not asked:
        names = [name for name in names if name == "auc" or _has_values(rows, name)]
    return rows, _columns(rows, names, request, metrics, asked=asked)


def _has_values(rows: Sequence[Row], name: str) -> bool:
    if name == "labels_from_scratch":
        return any(row.labels_from_scratch or row.labels_note for row in rows)
    if name in OTHERS:
        return name == "seeds" or any(row.published for row in rows)
    if any(row.averages[name].n for row in rows if name in row.averages):
        return True
    found = (recorded(record, name) for row in rows for record in row.ok)
    # few networks have metrics of their own loss: shown where one has a value; others also where
    # a note must say why there is none
    return any(each and (each.value is not None or name not in LOSS_METRICS) for each in found)


def _columns(
    rows: Sequence[Row], names: Sequence[str], request: Request, metrics: Metrics, *, asked: bool
) -> Columns:
    """Return the columns of tables, with those labels that are needed to tell rows apart."""
    group = request.data_field
    needed = {"dataset", "model", "chain", *names}
    needed |= {name for i, name in enumerate(LABELS[:-1]) if len({r.labels[i] for r in rows}) > 1}
    sources = {(row.group, row.labels.source) for row in rows}
    # otherwise the titles of the tables name the source
    if group != "dataset" or len(sources) > len({row.group for row in rows}):
        needed.add("source")
    return Columns(
        group=group,
        labels=[name for name in LABELS if name in needed and name != group],
        names=[name for name in names if name not in LABELS],
        metrics=metrics,
        asked=asked,
    )


def _groups(
    rows: Iterable[Row], columns: Columns, request: Request, compare: Compare
) -> list[Group]:
    """Return the rows of each table, ranked; tables without a row to show are left out."""
    members: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        members[row.group].append(row)
    groups = []
    for _, some in sorted(members.items(), key=lambda item: natural_order(item[0])):
        filled = columns if request.format in DATA_FORMATS else _filled(columns, some, request)
        peers = ranked(some, filled, compare)
        groups.append(Group(peers, _chosen(peers, filled, request), filled))
    found = [group for group in groups if group.rows]
    if not found:
        all_rows = several(sum(map(len, members.values())), "row")
        msg = f"none of {all_rows} fulfils --where {' and '.join(request.where)}"
        raise UsageError(msg)
    return found


def _filled(columns: Columns, rows: Sequence[Row], request: Request) -> Columns:
    """Return the columns of one table: without those that are empty in it, if not asked for.

    Usual columns leave a table also if they are empty in most rows.
    """
    if columns.asked:
        return columns
    usual = request.columns is None
    kept = [
        name
        for name in columns.names
        if name == columns.main
        or sum(value(row, name, columns.main) is not None for row in rows)
        >= (len(rows) / 2 if usual and name not in FEW_ROWS else 1)
    ]
    equal_seeds = len({len(row.cells) for row in rows}) == 1 and not any(
        len(row.ok) < len(row.cells) for row in rows
    )
    return replace(columns, names=[n for n in kept if not (usual and n == "seeds" and equal_seeds)])


def _chosen(peers: Sequence[RankedRows], columns: Columns, request: Request) -> list[Row]:
    """Return the rows that fulfil all conditions, in the order that was asked for."""
    conditions, main = request.conditions, columns.main
    rows = [row for each in peers for row in each.rows]
    rows = [row for row in rows if all(each.holds(row, main) for each in conditions)]
    if not (name := request.sorted_by):
        return rows
    return in_order(
        rows,
        name,
        main,
        reverse=request.sort.startswith("-"),
        higher_first=bool(columns.direction(name)),
    )


def _count_looks(records: Iterable[Record]) -> Counter[str]:
    """Return the number of evaluated records for each test set."""
    return Counter(r.data.test_set for r in records if r.data and r.status == "ok")


def _document(groups: Sequence[Group], request: Request, looks: Mapping[str, int]) -> Document:
    """Return the tables of ranked rows as a document of rounded text."""
    usual = request.columns is None
    tables = [
        section(group.rows, group.columns, looks, of=sum(len(each.rows) for each in group.peers))
        for group in groups
    ]
    if usual and request.format == "plain":
        tables = [plain.narrowed(each, request.width, LEAST_NEEDED) for each in tables]
    rows = [row for group in groups for row in group.rows]
    names = dict.fromkeys(name for group in groups for name in group.columns.names)
    every = replace(groups[0].columns, names=list(names))
    return Document(
        # without a metric nothing is ranked
        verdicts=[
            (peers.verdict_line, [one_line(each) for each in peers.findings])
            for group in groups
            for peers in group.peers
            if group.columns.main
        ],
        tables=[
            replace(table, legend=legend([table], group.rows, group.columns))
            for table, group in zip(tables, groups, strict=True)
        ],
        tie=stars.meaning(rows),
        legend=[*_of_differences(groups), *legend(tables, rows, every)],
        more=_unused_columns(rows, tables) if usual else [],
    )


def _of_differences(groups: Sequence[Group]) -> list[str]:
    """Return a line on the differences in verdicts, if there are any."""
    every = (peers.differences for group in groups for peers in group.peers)
    return [findings.MEANING] if any(every) else []


def _unused_columns(rows: Sequence[Row], tables: Sequence[Table]) -> list[str]:
    """Return the names of columns that are not shown though they have values."""
    shown = {column.name for each in tables for column in each.columns}
    names = [n for n in (*LEAST_NEEDED, *WORTH_NAMING) if n not in shown]
    # those of training examples are recorded wherever those of test examples are
    return [name for name in names if _has_values(rows, base(name))]
