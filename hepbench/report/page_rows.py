"""Make the rows of a report's tables; what many rows share is kept once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec import structs

from hepbench.plots.results import pareto
from hepbench.report import commands, curves, details, shown_columns
from hepbench.report.content import PageRow
from hepbench.specs.errors import HepbenchError
from hepbench.specs.text import one_line
from hepbench.storage.costs import LATENCIES
from hepbench.storage.records import ORIGINS
from hepbench.tables import latencies, row_names
from hepbench.tables.columns import title
from hepbench.tables.notes import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepbench.report.content import Curves, Section
    from hepbench.storage.results import Results
    from hepbench.tables.columns import Columns, Labels
    from hepbench.tables.rows import Row


@dataclass(frozen=True)
class PageRows:
    """Makes page rows, and collects the sections that they share.

    Attributes:
        results: hold the predictions of the rows.
        columns: of the page.
        sections: those that rows refer to.
    """

    results: Results
    columns: Columns
    sections: list[Section] = field(default_factory=list)
    _places: dict[Any, int] = field(default_factory=dict)

    @property
    def efficiencies(self) -> list[float]:
        """The signal efficiencies of all ROC curves."""
        return [float(f"{value:.4g}") for value in curves.EFFICIENCIES]

    def rows(self, rows: Sequence[Row], letters: Sequence[str], *, drawn: int) -> list[PageRow]:
        """Return the page rows of one dataset; the first ``drawn`` of them have curves."""
        texts = shown_columns.texts(rows, self.columns)
        names = row_names.in_words([row.labels for row in rows])
        more = _more([row.labels for row in rows])
        made = (
            self._row(row, name, text, self._curves(row) if i < drawn else None)
            for i, (row, name, text) in enumerate(zip(rows, names, texts, strict=True))
        )
        return [
            structs.replace(row, more=text, group=letter)
            for row, text, letter in zip(made, more, letters, strict=True)
        ]

    def _row(self, row: Row, name: str, texts: list[str], drawn: Curves | None) -> PageRow:
        main = row.averages[self.columns.main]
        return PageRow(
            id=row.record.key[:12],
            name=name,
            model=one_line(row.labels.model),
            chain=one_line(row.labels.chain),
            values=shown_columns.values(row, self.columns),
            texts=texts,
            stderr=main.stderr,
            spread=main.spread,
            best=row.best,
            apart=not row.comparable,
            notes=[*row.notes, *_doubts(row, self.columns.names)],
            sections=[self._place(each) for each in details.sections(row) if each.items],
            seeds=details.seeds(row, self.columns.main),
            commands=commands.of_row(row, str(self.results)),
            machine=one_line(" and ".join(pareto.machines(row, "latency"))),
            curves=drawn,
        )

    def _curves(self, row: Row) -> Curves | None:
        try:
            return curves.of_row(self.results, row) if row.ok else None
        except HepbenchError:
            # a record that something else wrote may have a label that is no chain
            return None

    def _place(self, section: Section) -> int:
        """Return the index of a section, which is added if it is new."""
        key = (section.title, tuple(section.items))
        if key not in self._places:
            self._places[key] = len(self.sections)
            self.sections.append(section)
        return self._places[key]


def _doubts(row: Row, names: Sequence[str]) -> list[str]:
    """Return a note for each reason to doubt latencies of a row, with the latencies it concerns."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for name in names:
        for doubt in latencies.doubts(row, name) if name in LATENCIES else ():
            reasons[doubt].append(title(name))
    return [f"{listed(titles)}: {doubt}" for doubt, titles in reasons.items()]


def _more(labels: Sequence[Labels]) -> list[str]:
    """Return for each row of a dataset its suite, preset and source, as far as rows differ in them."""
    texts = {
        "suite": [f"suite {each.suite}" for each in labels],
        "preset": [f"preset {each.preset}" for each in labels],
        "source": [ORIGINS[each.source] or "source not recorded" for each in labels],
    }
    differing = [some for some in texts.values() if len(set(some)) > 1]
    return [one_line(", ".join(each)) for each in zip(*differing, strict=True)] or [""] * len(
        labels
    )
