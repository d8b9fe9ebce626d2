"""Draw a metric's error against cost: a point for each table row, and the Pareto front.

Rows that differ in one parameter of their last step are joined by a line.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from hepbench.plots import labels, selection, style
from hepbench.specs.errors import UsageError
from hepbench.specs.references import Reference, chain, uses
from hepbench.specs.text import several, unknown
from hepbench.tables import latencies
from hepbench.tables.columns import base, title

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hepbench.plots.request import Request
    from hepbench.plots.selection import Panel
    from hepbench.plots.style import Look
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


MOST = 40


FRONTS = ((0, (4, 2)), (0, (1, 1.5)), (0, (7, 2, 1, 2)), (0, (10, 3)))
"""Line styles of the Pareto fronts, one for each machine."""


@dataclass(frozen=True)
class Point:
    """The point of one table row in a figure of error against cost.

    Attributes:
        row: index of the row in the panel.
        x, x_spread: cost, mean and standard deviation over seeds.
        y, stderr, spread: error, its statistical error, and standard deviation over seeds.
        theoretical: FLOPs without those of zero weights, if masks alone save them.
        limit: ``y`` is only a limit.
    """

    row: int
    x: float
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
    """Return the points of the table rows that have both error and cost."""
    found = (_point(i, row, y, against) for i, row in enumerate(rows))
    return [point for point in found if point is not None]


def _point(i: int, row: Row, y: Axis, against: str) -> Point | None:
    cost, error = row.averages[_column(against)], row.averages[y.name]
    x = cost.value if cost.value is not None else _full_macs(row, against)
    if x is None or error.value is None:
        return None
    # one MAC is two FLOPs
    scale = 2 if against == "theoretical" else 1
    saved = row.averages["theoretical_macs"].value if against == "flops" else None
    return Point(
        row=i,
        x=x * scale,
        y=y.of(error.value),
        x_spread=None if cost.spread is None else cost.spread * scale,
        stderr=error.stderr,
        spread=error.spread,
        theoretical=None if saved is None else 2 * saved,
        limit=error.limit,
    )


def _column(against: str) -> str:
    """Return the table column of a cost."""
    return COSTS[against][0] if against in COSTS else against


def _full_macs(row: Row, against: str) -> float | None:
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
        found += _by_parameter(members, [_last_step_params(rows[i]) for i in members])
    return sorted(found)


def _last_step_params(row: Row) -> Mapping[str, Any]:
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
    params = [_last_step_params(row) for row in rows]
    names = sorted({name for each in params for name in each})
    return next((n for n in names if len({_encoded(p.get(n)) for p in params}) > 1), "")


def front(found: Sequence[Point], *, lower: bool) -> list[Point]:
    """Return the Pareto front of points, sorted by cost.

    No other point is better than one on the front in error or cost and as good in the other."""
    sign = 1 if lower else -1
    best, kept = float("inf"), []
    for point in sorted(found, key=lambda p: (p.x, sign * p.y)):
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


def draw(request: Request) -> Figure:
    """Draw error against cost, a panel for each dataset."""
    _check(request)
    columns = dict.fromkeys([request.error, _column(request.against), "macs", "theoretical_macs"])
    why_not = _why_not(request.error, request.against)
    panels = selection.panels(request, *columns, why_not=why_not, most=MOST)
    legends = [_curve_names(panel, request.against) for panel in panels]
    room = max(
        style.legend_width([*words, *_front_names(panel, request.against)])
        for words, panel in zip(legends, panels, strict=True)
    )
    figure, axes = style.grid(
        len(panels), across=1 if room else 2, width=style.WIDTH + room, heights=(4.2,)
    )
    notes: list[str] = []
    for (mine,), panel, words in zip(axes, panels, legends, strict=True):
        notes += _draw_panel(mine, panel, words, request, right=bool(room))
    style.footer(figure, notes)
    return figure


def _check(request: Request) -> None:
    """Raise UsageError if the metric or the cost is unknown."""
    recorded = {name for record in request.records for name in record.metrics}
    known = {*request.metrics, *recorded}
    if request.error not in known:
        raise UsageError(unknown("metric", request.error, known))
    if request.against not in known | set(COSTS):
        raise UsageError(unknown("cost", request.against, known | set(COSTS)))


def _why_not(error: str, against: str) -> Callable[[Row], str]:
    """Return a function that says why a row's point cannot be drawn, or ""."""
    column = _column(against)

    def why(row: Row) -> str:
        if row.averages[error].value is None:
            return f"{title(error)} has no value"
        if row.averages[column].value is None and _full_macs(row, against) is None:
            where = " in ONNX Runtime" if column == "latency" else ""
            return f"{title(column)} was not measured{where}"
        return ""

    return why


def _curve_names(panel: Panel, against: str) -> list[str]:
    """Return the legend names of curves, with numbers of machines if there are several."""
    numbers = _machine_numbers(panel, against)
    names = []
    for places in curves(panel.rows, against):
        where = machines(panel.rows[places[0]], against)
        behind = f", {' and '.join(numbers[each] for each in where)}" if len(numbers) > 1 else ""
        names.append(_curve_name(panel, places) + behind)
    return names


def _machine_numbers(panel: Panel, against: str) -> dict[str, str]:
    """Return a short name, such as ``machine 1``, for each machine of a panel.

    Full names are too long for a legend.
    """
    found = sorted({each for row in panel.rows for each in machines(row, against)})
    return {each: f"machine {i + 1}" for i, each in enumerate(found)}


def _front_names(panel: Panel, against: str) -> dict[str, str]:
    """Return the legend names of the machines' Pareto fronts, if there are several."""
    numbers = _machine_numbers(panel, against)
    named = {each: f"Pareto front, {number}" for each, number in numbers.items()}
    return named if len(named) > 1 else {}


def _curve_name(panel: Panel, places: Sequence[int]) -> str:
    """Return the legend name of a curve: the name of its only row, or what its rows share."""
    name = panel.names[places[0]]
    if len(places) == 1:
        return name
    rows = [panel.rows[i] for i in places]
    varied = parameter(rows)
    values = [_last_step_params(row).get(varied) for row in rows]
    *before, last = chain(rows[0].labels.chain)
    span = {varied: f"{values[0]} to {values[-1]}"}
    others = {name: value for name, value in last.params.items() if name != varied}
    steps = [*before, Reference(last.name, span | others)]
    return (
        f"{labels.readable(rows[0].labels.model)}, {' + '.join(map(labels.readable_step, steps))}"
    )


def _draw_panel(
    axes: Axes, panel: Panel, words: Sequence[str], request: Request, *, right: bool
) -> list[str]:
    """Draw one panel of error against cost; return notes about it."""
    y = axis(request.error, panel.rows, request.metrics)
    found = {point.row: point for point in points(panel.rows, y, request.against)}
    lines = curves(panel.rows, request.against)
    looks = style.looks([(str(i), "") for i in range(len(lines))])
    for places, name, look in zip(lines, words, looks, strict=True):
        _draw_curve(axes, [found[i] for i in places], name, look)
    drawn = _drawn_fronts(panel, found, y, request.against)
    _draw_fronts(axes, drawn, _front_names(panel, request.against))
    sources = _draw_published(axes, panel, _row_looks(lines, looks), y, request.against)
    _scale(axes, list(found.values()), y, request.against)
    style.heading(axes, panel.title, source=panel.source, sizes=panel.sizes, inches=style.WIDTH)
    style.legend(axes, right=right, loc="best")
    explained = _explanation(found.values(), len(drawn))
    return [panel.caption, explained, *sources, *_latency_notes(panel, request), *panel.notes]


def _drawn_fronts(
    panel: Panel, found: Mapping[int, Point], y: Axis, against: str
) -> dict[tuple[str, ...], list[Point]]:
    """Return the Pareto fronts with more than one point, if the x axis is a cost."""
    if against not in COSTS:
        return {}
    comparable = [point for i, point in found.items() if selection.DAGGER not in panel.names[i]]
    best = fronts(comparable, panel.rows, lower=y.lower, against=against)
    return {where: points for where, points in best.items() if len(points) > 1}


def _row_looks(lines: Sequence[Sequence[int]], looks: Sequence[Look]) -> dict[int, Look]:
    """Return the colour and markers of each row's curve."""
    return {i: look for places, look in zip(lines, looks, strict=True) for i in places}


def _draw_fronts(
    axes: Axes, found: Mapping[tuple[str, ...], Sequence[Point]], names: Mapping[str, str]
) -> None:
    """Draw the Pareto front of each machine."""
    for i, (where, best) in enumerate(found.items()):
        how: dict[str, Any] = {
            "color": style.GREY,
            "linewidth": 1,
            "linestyle": FRONTS[i % len(FRONTS)],
            "zorder": 0,
            "label": style.plain(names.get("".join(where), "")),
        }
        axes.step([p.x for p in best], [p.y for p in best], where="post", **how)


def _draw_curve(axes: Axes, found: Sequence[Point], name: str, look: Look) -> None:
    x, y = [p.x for p in found], [p.y for p in found]
    axes.plot(x, y, color=look.colour, linestyle=look.dashes, linewidth=1.2, alpha=0.7)
    how: dict[str, Any] = {"fmt": "none", "ecolor": look.colour}
    for p in found:
        spread: dict[str, Any] = {"elinewidth": 1, "capsize": 3, "capthick": 1}
        axes.errorbar(p.x, p.y, p.spread, p.x_spread, **how, **spread)
        axes.errorbar(p.x, p.y, p.stderr, **how, elinewidth=2.6, alpha=0.45)
        if p.theoretical is not None:
            dots: dict[str, Any] = {"color": look.colour, "linewidth": 0.8, "linestyle": ":"}
            axes.plot([p.x, p.theoretical], [p.y, p.y], **dots)
            axes.plot(p.theoretical, p.y, look.marker, mfc="white", mec=look.colour)
    axes.plot(x, y, look.marker, color=look.colour, label=style.plain(name))


def _draw_published(
    axes: Axes, panel: Panel, looks: Mapping[int, Look], y: Axis, against: str
) -> list[str]:
    """Draw the published values of rows; return notes with their sources.

    Args:
        axes: the axes.
        panel: its rows, and their names.
        looks: the look of each row.
        y: the y axis.
        against: the x axis.
    """
    names: dict[str, list[str]] = defaultdict(list)
    for i, look in looks.items():
        published = panel.rows[i].published
        if published is None or y.name not in published.metrics:
            continue
        x = published.metrics.get(_column(against))
        _draw_diamond(axes, x, y.of(published.metrics[y.name]), look.colour)
        no_cost = "" if x is not None else ", cost not published: at the margin"
        caveat = f"; {published.caveat}" if published.caveat else ""
        names[f"{published.source}{no_cost}{caveat}"].append(panel.names[i])
    return [
        f"open diamond: published for {'; '.join(each)}: {source}" for source, each in names.items()
    ]


def _draw_diamond(axes: Axes, x: float | None, value: float, colour: str) -> None:
    """Draw a published value as a diamond, at the right margin if its cost was not published."""
    how: dict[str, Any] = {"marker": "d", "mfc": "white", "mec": colour, "linestyle": "none"}
    where = axes.get_yaxis_transform() if x is None else axes.transData
    axes.plot(0.97 if x is None else x, value, **how, markersize=7, transform=where)


def _scale(axes: Axes, found: Sequence[Point], y: Axis, against: str) -> None:
    """Make the axes of error and cost logarithmic if values differ much, and label them."""
    xs = [x for p in found for x in (p.x, p.theoretical) if x is not None]
    ys = [p.y for p in found]
    if min(xs) > 0 and max(xs) > 10 * min(xs):
        axes.set_xscale("log")
        axes.set_xlim(min(xs) / 2, max(xs) * 2)
    else:
        # a common power of ten would cover the label of the axis
        axes.ticklabel_format(axis="x", style="plain", useOffset=False)
        axes.margins(x=0.1)
    if min(ys) > 0 and max(ys) > 5 * min(ys):
        axes.set_yscale("log")
    axes.margins(y=0.12)
    axes.set_xlabel(COSTS[against][1] if against in COSTS else title(against))
    axes.set_ylabel(y.label)


def _explanation(found: Iterable[Point], fronts: int) -> str:
    """Return a note that explains error bars, markers and Pareto fronts."""
    found = list(found)
    texts = ["bars, thick: statistical error of the test sample"]
    if any(p.spread is not None for p in found):
        texts.append("thin: standard deviation over seeds")
    if fronts:
        several = fronts > 1
        texts.append("grey: Pareto front of each machine" if several else "dashed: Pareto front")
    if any(p.theoretical is not None for p in found):
        texts.append("open markers: theoretical FLOPs, if zero weights cost nothing")
    if any(p.limit for p in found):
        texts.append("some points are limits")
    return "; ".join(texts)


def _latency_notes(panel: Panel, request: Request) -> list[str]:
    """Return notes on the machines on which latencies were measured."""
    if request.against != "latency":
        return []
    numbers = _machine_numbers(panel, request.against)
    several = len(numbers) > 1
    where = "; ".join(f"{name}: {each}" if several else each for each, name in numbers.items())
    apart = "; latencies of different machines are not compared" if several else ""
    notes = [f"latency: {where}; in ONNX Runtime{apart}"]
    for i, row in enumerate(panel.rows):
        if len(machines(row, request.against)) > 1:
            notes.append(
                f"{panel.names[i]}: its seeds ran on several machines, so it is on no Pareto front"
            )
    if any(latencies.doubts(row, request.against) for row in panel.rows):
        notes.append("some latencies are in doubt: see the notes of the table")
    return notes
