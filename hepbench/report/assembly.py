"""Assemble the content of a report from records."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hepbench.plots.results import error_vs_cost
from hepbench.report import commands, curves, details, groups, shown_columns
from hepbench.report.content import Page, PageRow, PageTable, Section
from hepbench.report.dependences import dependences
from hepbench.specs.errors import HepbenchError
from hepbench.specs.text import one_line, several
from hepbench.storage.records import ORIGINS
from hepbench.tables import stars
from hepbench.tables.columns import Columns
from hepbench.tables.ranking import rank
from hepbench.tables.rows import collect

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hepbench.report.content import Curves, SuiteText, Verification
    from hepbench.storage.records import Record
    from hepbench.storage.results import Results
    from hepbench.tables.columns import Metrics
    from hepbench.tables.rows import Row
    from hepbench.tables.stars import Compare


MOST_ROWS = 20_000
"""Rows that a page holds; of more, the best ones of each dataset."""

MOST_CURVES = 300
"""Rows whose curves a page holds, the best ones of each dataset."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a report is made of.

    Attributes:
        results: hold the predictions of the records.
        records: those that are shown.
        looked: records that count as uses of the test sets.
        metrics: direction and comparability of metrics.
        summaries: of metrics, one line each.
        compare: compares rows on their predictions.
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


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """The rows of one dataset, ranked; the verdict on them, and why none is starred."""

    rows: list[Row]
    verdict: list[str]
    unmarked: str


@dataclass
class Pool:
    """Sections of details that many rows share, each once."""

    sections: list[Section] = field(default_factory=list)
    _places: dict[Any, int] = field(default_factory=dict)

    def add(self, section: Section) -> int:
        """Return the index of a section, added if it is new."""
        key = (section.title, tuple(section.items))
        if key not in self._places:
            self._places[key] = len(self.sections)
            self.sections.append(section)
        return self._places[key]


def page(request: Request) -> Page:
    """Return the content of a report."""
    names = shown_columns.names(request.records, request.metrics)
    columns = Columns(group="dataset", labels=(), names=names, metrics=request.metrics)
    found = _ranked(collect(request.records, columns=names), columns, request.compare)
    kept = [_share(len(each.rows), found, MOST_ROWS) for each in found]
    with_curves = [_share(len(each.rows), found, MOST_CURVES) for each in found]
    pool = Pool()
    tables = [
        _table(each, columns, request, pool, most=most, with_curves=drawn)
        for each, most, drawn in zip(found, kept, with_curves, strict=True)
    ]
    return Page(
        title=", ".join(sorted({record.suite for record in request.records})),
        made=request.made,
        version=request.version,
        results=str(request.results),
        counts=_counts(request.records, found),
        verification=request.verification,
        warnings=[*map(one_line, request.results.skipped), *_limits(tables, with_curves)],
        main=0,
        groups=groups.MEANING,
        columns=shown_columns.described(columns, request.summaries),
        tables=tables,
        dependences=dependences(
            [each.rows[:most] for each, most in zip(found, kept, strict=True)]
        ),
        efficiencies=[float(f"{value:.4g}") for value in curves.EFFICIENCIES],
        sections=pool.sections,
        environment=_environments(request.records),
        suites=request.suites,
    )


def _ranked(rows: Iterable[Row], columns: Columns, compare: Compare) -> list[Ranked]:
    by_dataset: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_dataset[row.labels.dataset].append(row)
    found = []
    for _, some in sorted(by_dataset.items()):
        marked, reason = stars.mark(rank(some, columns), columns, compare)
        found.append(Ranked(rows=marked, verdict=[], unmarked=reason))
    return found


def _share(rows: int, found: Sequence[Ranked], most: int) -> int:
    """Return how many rows of a dataset there is room for, if that is divided in proportion."""
    total = sum(len(each.rows) for each in found)
    return rows if total <= most else max(1, most * rows // total)


def _limits(tables: Sequence[PageTable], with_curves: Sequence[int]) -> list[str]:
    said = []
    if left_out := sum(table.left_out for table in tables):
        said.append(
            f"{several(left_out, 'row')} left out: a page holds {MOST_ROWS:,}, the best of each "
            "dataset; choose others with -d, -m, -x or --run"
        )
    without = sum(len(t.rows) - min(n, len(t.rows)) for t, n in zip(tables, with_curves, strict=True))
    if without:
        said.append(
            f"ROC, training curves and score distributions of {MOST_CURVES} rows only, the best of "
            "each dataset; choose others with -d, -m, -x or --run"
        )
    return said


def _counts(records: Sequence[Record], found: Sequence[Ranked]) -> str:
    rows = sum(len(each.rows) for each in found)
    failed = sum(record.status != "ok" for record in records)
    text = f"{several(len(records), 'record')}, {several(rows, 'row')}"
    text = f"{text}, {several(len(found), 'dataset')}"
    return f"{text}, {several(failed, 'failure')}" if failed else text


def _table(
    ranked: Ranked,
    columns: Columns,
    request: Request,
    pool: Pool,
    *,
    most: int,
    with_curves: int,
) -> PageTable:
    rows = ranked.rows
    first = rows[0]
    texts = shown_columns.texts(rows[:most], columns)
    letters = groups.letters(rows, columns, request.compare)
    made = [
        _row(row, texts[i], letters[i], columns, request, pool, drawn=i < with_curves)
        for i, row in enumerate(rows[:most])
    ]
    return PageTable(
        name=one_line(first.labels.dataset),
        subtitle=_subtitle(rows),
        verdict=ranked.verdict,
        remarks=_remarks(ranked, request),
        classes=[one_line(str(name)) for name in first.aspects["labels"]],
        rows=made,
        left_out=len(rows) - len(made),
    )


def _row(
    row: Row,
    texts: list[str],
    letter: str,
    columns: Columns,
    request: Request,
    pool: Pool,
    *,
    drawn: bool,
) -> PageRow:
    values = (row.averages[name].value for name in columns.names)
    main = row.averages[columns.main]
    machine = " and ".join(error_vs_cost.machines(row, "latency"))
    return PageRow(
        id=row.record.key[:12],
        model=one_line(row.labels.model),
        chain=one_line(row.labels.chain),
        more=_more(row, request.records),
        values=[None if value is None else float(f"{value:.7g}") for value in values],
        texts=texts,
        stderr=main.stderr,
        spread=main.spread,
        group=letter,
        best=row.best,
        apart=not row.comparable,
        notes=row.notes,
        sections=[pool.add(each) for each in details.sections(row) if each.items],
        seeds=details.seeds(row, columns.main),
        commands=commands.of_row(row, str(request.results)),
        machine=one_line(machine),
        curves=_curves(request.results, row) if drawn else None,
    )


def _more(row: Row, records: Sequence[Record]) -> str:
    return ""


def _curves(results: Results, row: Row) -> Curves | None:
    try:
        return curves.of_row(results, row) if row.ok else None
    except HepbenchError:
        # the label of a record that something else wrote
        return None


def _subtitle(rows: Sequence[Row]) -> str:
    data = next((row.data for row in rows if row.data), None)
    sources = " and ".join(sorted({ORIGINS[row.labels.source] for row in rows} - {""}))
    if data is None:
        return sources
    sizes = f"{data.n_train:,} training, {data.n_validation:,} validation, {data.n_test:,} test"
    more = f"; {data.n_unlabelled:,} more without labels" if data.n_unlabelled else ""
    return f"{sources}: {sizes} examples{more}"


def _remarks(ranked: Ranked, request: Request) -> list[str]:
    looks = Counter(r.data.test_set for r in request.looked if r.data and r.status == "ok")
    seen = {row.data.test_set: row.data.n_test for row in ranked.rows if row.ok and row.data}
    lines = [
        f"test set {name[:8]} ({size:,} examples): looked at {several(looks[name], 'time')}"
        for name, size in sorted(seen.items())
    ]
    return [*lines, *filter(None, [ranked.unmarked])]


def _environments(records: Iterable[Record]) -> list[Section]:
    """Return the environments of all records, each once, with the number of its records."""
    found: dict[Any, list[Record]] = defaultdict(list)
    for record in records:
        items = tuple(i for i in details.environment(record).items if i[0] != "run")
        found[items].append(record)
    return [Section(several(len(some), "record"), list(items)) for items, some in found.items()]
