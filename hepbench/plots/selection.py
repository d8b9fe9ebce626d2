"""What figures show: rows chosen by globs, in panels that hold only what may be compared. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hepbench.planning.matrix import fits
from hepbench.plots.style import spelt
from hepbench.specs.errors import UsageError
from hepbench.specs.text import unknown
from hepbench.storage.records import ORIGINS
from hepbench.tables.columns import Columns
from hepbench.tables.document import GROUPS
from hepbench.tables.notes import difference, listed
from hepbench.tables.ranking import rank, standard
from hepbench.tables.rows import age, collect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hepbench.plots.drawing import Request
    from hepbench.storage.records import Record
    from hepbench.tables.rows import Row


DAGGER = "\N{DAGGER}"


MOST_REASONS = 4


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Rows of one dataset that are drawn together, the best first.

    Attributes:
        title, source, facts: the dataset (and the group's value), where it is from, how many
            examples and seeds.
        rows: with a value; those that may not be compared with the others stand last.
        names: what tells each row from the others; with a dagger where it may not be compared.
        shared: what the rows have in common and the names do not say.
        notes: what must be said below.
    """

    title: str
    source: str
    facts: str
    rows: list[Row]
    names: list[str]
    shared: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def caption(self) -> str:
        """Dataset, source, what all rows share, examples and seeds, in one line."""
        parts = (self.source, self.shared, self.facts)
        return f"{self.title}: {', '.join(filter(None, parts))}"


def panels(
    request: Request, *names: str, needs: Callable[[Row], str] = lambda _: "", most: int
) -> list[Panel]:
    """Return what to draw, a panel for each value of the group and each dataset.

    Args:
        request: the records, and which of them were chosen.
        names: columns whose figures are needed; rows are ranked by the first.
        needs: says of a row why it cannot be drawn, or nothing.
        most: rows that fit legibly into one panel.

    Raises:
        UsageError: a name or glob matches nothing, or there is nothing to draw, or too much.
    """
    if request.group not in GROUPS:
        raise UsageError(unknown("group", request.group, GROUPS))
    group = request.group.removeprefix("data.")
    columns = Columns(group=group, labels=(), names=names, metrics=request.metrics)
    peers: dict[Any, list[Row]] = defaultdict(list)
    whys: dict[str, list[str]] = defaultdict(list)
    for row in collect(chosen(request), group=group, columns=names):
        if why := needs(row) if row.ok else "every seed failed":
            whys[why].append(f"{row.labels.dataset}/{row.labels.model}/{row.labels.chain}")
        else:
            peers[row.group, row.labels.dataset].append(row)
    if not peers:
        msg = f"nothing to draw: {_reasons(whys)}"
        raise UsageError(msg)
    found = [_panel(rows, columns, value) for (value, _), rows in sorted(peers.items(), key=repr)]
    for panel in found:
        if len(panel.rows) > most:
            msg = (
                f"{panel.title}: {len(panel.rows)} rows to draw, {most} fit legibly; "
                "choose some of them with -d, -m or -x"
            )
            raise UsageError(msg)
    if whys:
        found[-1].notes.append(f"not drawn: {_reasons(whys)}")
    return found


def _reasons(whys: Mapping[str, Sequence[str]]) -> str:
    """Return why some rows are not drawn, each reason once."""
    texts = []
    for why, rows in whys.items():
        others = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        texts.append(f"{rows[0]}{others}: {why}")
    return "; ".join(texts[:MOST_REASONS]) + ("; ..." if len(texts) > MOST_REASONS else "")


def chosen(request: Request) -> list[Record]:
    """Return the records that the globs mean.

    Raises:
        UsageError: a glob matches nothing, or no record matches all.
    """
    globs = {"dataset": request.datasets, "model": request.models, "chain": request.methods}
    for kind, patterns in globs.items():
        labels = sorted({getattr(record, kind) for record in request.records})
        for pattern in patterns:
            if not any(fits(label, pattern) for label in labels):
                msg = f"'{pattern}' matches no {kind} in {request.results}. It has: "
                raise UsageError(msg + ", ".join(labels))
    found = [
        record
        for record in request.records
        if all(
            not patterns or any(fits(getattr(record, kind), pattern) for pattern in patterns)
            for kind, patterns in globs.items()
        )
    ]
    if not found:
        msg = f"nothing to draw: the names chosen never meet in {request.results}"
        raise UsageError(msg)
    return found


def _panel(rows: Sequence[Row], columns: Columns, value: Any) -> Panel:
    newest = {row.labels: row for row in sorted(rows, key=lambda row: max(map(age, row.cells)))}
    notes = []
    if older := len(rows) - len(newest):
        notes.append(f"not drawn: {older} rows of the same name whose code or data changed since")
    ranked = rank(list(newest.values()), columns)
    names, shared = _names(ranked)
    for i, why in _apart(ranked, columns).items():
        names[i] += DAGGER
        notes.append(f"{names[i]} may not be compared with the others: {why}")
    first = ranked[0]
    title = spelt(first.labels.dataset)
    if columns.group not in {"dataset", "source"}:
        title = f"{title}, {columns.group} {'not recorded' if value == '' else value}"
    return Panel(
        title=title,
        source=" and ".join(sorted({ORIGINS[row.labels.source] for row in ranked} - {""})),
        facts=_facts(ranked),
        rows=ranked,
        names=names,
        shared=shared,
        notes=notes,
    )


def _apart(rows: Sequence[Row], columns: Columns) -> dict[int, str]:
    """Return the places of rows that may not be compared with most, and why."""
    same = columns.same(columns.main)
    usual = standard(rows, same)
    found = {}
    for i, row in enumerate(rows):
        what = [name for name in row.differing(usual) if name in same]
        if usual and what:
            verb = "differs" if len(what) == 1 else "differ"
            found[i] = f"{listed(difference(row, usual, name) for name in what)} {verb}"
    return found


def _names(rows: Sequence[Row]) -> tuple[list[str], str]:
    """Return what tells rows apart, the model always; and what they share."""
    parts = {
        "suite": [f"suite {row.labels.suite}" for row in rows],
        "model": [spelt(row.labels.model) for row in rows],
        "chain": [spelt(row.labels.chain) for row in rows],
        "preset": [f"preset {row.labels.preset}" for row in rows],
        "source": [ORIGINS[row.labels.source] for row in rows],
    }
    told = [name for name, each in parts.items() if name == "model" or len(set(each)) > 1]
    names = [", ".join(parts[name][i] for name in told) for i in range(len(rows))]
    shared = "" if "chain" in told else parts["chain"][0]
    return names, shared


def _facts(rows: Iterable[Row]) -> str:
    rows = list(rows)
    tests = sorted({row.data.n_test for row in rows if row.data})
    seeds = sorted({len(row.ok) for row in rows})
    many = "1 seed" if seeds == [1] else f"{_span(seeds)} seeds"
    return f"{_span(tests)} test examples, {many}"


def _span(numbers: Sequence[int]) -> str:
    low, high = f"{numbers[0]:,}", f"{numbers[-1]:,}"
    return low if low == high else f"{low} to {high}"
