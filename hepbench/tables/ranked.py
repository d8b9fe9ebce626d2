"""Rank the rows of each dataset, mark the best ones and state the verdict."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hepbench.specs.text import one_line
from hepbench.tables import stars
from hepbench.tables.ranking import rank
from hepbench.tables.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hepbench.tables.columns import Columns
    from hepbench.tables.rows import Row
    from hepbench.tables.stars import Compare


@dataclass(frozen=True, kw_only=True)
class RankedRows:
    """The table rows of one dataset, best first, with standings and notes.

    Attributes:
        group: value of the field by which tables are grouped; by default the dataset.
        dataset: the dataset of all rows.
        rows: ranked and marked.
        columns: their main column is what rows were compared by.
        unmarked: why no row is marked as best; empty if one is.
    """

    group: Any
    dataset: str
    rows: list[Row]
    columns: Columns
    unmarked: str = ""

    @cached_property
    def verdict(self) -> str:
        """Which row is best and whether that is significant, in one line."""
        return verdict(self.rows, self.columns, unmarked=self.unmarked)

    @property
    def verdict_line(self) -> str:
        """The verdict with the dataset before it, and the group if that is something else."""
        where = "" if self.columns.group == "dataset" else f"{self.columns.group} {self.group}, "
        return one_line(f"{where}{self.dataset}: {self.verdict}")


def ranked(rows: Iterable[Row], columns: Columns, compare: Compare) -> list[RankedRows]:
    """Return the rows of ``rows.collect`` ranked within each group and dataset.

    Args:
        rows: of several groups and datasets.
        columns: the main one ranks the rows.
        compare: compares rows on their predictions; called only where there are rows to compare.
    """
    peers: dict[tuple[Any, str], list[Row]] = defaultdict(list)
    for row in rows:
        peers[row.group, row.labels.dataset].append(row)
    found = []
    for (group, dataset), some in sorted(peers.items()):
        marked, reason = stars.mark(rank(some, columns), columns, compare)
        found.append(
            RankedRows(group=group, dataset=dataset, rows=marked, columns=columns, unmarked=reason)
        )
    return found
