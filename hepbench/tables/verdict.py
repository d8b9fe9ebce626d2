"""The verdict on a dataset in words: which row is best, and whether that is significant. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hepbench.specs.text import several
from hepbench.tables import findings, rounding, row_names
from hepbench.tables.columns import title
from hepbench.tables.notes import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hepbench.tables.columns import Columns
    from hepbench.tables.rows import Row, Standing
    from hepbench.tables.stars import Difference


WORDS: dict[Standing, str] = {
    "best": "not significantly worse",
    "tied": "not significantly worse",
    "worse": "significantly worse",
    "unclear": "unclear with so few seeds",
    "": "not tested",
}
"""How rows stand to the first one, in words."""


class Named(NamedTuple):
    """A row that is compared with others: its name, its value as text, how it stands, its inputs."""

    name: str
    value: str
    standing: Standing
    is_network: bool
    inputs: list[str]


def verdict(
    rows: Sequence[Row],
    columns: Columns,
    *,
    unmarked: str = "",
    behind: Difference | None = None,
) -> str:
    """Return the verdict on the table rows of one dataset, in one line without the dataset's name.

    Args:
        rows: ranked and marked; see ``ranking.rank`` and ``stars.mark``.
        columns: their main column is what rows are compared by.
        unmarked: why no row is marked as best, from ``stars.mark``.
        behind: of the best network and the first row, if that is no network and both were tested.
    """
    compared = _compared(rows, columns)
    if not compared:
        return _no_result(rows, columns)
    if columns.direction(columns.main) is None:
        said = [f"Rows are not ranked: {title(columns.main)} is neither better high nor low"]
    else:
        said = [
            *_ranking(compared, title(columns.main), unmarked),
            *_best_network(compared, behind),
        ]
    return " ".join(f"{sentence}." for sentence in [*said, *_left_out(rows)])


def _compared(rows: Sequence[Row], columns: Columns) -> list[Named]:
    names = row_names.in_words([row.labels for row in rows])
    averages = [row.averages[columns.main] for row in rows] if columns.main else []
    places = rounding.column_places(averages)
    return [
        Named(
            name,
            rounding.compact(average, rounding.row_places(average, places)),
            row.standing,
            row.is_network,
            row.inputs,
        )
        for row, name, average in zip(rows, names, averages, strict=bool(averages))
        if row.comparable
    ]


def _ranking(rows: Sequence[Named], metric: str, unmarked: str) -> Iterator[str]:
    """Yield which row is first, and how the others stand to it."""
    first = next((row for row in rows if row.standing == "best"), rows[0])
    others = [row for row in rows if row is not first]
    value = f"{metric} {first.value}"
    if not others:
        yield f"{first.name} has {value}; no other row can be compared with it"
    elif first.standing == "tied":
        yield f"No significant winner: {first.name} is first, {value}"
        yield from _by_standing(others)
    elif not first.standing:
        yield f"{first.name} is first, {value}; differences are not tested: {unmarked or 'unknown'}"
    else:
        alone = not any(row.standing in {"best", "tied", ""} for row in others)
        yield f"{first.name} is {'best' if alone else 'first'}, {value}"
        yield from _by_standing(others)


def _by_standing(rows: Sequence[Named]) -> Iterator[str]:
    """Yield how rows behind the first one stand to it, by name where they are few."""
    for words in dict.fromkeys(WORDS.values()):
        if names := [row.name for row in rows if WORDS[row.standing] == words]:
            some = several(len(names), "row") if words == WORDS["worse"] else _some(names)
            yield f"{words.capitalize()}: {some}"


MOST_NAMED, LONGEST_NAMES = 4, 100
"""Rows that a sentence names, and the characters of their names; of more, it gives the number."""


def _some(names: Sequence[str]) -> str:
    text = ", ".join(names)
    named = len(names) <= MOST_NAMED and len(text) <= LONGEST_NAMES
    return text if named else several(len(names), "row")


def _best_network(rows: Sequence[Named], behind: Difference | None) -> Iterator[str]:
    """Yield a sentence on the best network where another kind of model is first."""
    first = next((row for row in rows if row.standing == "best"), rows[0])
    network = next((row for row in rows if row.is_network), None)
    if network is None or first.is_network:
        return
    by = f" ({findings.size(behind)})" if behind else ""
    yield f"Best network: {network.name}, {network.value}, {WORDS[network.standing]}{by}"
    if network.inputs != first.inputs:
        seen = (f"{each.name} sees {listed(each.inputs)}" for each in (network, first))
        yield f"Their inputs differ: {', '.join(seen)}"


def _left_out(rows: Iterable[Row]) -> Iterator[str]:
    """Yield how many rows were not compared, and how many have no value."""
    apart = [row for row in rows if not row.comparable]
    failed = sum(not row.ok for row in apart)
    if failed:
        yield f"Failed: {several(failed, 'row')}"
    if others := len(apart) - failed:
        yield f"Not comparable: {several(others, 'row')}"


def _no_result(rows: Sequence[Row], columns: Columns) -> str:
    if not any(row.ok for row in rows):
        return f"No result: {several(len(rows), 'row')} failed."
    return f"No row has a value of {title(columns.main) or 'a metric of test examples'}."
