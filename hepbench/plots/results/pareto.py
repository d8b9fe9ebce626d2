"""Compute the points, curves and Pareto fronts of a figure of error against cost.

Rows that differ in one parameter of their last step are one curve.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from hepbench.specs.references import chain, uses
from hepbench.specs.text import several
from hepbench.tables.columns import base, title

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hepbench.storage.records import Record
    from hepbench.tables.columns import Metrics
    from hepbench.tables.rows import Row


COSTS = {
    "flops": ("flops", "FLOPs of one example"),
    "theoretical": ("theoretical_macs", "FLOPs of one example without those of zero weights"),
    "latency": ("latency", "latency of one example (ms)"),
    "parameters": ("parameters", "parameters"),
    "nonzero": ("nonzero_parameters", "non-zero parameters"),
}
"""By name of a cost on the command line: its table column and its axis label."""


@dataclass(frozen=True)
class Point:
    """The point of one table row in a figure of error against cost.

    Attributes:
        row: index of the row in the panel.
        x, x_spread: cost, mean and standard deviation over seeds; ``x`` is None if it was not
            measured, as FLOPs of an estimator.
        y, stderr, spread: error, its statistical error, and standard deviation over seeds.
        theoretical: FLOPs without those of zero weights, if masks alone save them.
        limit: ``y`` is only a limit.
    """

    row: int
    x: float | None
    y: float
    x_spread: float | None = None
    stderr: float | None = None
    spread: float | None = None
    theoretical: float | None = None
    limit: bool = False


@dataclass(frozen=True)
class Axis:
    """The y axis of a figure of error against cost.

    Attributes:
        name: the metric, or a column of costs.
        label: label of the axis.
        complement: 1 - value is drawn instead of the value.
        lower: whether lower is better in the figure.
    """

    name: str
    label: str
    complement: bool
    lower: bool

    def of(self, value: float) -> float:
        """Return the number to draw for a value of the metric."""
        return 1 - value if self.complement else value


def axis(name: str, rows: Iterable[Row], metrics: Metrics) -> Axis:
    """Return the y axis of a metric: if 1 is the best value, the axis shows 1 - value."""
    higher = bool(metrics[base(name)][0]) if base(name) in metrics else False
    values = [row.averages[name].value for row in rows]
    within = all(value is None or 0 <= value <= 1 for value in values)
    complement = higher and within
    label = f"1 - {title(name)}" if complement else title(name)
    return Axis(name, label, complement=complement, lower=complement or not higher)


def points(rows: Sequence[Row], y: Axis, against: str) -> list[Point]:
    """Return the points of the table rows that have an error, also of those without a cost."""
    found = (_point(i, row, y, against) for i, row in enumerate(rows))
    return [point for point in found if point is not None]


def _point(i: int, row: Row, y: Axis, against: str) -> Point | None:
    cost, error = row.averages[column(against)], row.averages[y.name]
    x = cost.value if cost.value is not None else full_macs(row, against)
    if error.value is None:
        return None
    # one MAC is two FLOPs
    scale = 2 if against == "theoretical" else 1
    saved = row.averages["theoretical_macs"].value if against == "flops" else None
    return Point(
        row=i,
        x=None if x is None else x * scale,
        y=y.of(error.value),
        x_spread=None if cost.spread is None else cost.spread * scale,
        stderr=error.stderr,
        spread=error.spread,
        theoretical=None if saved is None else 2 * saved,
        limit=error.limit,
    )


def column(against: str) -> str:
    """Return the table column of a cost."""
    return COSTS[against][0] if against in COSTS else against


def full_macs(row: Row, against: str) -> float | None:
    """Return the MACs to draw for a network without zero weights, which has no theoretical MACs."""
    return row.averages["macs"].value if against == "theoretical" else None


def machines(row: Row, against: str) -> tuple[str, ...]:
    """Return the machines, with numbers of threads, on which a row's latencies were measured.

    Empty for costs that are counted, not measured.
    """
    if against != "latency":
        return ()
    return tuple(sorted({_machine(record) for record in row.ok}))


def _machine(record: Record) -> str:
    made = record.provenance
    processor = made.machine.processor or "unknown processor"
    return f"{processor}, {several(made.threads or 1, 'thread')}"


def curves(rows: Sequence[Row], against: str) -> list[list[int]]:
    """Return the indices of the table rows that belong to each curve.

    Rows of a curve differ only in one parameter of their last step and are sorted by it; their
    costs were measured on one machine. Any other row is a curve of its own.
    """
    families: dict[Any, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        labels = row.labels
        steps = [(s.name, repr(s.params)) for s in chain(labels.chain)]
        before = (*steps[:-1], steps[-1][0])
        families[labels._replace(chain=""), before, machines(row, against)].append(i)
    found = []
    for members in families.values():
        found += _by_parameter(members, [last_step_params(rows[i]) for i in members])
    return sorted(found)


def last_step_params(row: Row) -> Mapping[str, Any]:
    """Return the parameters of the last method in a row's chain."""
    name = uses(step.name for step in chain(row.labels.chain))[-1]
    found: Mapping[str, Any] = row.record.params.get("methods", {}).get(name, {})
    return found


def _by_parameter(members: Sequence[int], params: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Split rows into curves along which only one parameter varies, the one with most values."""
    names = sorted({name for each in params for name in each})
    values = {name: {_encoded(each.get(name)) for each in params} for name in names}
    varying = [name for name in names if len(values[name]) > 1]
    if not varying:
        return [[i] for i in members]
    main = max(varying, key=lambda name: len(values[name]))
    split: dict[Any, list[tuple[Any, int]]] = defaultdict(list)
    for i, each in zip(members, params, strict=True):
        others = tuple(_encoded(each.get(name)) for name in varying if name != main)
        split[others].append((each.get(main), i))
    return [
        [i for _, i in sorted(each, key=lambda pair: _sort_key(pair[0]))] for each in split.values()
    ]


def _encoded(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")


def _sort_key(value: Any) -> tuple[bool, float, str]:
    number = isinstance(value, (int, float))
    return (not number, float(value) if number else 0.0, str(value))


def parameter(rows: Sequence[Row]) -> str:
    """Return the name of the parameter that varies along a curve."""
    params = [last_step_params(row) for row in rows]
    names = sorted({name for each in params for name in each})
    return next((n for n in names if len({_encoded(p.get(n)) for p in params}) > 1), "")


def front(found: Sequence[Point], *, lower: bool) -> list[Point]:
    """Return the Pareto front of points, sorted by cost.

    No other point is better than one on the front in error or cost and as good in the other.
    Points without a cost are left out.
    """
    sign = 1 if lower else -1
    best, kept = float("inf"), []
    costly = ((p.x, p) for p in found if p.x is not None)
    for _, point in sorted(costly, key=lambda pair: (pair[0], sign * pair[1].y)):
        if sign * point.y < best:
            best = sign * point.y
            kept.append(point)
    return kept


def fronts(
    found: Iterable[Point], rows: Sequence[Row], *, lower: bool, against: str
) -> dict[tuple[str, ...], list[Point]]:
    """Return a Pareto front for each machine, since latencies are comparable on one machine only.

    A row whose seeds were measured on several machines is on no front.
    """
    groups: dict[tuple[str, ...], list[Point]] = defaultdict(list)
    for point in found:
        groups[machines(rows[point.row], against)].append(point)
    return {
        where: front(group, lower=lower)
        for where, group in sorted(groups.items())
        if len(where) <= 1
    }
