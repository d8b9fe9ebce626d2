"""What a user asks of a table: format, columns, order, rows; wrong names are refused here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hepbench.specs.errors import UsageError
from hepbench.specs.text import unknown
from hepbench.tables import columns as known_columns
from hepbench.tables.columns import ALL, DEFAULT_COLUMNS, PARTS
from hepbench.tables.where import Condition

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from hepbench.storage.records import Record
    from hepbench.tables.columns import Metrics


DATA_FORMATS = ("csv", "json")


FORMATS = ("plain", "github", "latex", "html", *DATA_FORMATS)


STYLES = ("full", "paper")


GROUPS = (
    *("suite", "dataset", "model", "method", "chain", "preset", "seed", "status"),
    "data.source",
)


WIDTH = 100
"""Characters of a line of a plain table, unless the terminal is narrower."""


NEVER_SHOWN = frozenset({"history", "used", "stage_keys"})
"""Fields of records that no table shows."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a table shows, and how.

    Attributes:
        format: one of FORMATS.
        style: of LaTeX, one of STYLES.
        group: one of GROUPS; each of its values has a table of its own.
        columns: names of columns, or ``all``; None: the usual ones, in CSV and JSON all. The first
            test metric ranks the rows.
        sort: the column by which rows are sorted, instead of by rank; ``-`` before it reverses.
        where: conditions that rows must fulfil to be shown; they are ranked among all rows.
        width: characters of a line of a plain table.
        per_seed: in CSV and JSON, a row for each seed.
        verdict_last: whether the verdict stands below plain tables instead of above.
    """

    format: str = "plain"
    style: str = "full"
    group: str = "dataset"
    columns: Sequence[str] | None = None
    sort: str = ""
    where: Sequence[str] = ()
    width: int = WIDTH
    per_seed: bool = False
    verdict_last: bool = False

    @property
    def conditions(self) -> list[Condition]:
        """The conditions of ``where``."""
        return [Condition.parse(text) for text in self.where]

    @property
    def sorted_by(self) -> str:
        """The name of the column of ``sort``."""
        return known_columns.named(self.sort.removeprefix("-"))

    @property
    def data_field(self) -> str:
        """The name of the group without the part of a record that it is in."""
        return self.group.removeprefix("data.")

    @property
    def unneeded(self) -> frozenset[str]:
        """Fields of records that its tables do not show, so that they need not be read."""
        conditions = (each.name for each in self.conditions)
        named = {*map(known_columns.named, self.columns or ()), self.sorted_by, *conditions}
        every = ALL in named or (self.columns is None and self.format in DATA_FORMATS)
        parts = {field for part, field in PARTS.items() if any(n.startswith(part) for n in named)}
        return frozenset(NEVER_SHOWN if every else {*NEVER_SHOWN, *PARTS.values()} - parts)

    def names(self, records: Sequence[Record], metrics: Metrics) -> list[str]:
        """Return the names of the columns, those without any value too."""
        if self.columns is None and self.format not in DATA_FORMATS:
            return list(DEFAULT_COLUMNS)
        if self.columns is None or ALL in self.columns:
            return _with_main_first(known_columns.ordered(records, metrics), self.columns or ())
        return list(dict.fromkeys(map(known_columns.named, self.columns)))

    def check(self, records: Sequence[Record], metrics: Metrics) -> None:
        """Raise UsageError if the format, a style, group or column does not exist."""
        _check_name("format", self.format, FORMATS)
        _check_name("style", self.style, STYLES)
        _check_name("group", self.group, GROUPS)
        if self.style != "full" and self.format != "latex":
            raise UsageError(_only_for(f"style {self.style}", "latex"))
        if self.per_seed and self.format not in DATA_FORMATS:
            raise UsageError(_only_for("a row for each seed", "csv or json"))
        known = known_columns.known(records, metrics)
        names = [*(self.columns or ()), *([self.sort.removeprefix("-")] if self.sort else [])]
        for name in names:
            _check_name("column", known_columns.named(name), {*known, ALL})
        for condition in self.conditions:
            _check_name("column", condition.name, {*known, *Condition.FLAGS})


def _check_name(kind: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise UsageError(unknown(kind, name, known))


def _only_for(what: str, formats: str) -> str:
    return f"{what} exists only with --format {formats}"


def _with_main_first(names: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Return all columns, those that were also named first."""
    return list(dict.fromkeys([*(name for name in asked if name != ALL), *names]))
