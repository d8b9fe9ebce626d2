"""Make the table of one group: title, columns of texts, numbered notes, remarks."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from hepbench.specs.text import one_line, several
from hepbench.tables import row_names
from hepbench.tables.cells import label_columns, value_columns
from hepbench.tables.notes import SOURCES
from hepbench.tables.printed import Column, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hepbench.tables.columns import Columns
    from hepbench.tables.rows import Row


LONGEST_NOTE = 300


LOOKED_AT = "looked at"


def section(rows: Sequence[Row], columns: Columns, looks: Mapping[str, int], *, of: int) -> Table:
    """Return the table of one group as texts.

    Args:
        rows: in the order in which they are shown.
        columns: those that are shown.
        looks: how often each test set was looked at.
        of: number of rows of the group, those that are not shown too.
    """
    whole = columns.group == "dataset"
    name = one_line(str(rows[0].group)) or "not recorded"
    # parameters of the dataset stay in the title
    short = row_names.shorten(
        [row.labels for row in rows], set(row_names.SHORTENED) & {*columns.labels}
    )
    common = _common_notes(rows)
    notes, marks = _numbered(rows, common)
    shown = [*label_columns(short.labels, columns.labels), *value_columns(rows, columns)]
    return Table(
        title=name if whole else f"{columns.group} {name}",
        subtitle=_subtitle(rows, columns) if whole else "",
        shared=short.shared,
        columns=[*shown, *([marks] if notes else [])],
        main=columns.main,
        best=[row.best for row in rows],
        notes=notes,
        remarks=list(_remarks(rows, common, looks, of)),
        slug=_slug(f"{rows[0].labels.suite}-{rows[0].group}"),
        names=_names(rows, with_dataset="dataset" in columns.labels),
    )


def _names(rows: Sequence[Row], *, with_dataset: bool) -> list[str]:
    names = row_names.in_words([row.labels for row in rows])
    if not with_dataset:
        return names
    return [one_line(f"{row.labels.dataset} {n}") for row, n in zip(rows, names, strict=True)]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "table"


def _common_notes(rows: Sequence[Row]) -> list[str]:
    """Return the notes that all rows with a result have, where there are several."""
    ok = [row for row in rows if row.ok]
    counts = Counter(note for row in ok for note in dict.fromkeys(row.notes))
    return [note for note, n in counts.items() if n == len(ok) > 1]


def _numbered(rows: Sequence[Row], common: Sequence[str]) -> tuple[list[str], Column]:
    """Return the notes of rows, and the column with their numbers."""
    numbers: dict[str, int] = {}
    cells = []
    for row in rows:
        own = [_shortened(note) for note in row.notes if note not in common]
        marks = {numbers.setdefault(note, len(numbers) + 1) for note in own}
        cells.append(", ".join(map(str, sorted(marks))))
    return list(numbers), Column(name="notes", title="notes", cells=cells, left=True)


def _shortened(note: str) -> str:
    return note if len(note) <= LONGEST_NOTE else f"{note[: LONGEST_NOTE - 3]}..."


def _subtitle(rows: Sequence[Row], columns: Columns) -> str:
    """Return the kind of data, numbers of examples, and of seeds if all rows have as many."""
    row = rows[0]
    source = SOURCES[row.labels.source]
    if (data := row.data) is None:
        return source
    sizes = f"{data.n_train} training, {data.n_validation} validation, {data.n_test} test examples"
    more = f"; {data.n_unlabelled} more without labels" if data.n_unlabelled else ""
    many = "" if "seeds" in columns.names else f"; {_seeds_text(rows)}"
    return f"{source}: {sizes}{more}{many}"


def _seeds_text(rows: Sequence[Row]) -> str:
    """Return the number of seeds of rows, as a range if they differ."""
    counts = sorted({len(row.cells) for row in rows})
    least = "" if len(counts) == 1 else f"{counts[0]} to "
    return f"{least}{several(counts[-1], 'seed')}"


def _remarks(
    rows: Sequence[Row], common: Sequence[str], looks: Mapping[str, int], of: int
) -> Iterator[str]:
    yield from (f"all rows: {_shortened(note)}" for note in common)
    if of > len(rows):
        yield f"{len(rows)} of {several(of, 'row')} are shown; they are compared with all of them"
    seen = {row.data.test_set: row.data.n_test for row in rows if row.ok and row.data}
    for split, size in sorted(seen.items()):
        times = "once" if looks[split] == 1 else f"{looks[split]} times"
        yield f"test set {split[:8]} ({size} examples): {LOOKED_AT} {times}"
