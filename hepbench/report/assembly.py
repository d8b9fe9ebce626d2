"""Assemble the content of a report from records."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hepbench.report import details, groups, shown_columns
from hepbench.report.content import Page, PageTable, Section
from hepbench.report.dependences import dependences
from hepbench.report.page_rows import PageRows
from hepbench.specs.text import one_line, several
from hepbench.storage.records import ORIGINS
from hepbench.tables import label_efficiency
from hepbench.tables.columns import COUNTS, Columns
from hepbench.tables.ranked import ranked
from hepbench.tables.rows import collect

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hepbench.report.content import SuiteText, Verification
    from hepbench.storage.records import DataSummary, Record
    from hepbench.storage.results import Results
    from hepbench.tables.columns import Metrics
    from hepbench.tables.label_efficiency import CountLabels
    from hepbench.tables.ranked import RankedRows
    from hepbench.tables.rows import Row
    from hepbench.tables.stars import Compare


MOST_ROWS = 10_000
"""Rows that a page holds; of more, the best ones of each dataset."""

MOST_CURVES = 300
"""Rows whose curves a page holds, the best ones of each dataset."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request for a report.

    Attributes:
        results: hold the predictions of the records.
        records: those that are shown.
        looked: records that count as uses of the test sets.
        metrics: direction and comparability of metrics.
        summaries: of metrics, one line each.
        compare: compares rows on their predictions.
        count_labels: compares pretrained rows with those from scratch; None: they are not compared.
        verification: its outcome, if results were verified.
        suites: files of the suites.
        made: the time, UTC.
        version: of hepbench.
    """

    results: Results
    records: Sequence[Record]
    looked: Sequence[Record]
    metrics: Metrics
    summaries: Mapping[str, str]
    compare: Compare
    verification: Verification | None
    suites: list[SuiteText]
    made: str
    version: str
    count_labels: CountLabels | None = None

    @cached_property
    def looks(self) -> Counter[str]:
        """The number of evaluated records of each test set."""
        return Counter(r.data.test_set for r in self.looked if r.data and r.status == "ok")


def page(request: Request) -> Page:
    """Return the content of a report."""
    names = shown_columns.names(request.records, request.metrics)
    columns = Columns(group="dataset", labels=(), names=names, metrics=request.metrics)
    rows = collect(request.records, columns=names)
    if request.count_labels and columns.direction(columns.main) is not None:
        rows = label_efficiency.fill(rows, columns.main, request.count_labels)
    found = ranked(rows, _ranking_columns(columns), request.compare)
    making = PageRows(request.results, columns)
    tables = [_table(each, len(rows), request, making) for each in found]
    shown = [each.rows[: len(made.rows)] for each, made in zip(found, tables, strict=True)]
    return Page(
        title=", ".join(sorted({record.suite for record in request.records})),
        made=request.made,
        version=request.version,
        results=str(request.results),
        counts=_counts(request.records, found),
        verification=request.verification,
        warnings=[*map(one_line, request.results.skipped), *_limits(tables, len(rows))],
        main=0,
        groups=groups.MEANING,
        columns=shown_columns.described(columns, request.summaries),
        tables=tables,
        dependences=dependences(shown),
        efficiencies=making.efficiencies,
        sections=making.sections,
        environment=_environments(request.records),
        suites=request.suites,
    )


def _ranking_columns(columns: Columns) -> Columns:
    """Return the columns by which rows are ranked, and whose warnings are notes.

    Of costs they are those that are shown at first: the texts of others have marks of their own.
    """
    shown = (*shown_columns.SHOWN, *shown_columns.SHOWN_IF_WIDE)
    costs = [name for name in shown if name in COUNTS and name in columns.names]
    names = [*columns.tests, *costs, "published"]
    return replace(columns, names=names, asked=False)


def _share(rows: int, total: int, most: int) -> int:
    """Return how many of the rows of a dataset there is room for, if that is divided fairly."""
    return rows if total <= most else max(1, most * rows // total)


def _limits(tables: Sequence[PageTable], total: int) -> list[str]:
    """Return what a page does not hold because there is too much of it."""
    others = "choose others with -d, -m, -x or --run"
    said = []
    if left_out := sum(table.left_out for table in tables):
        kept = f"a page holds {MOST_ROWS:,}, the best of each dataset"
        said.append(f"{several(left_out, 'row')} left out: {kept}; {others}")
    if total > MOST_CURVES:
        kept = f"{MOST_CURVES} rows only, the best of each dataset"
        said.append(f"ROC curves, training curves and score distributions of {kept}; {others}")
    return said


def _counts(records: Sequence[Record], found: Sequence[RankedRows]) -> str:
    rows = sum(len(each.rows) for each in found)
    failed = sum(record.status != "ok" for record in records)
    counts = [
        several(len(records), "record"),
        several(rows, "row"),
        several(len(found), "dataset"),
        *([several(failed, "failed cell")] if failed else []),
    ]
    return ", ".join(counts)


def _table(each: RankedRows, total: int, request: Request, making: PageRows) -> PageTable:
    kept = _share(len(each.rows), total, MOST_ROWS)
    letters = groups.letters(each.rows, each.columns, request.compare)[:kept]
    drawn = _share(len(each.rows), total, MOST_CURVES)
    rows = making.rows(each.rows[:kept], letters, drawn=drawn)
    return PageTable(
        name=one_line(each.dataset),
        subtitle=_subtitle(each.rows),
        verdict=each.verdict,
        findings=list(map(one_line, each.findings)),
        remarks=_looks(each.rows, request.looks),
        classes=[one_line(str(name)) for name in each.rows[0].aspects["labels"]],
        rows=rows,
        left_out=len(each.rows) - kept,
    )


def _subtitle(rows: Sequence[Row]) -> str:
    """Return from which sources the rows of a dataset are, and how many examples they have."""
    known = dict.fromkeys(_sizes(row.data) for row in rows if row.data)
    return "; ".join(known) or " and ".join(sorted({ORIGINS[row.labels.source] for row in rows}))


def _sizes(data: DataSummary) -> str:
    sizes = f"{data.n_train:,} training, {data.n_validation:,} validation, {data.n_test:,} test"
    more = f", {data.n_unlabelled:,} more without labels" if data.n_unlabelled else ""
    return f"{ORIGINS[data.source]}: {sizes} examples{more}"


def _looks(rows: Iterable[Row], looks: Mapping[str, int]) -> list[str]:
    seen = {row.data.test_set: row.data.n_test for row in rows if row.ok and row.data}
    return [
        f"test set {name[:8]} ({size:,} examples): looked at {several(looks[name], 'time')}"
        for name, size in sorted(seen.items())
    ]


def _environments(records: Iterable[Record]) -> list[Section]:
    """Return the environments of records, each once, with the number of its records."""
    found: dict[Any, int] = defaultdict(int)
    for record in records:
        found[tuple(each for each in details.environment(record).items if each[0] != "run")] += 1
    return [Section(several(n, "record"), list(items)) for items, n in found.items()]
