"""Rank the rows of each dataset, mark the best ones and state the verdict."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hepbench.specs.text import natural_order, one_line
from hepbench.tables import stars
from hepbench.tables.contrasts import contrasts
from hepbench.tables.findings import findings
from hepbench.tables.ranking import rank
from hepbench.tables.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hepbench.tables.columns import Columns
    from hepbench.tables.contrasts import Contrast
    from hepbench.tables.rows import Row
    from hepbench.tables.stars import Compare, Difference


@dataclass(frozen=True, kw_only=True)
class RankedRows:
    """The table rows of one dataset, best first, with standings and notes.

    Attributes:
        group: value of the field by which tables are grouped; by default the dataset.
        dataset: the dataset of all rows.
        rows: ranked and marked.
        columns: their main column is what rows were compared by.
        unmarked: why no row is marked as best; empty if one is.
        differences: of the pairs of rows that were tested.
    """

    group: Any
    dataset: str
    rows: list[Row]
    columns: Columns
    unmarked: str = ""
    differences: Mapping[Contrast, Difference] = field(default_factory=dict)

    @cached_property
    def verdict(self) -> str:
        """Which row is best and whether that is significant, in one line."""
        behind = (each for pair, each in self.differences.items() if pair.kind == "network")
        return verdict(self.rows, self.columns, unmarked=self.unmarked, behind=next(behind, None))

    @cached_property
    def findings(self) -> list[str]:
        """What else the rows show, a sentence each: smaller networks, what pretraining gives."""
        return findings(self.rows, self.columns, self.differences)

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
    for (group, dataset), some in sorted(peers.items(), key=lambda item: natural_order(item[0])):
        found.append(_ranked(rank(some, columns), columns, compare, group=group, dataset=dataset))
    return found


def _ranked(
    rows: Sequence[Row], columns: Columns, compare: Compare, *, group: Any, dataset: str
) -> RankedRows:
    """Return ranked rows of one dataset with their standings and tested pairs."""
    pairs = {each: (each.row, each.other) for each in contrasts(rows, columns)}
    marked = stars.mark(rows, columns, compare, list(pairs.values()))
    known = {c: marked.differences[pair] for c, pair in pairs.items() if pair in marked.differences}
    return RankedRows(
        group=group,
        dataset=dataset,
        rows=marked.rows,
        columns=columns,
        unmarked=marked.unmarked,
        differences=known,
    )
