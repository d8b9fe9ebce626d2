"""Choose the table rows that a figure of results shows, and divide them into panels.

Rows of a panel that must not be compared with the others are marked with a dagger.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from hepbench.planning import selection
from hepbench.specs.errors import UsageError
from hepbench.specs.text import one_line, unknown
from hepbench.storage.records import ORIGINS
from hepbench.tables import row_names
from hepbench.tables.columns import Columns
from hepbench.tables.notes import difference, listed
from hepbench.tables.ranking import rank, standard
from hepbench.tables.request import GROUPS
from hepbench.tables.rows import collect, newest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hepbench.plots.request import Request
    from hepbench.storage.records import Record
    from hepbench.tables.rows import Row


DAGGER = "\N{DAGGER}"


MAX_REASONS = 4


SHORT = 30
"""Largest number of letters of what all rows share for it to stand below a figure's title."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel of a figure of results: table rows of one dataset, best first.

    Attributes:
        title: the dataset, and the group's value if the figure is grouped by something else.
        dataset: the dataset's name with its parameters.
        source: original dataset or bundled sample.
        sizes: numbers of test examples and of seeds.
        rows: rows with a value; those that must not be compared with the others come last.
        names: one for each row; those that must not be compared end in a dagger.
        shared: what all rows have in common; the names omit it.
        notes: sentences for the caption.
    """

    title: str
    dataset: str
    source: str
    sizes: str
    rows: list[Row]
    names: list[str]
    shared: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def caption(self) -> str:
        """One line about the panel: source, examples, seeds, what its rows share."""
        shared = f"all rows: {self.shared}" if self.shared else ""
        return "; ".join(filter(None, (self.about, shared)))

    @property
    def about(self) -> str:
        """Source, numbers of examples and of seeds."""
        return ", ".join(filter(None, (self.source, self.sizes)))

    @property
    def header(self) -> str:
        """What stands below the title: what all rows share, source and numbers."""
        # long chains with parameters are only in the caption
        shared = self.shared if len(self.shared) <= SHORT else ""
        return "; ".join(filter(None, (shared, self.about)))


def panels(
    request: Request, *names: str, why_not: Callable[[Row], str] = lambda _: ""
) -> list[Panel]:
    """Return the panels of a figure of results, one for each dataset and each group.

    Args:
        request: the records and the globs.
        names: columns that the figure needs; rows are ranked by the first.
        why_not: returns why a row cannot be drawn, or "".

    Raises:
        UsageError: a name or glob matches nothing, or there is nothing to draw.
    """
    check_group(request)
    group = request.group.removeprefix("data.")
    columns = Columns(group=group, labels=(), names=names, metrics=request.metrics)
    rows, reasons = _drawable_rows(collect(chosen(request), group=group, columns=names), why_not)
    if not rows:
        msg = f"nothing to draw: {_listed_reasons(reasons)}"
        raise UsageError(msg)
    found = [_panel(each, columns, value) for (value, _), each in sorted(rows.items(), key=repr)]
    if reasons:
        found[-1].notes.append(f"not drawn: {_listed_reasons(reasons)}")
    return found


def check_group(request: Request) -> None:
    """Raise UsageError if the group of a request is unknown."""
    if request.group not in GROUPS:
        raise UsageError(unknown("group", request.group, GROUPS))


def _drawable_rows(
    rows: Iterable[Row], why_not: Callable[[Row], str]
) -> tuple[dict[Any, list[Row]], dict[str, list[str]]]:
    """Return the drawable rows by group and dataset, and the names of other rows by reason."""
    drawable: dict[Any, list[Row]] = defaultdict(list)
    reasons: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if why := why_not(row) if row.ok else "every seed failed":
            reasons[why].append(f"{row.labels.dataset}/{row.labels.model}/{row.labels.chain}")
        else:
            drawable[row.group, row.labels.dataset].append(row)
    return drawable, reasons


def row_named(panel: Panel, name: str) -> int:
    """Return the index of the row that a name or glob of a model, chain or row means.

    Raises:
        UsageError: it means no row of the panel.
    """
    for i, row in enumerate(panel.rows):
        texts = (panel.names[i].rstrip(DAGGER), row.labels.model, row.labels.chain)
        if name in texts or any(fnmatchcase(text, name) for text in texts):
            return i
    msg = unknown(f"row of {panel.title}", name, [each.rstrip(DAGGER) for each in panel.names])
    raise UsageError(msg)


def _listed_reasons(reasons: Mapping[str, Sequence[str]]) -> str:
    """Return a text on why rows are not drawn, with each reason once."""
    texts = []
    for why, rows in reasons.items():
        others = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        texts.append(f"{rows[0]}{others}: {why}")
    return "; ".join(texts[:MAX_REASONS]) + ("; ..." if len(texts) > MAX_REASONS else "")


def chosen(request: Request) -> list[Record]:
    """Return the records that match the globs of a request.

    Raises:
        UsageError: a glob matches nothing, or no record matches all of them.
    """
    globs = (request.datasets, request.models, request.methods)
    return selection.chosen(request.records, *globs, where=request.results)


def _panel(rows: Sequence[Row], columns: Columns, value: Any) -> Panel:
    kept = list(newest(rows).values())
    notes = []
    if older := len(rows) - len(kept):
        notes.append(f"not drawn: {older} older rows of the same name, from other code or data")
    ranked = rank(kept, columns)
    legend, shared = names(ranked)
    for i, why in incomparable(ranked, columns).items():
        legend[i] += DAGGER
        notes.append(f"{legend[i]} must not be compared with the others: {why}")
    return Panel(
        title=_title(ranked[0], columns.group, value),
        dataset=ranked[0].labels.dataset,
        source=source_of(ranked),
        sizes=sizes(ranked),
        rows=ranked,
        names=legend,
        shared=shared,
        notes=notes,
    )


def _title(row: Row, group: str, value: Any) -> str:
    title = one_line(row.labels.dataset)
    if group in {"dataset", "source"}:
        return title
    return f"{title}, {group} {'not recorded' if value == '' else value}"


def incomparable(rows: Sequence[Row], columns: Columns) -> dict[int, str]:
    """Return, by index, why some rows cannot be compared with most rows of their panel."""
    same = columns.same(columns.main)
    usual = standard(rows, same)
    found = {}
    for i, row in enumerate(rows):
        what = [name for name in row.differing(usual) if name in same]
        if usual and what:
            verb = "differs" if len(what) == 1 else "differ"
            found[i] = f"{listed(difference(row, usual, name) for name in what)} {verb}"
    return found


def names(rows: Sequence[Row]) -> tuple[list[str], str]:
    """Return the name of each row, as in tables, and what the rows share.

    If all rows have one model, their names are their chains.
    """
    labels = [row.labels for row in rows]
    models, chains = {each.model for each in labels}, {each.chain for each in labels}
    found = row_names.in_words(labels)
    if len(chains) == 1:
        return found, one_line(chains.pop())
    shared = row_names.shorten(labels, ("model", "chain")).shared
    if len(models) == 1:
        model = one_line(models.pop())
        shared = [model, *(each for each in shared if each != model)]
        found = [name.partition(" ")[2] or name for name in found]
    return found, ", ".join(shared)


def source_of(rows: Iterable[Row]) -> str:
    """Return the kinds of data of rows in words."""
    return " and ".join(sorted({ORIGINS[row.labels.source] for row in rows} - {""}))


def sizes(rows: Iterable[Row]) -> str:
    """Return the numbers of test examples and of seeds of rows, as ranges if they differ."""
    rows = list(rows)
    tests = sorted({row.data.n_test for row in rows if row.data})
    seeds = sorted({len(row.ok) for row in rows})
    many = "1 seed" if seeds == [1] else f"{_span(seeds)} seeds"
    return f"{_span(tests)} test examples, {many}"


def _span(numbers: Sequence[int]) -> str:
    low, high = f"{numbers[0]:,}", f"{numbers[-1]:,}"
    return low if low == high else f"{low} to {high}"
