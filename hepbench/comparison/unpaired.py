"""Says which cells only one of two results has, in a line for each dataset. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from hepbench.specs.text import one_line, several

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hepbench.comparison.pairs import Pair


MOST_NAMED = 10
"""Cells that a line names."""


def lines(pairs: Iterable[Pair]) -> list[str]:
    """Return a line for each dataset and run that has cells which the other run lacks.

    Only in NEW, higgs: 2 cells: mlp/scratch, mlp/joint
    """
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for pair in pairs:
        if len(pair.rows) == 1:
            ((run, row),) = pair.rows.items()
            name = pair.cell.removeprefix(f"{row.labels.dataset}/")
            found[run, row.labels.dataset].append(one_line(name))
    return [_line(run, dataset, names) for (run, dataset), names in sorted(found.items())]


def _line(run: str, dataset: str, names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    named = [*names[:MOST_NAMED], *([f"and {more:,} more"] if more > 0 else [])]
    count = several(len(names), "cell")
    return f"Only in {run}, {one_line(dataset)}: {count}: {', '.join(named)}"
