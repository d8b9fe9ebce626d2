"""Pairs of table rows that a verdict compares beside the best row: what is cheaper, what helps. Pure.

Which pairs there are follows from the chains and costs of the rows, not from any plugin's name.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from hepbench.evaluation.seed_averages import over_seeds
from hepbench.tables import latencies, row_names
from hepbench.tables.rows import recorded

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    from hepbench.tables.columns import Columns
    from hepbench.tables.rows import Row


Kind = Literal["network", "cheaper", "smaller", "pretrained"]
"""The best network with the first row; a network with the best one, which needs more operations; a
network with that from which later steps made it smaller; a pretrained one with one that is not."""


class Contrast(NamedTuple):
    """A pair of table rows that is tested: places of a row and of the one it is compared with."""

    kind: Kind
    row: int
    other: int


FEWER = 1.1
"""How many times fewer operations a cheaper network needs at least."""


def contrasts(rows: Sequence[Row], columns: Columns) -> list[Contrast]:
    """Return the pairs to test among the ranked rows of one dataset.

    Args:
        rows: ranked; see ``ranking.rank``.
        columns: their main column is what rows are compared by.
    """
    if columns.direction(columns.main) is None:
        return []
    places = [i for i, row in enumerate(rows) if row.comparable]
    networks = [i for i in places if rows[i].is_network]
    found = [*_smaller(rows, networks), *_pretrained(rows, networks)]
    if networks:
        best, made_smaller = networks[0], {each.row for each in found if each.kind == "smaller"}
        if places[0] != best:
            found.append(Contrast("network", best, places[0]))
        found += [
            Contrast("cheaper", i, best)
            for i in networks
            if i not in made_smaller and fewer_operations(rows[i], rows[best])
        ]
    return found


def _smaller(rows: Sequence[Row], networks: Sequence[int]) -> Iterator[Contrast]:
    """Yield networks that were made smaller, with those whose chains they continue."""
    chains = {i: _steps(rows[i]) for i in networks}
    places = {(_model(rows[i]), chain): i for i, chain in chains.items()}
    for i, chain in chains.items():
        starts = ((_model(rows[i]), chain[:n]) for n in range(len(chain) - 1, 0, -1))
        others = (places[start] for start in starts if start in places)
        if (whole := next(others, None)) is not None and fewer_operations(rows[i], rows[whole]):
            yield Contrast("smaller", i, whole)


def _pretrained(rows: Sequence[Row], networks: Sequence[int]) -> Iterator[Contrast]:
    """Yield pretrained networks, with those that learnt from labels alone in an equal way."""
    # methods of older records do not say whether they see labels
    trainings = {i: [part for part in rows[i].methods if "labels" in part] for i in networks}
    alone: dict[Hashable, dict[int, Mapping[str, Any]]] = defaultdict(dict)
    for i, parts in trainings.items():
        if len(parts) == 1 and parts[0]["labels"]:
            alone[_model(rows[i])][i] = parts[0]
    for i, parts in trainings.items():
        with_labels = [part for part in parts if part["labels"]]
        if len(with_labels) != 1 or len(parts) == 1:
            continue
        (mine,) = with_labels
        others = {j: p for j, p in alone[_model(rows[i])].items() if _trained_alike(mine, p)}
        if others:
            # the same method, if there is one; else the best of the others
            same = (j for j, part in others.items() if part["method"] == mine["method"])
            yield Contrast("pretrained", i, next(same, min(others)))


def _steps(row: Row) -> tuple[row_names.Step, ...]:
    return tuple(row_names.steps(row.labels.chain))


def _model(row: Row) -> Hashable:
    """Return what two rows share if they differ in their chains only."""
    return row.labels._replace(chain=""), repr(row.record.params.get("model"))


def _trained_alike(part: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two methods are the same, or both train all of a network by the labels alone."""
    if part["method"] == other["method"]:
        return bool(part["params"] == other["params"])
    freezes = [each.get("network", {}).get("freezes", ["unknown"]) for each in (part, other)]
    return freezes == [[], []] and not (part.get("own_loss") or other.get("own_loss"))


# --- costs


def fewer_operations(row: Row, other: Row) -> float:
    """Return how many times fewer operations a row needs than another; 0 if not clearly fewer."""
    here, there = (_mean(each, "flops") for each in (row, other))
    ratio = there / here if here and there else 0.0
    return ratio if ratio >= FEWER else 0.0


def speed(row: Row, other: Row) -> tuple[float, str]:
    """Return how many times faster a row is than another, and by which clock.

    The clock is ``time``, or ``CPU time`` where other work makes the time doubtful; it is empty if
    neither is known.
    """
    for name, clock in (("latency", "time"), ("latency_cpu", "CPU time")):
        here, there = (_mean(each, name) for each in (row, other))
        doubtful = latencies.doubts(row, name) or latencies.doubts(other, name)
        if here and there and not doubtful and row.setting == other.setting:
            return there / here, clock
    return 0.0, ""


def _mean(row: Row, name: str) -> float | None:
    return over_seeds(recorded(record, name) for record in row.ok).value
