"""Mark the best rows of a table, or say why none is marked."""

from __future__ import annotations

from dataclasses import replace
from math import hypot
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from hepbench.specs.errors import ResultsError
from hepbench.specs.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hepbench.storage.records import Record
    from hepbench.tables.columns import Columns
    from hepbench.tables.rows import Row, Standing


MEANING = (
    "not significantly worse than the best row, in paired tests on the same test examples and over "
    "seeds; with 95 % probability the row that is truly best is marked"
)


OR_NOTED = ", or has a note on its seeds"


ONE_SEED = "one seed does not show how much a row changes from training to training"

TOO_FEW = "fewer than two rows can be compared"

ALL_TIE = "none is significantly worse than the first"

NOT_ONE_SEED = "one seed: not compared with the best row"

FEW_SEEDS = (
    "its seeds differ by too much to tell whether it is worse than the best row: run more seeds"
)

NOT_SAME_EXAMPLES = "other test examples: not compared with the best row"


class Difference(Protocol):
    """The difference of two rows: first minus second, its standard error, whether it is significant."""

    @property
    def value(self) -> float:
        """Difference of the means over seeds."""

    @property
    def stderr(self) -> float:
        """Standard error of the difference."""

    @property
    def significant(self) -> bool:
        """Whether it is more than chance, corrected for the number of pairs that are tested."""


class Compared(Protocol):
    """The outcome of a comparison: places of the best rows, of rows on other examples; pairs."""

    @property
    def best(self) -> Sequence[int]:
        """Rows that are not significantly worse than the best one."""

    @property
    def elsewhere(self) -> Sequence[int]:
        """Rows that were left out because their test examples are others."""

    @property
    def differences(self) -> Sequence[Difference | None]:
        """The difference of each pair that was asked for, if it was tested."""


class Compare(Protocol):
    """Compares rows of records by a metric, on their predictions; pairs of them are tested too."""

    def __call__(
        self, rows: Sequence[Sequence[Record]], metric: str, pairs: Sequence[tuple[int, int]] = ()
    ) -> Compared:
        """Compare rows; see ``evaluation.row_comparison``.

        Raises:
            ResultsError: the predictions cannot be read.
        """


def meaning(rows: Iterable[Row]) -> str:
    """Return what the mark of the best rows means; empty if no row is marked."""
    standings = {row.standing for row in rows}
    if "best" not in standings:
        return ""
    return MEANING + OR_NOTED if "unclear" in standings else MEANING


class Marked(NamedTuple):
    """Table rows with their standings.

    Attributes:
        rows: ranked.
        unmarked: why none is marked; empty if one is, or if there is nothing to compare.
        differences: of the pairs of rows that were tested, by their places.
    """

    rows: list[Row]
    unmarked: str = ""
    differences: Mapping[tuple[int, int], Difference] = MappingProxyType({})


def mark(
    rows: Sequence[Row],
    columns: Columns,
    compare: Compare,
    pairs: Sequence[tuple[int, int]] = (),
) -> Marked:
    """Mark the best of the ranked table rows of one dataset, and test pairs of them."""
    main = columns.main
    places = [i for i, row in enumerate(rows) if row.comparable]
    if columns.direction(main) is None or len(places) < 2:
        return Marked(list(rows))
    single = [i for i in places if rows[i].averages[main].n < 2]
    judged = [i for i in places if i not in single and _can_be_judged(rows[i], main)]
    if len(judged) < 2:
        return Marked(list(rows), ONE_SEED if len(single) == len(places) else TOO_FEW)
    place = {i: n for n, i in enumerate(judged)}
    tested = [pair for pair in pairs if place.keys() >= {*pair}]
    asked = [(place[first], place[second]) for first, second in tested]
    try:
        found = compare([rows[i].with_value(main) for i in judged], main, asked)
    except ResultsError as error:
        return Marked(list(rows), one_line(str(error)))
    standings = _standings(rows, judged, found, main)
    best = [i for i, standing in standings.items() if standing == "best"]
    notes = dict.fromkeys(single, NOT_ONE_SEED)
    notes |= {judged[i]: NOT_SAME_EXAMPLES for i in found.elsewhere}
    notes |= {i: FEW_SEEDS for i, standing in standings.items() if standing == "unclear"}
    unmarked = ""
    # none is best where fewer than two rows have the same examples
    if not found.best:
        unmarked, standings = TOO_FEW, {}
    elif "worse" not in standings.values():
        unmarked, standings = ALL_TIE, standings | dict.fromkeys(best, "tied")
    marked = [
        replace(
            row,
            standing=standings.get(i, ""),
            notes=[*row.notes, *filter(None, [notes.get(i)])],
        )
        for i, row in enumerate(rows)
    ]
    known = {p: each for p, each in zip(tested, found.differences, strict=True) if each}
    return Marked(marked, unmarked, known)


def _standings(
    rows: Sequence[Row], judged: Sequence[int], found: Compared, main: str
) -> dict[int, Standing]:
    """Return how each row that was compared stands to the best one."""
    best = {judged[i] for i in found.best}
    elsewhere = {judged[i] for i in found.elsewhere}
    standings: dict[int, Standing] = {}
    for i in judged:
        if i in best:
            unclear = _looks_worse(rows[i], rows[min(best)], main)
            standings[i] = "unclear" if unclear else "best"
        elif i not in elsewhere:
            standings[i] = "worse"
    return standings


def _looks_worse(row: Row, first: Row, main: str) -> bool:
    """Whether a row is more than two errors, of both rows in quadrature, behind the first one."""
    here, there = row.averages[main], first.averages[main]
    if here.error is None or there.error is None:
        return False
    behind = abs((here.value or 0.0) - (there.value or 0.0))
    return behind > 2 * hypot(here.error, there.error)


def _can_be_judged(row: Row, main: str) -> bool:
    return not row.constant and not row.averages[main].limit
