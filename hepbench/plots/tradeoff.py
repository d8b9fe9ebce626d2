"""Error against cost: a point for each row, a line where rows differ in one parameter, and what
nothing beats in both: the Pareto front.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from hepbench.columns import base, title
from hepbench.errors import UsageError, unknown
from hepbench.plots import selection, style
from hepbench.suite import chain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hepbench.columns import Metrics
    from hepbench.plots import Request
    from hepbench.plots.selection import Panel
    from hepbench.plots.style import Look
    from hepbench.rows import Row

COSTS = {
    "flops": ("flops", "FLOPs of one example"),
    "theoretical": ("theoretical_macs", "FLOPs of one example without those of zero weights"),
    "latency": ("latency", "latency of one example (ms)"),
    "parameters": ("parameters", "parameters"),
    "nonzero": ("nonzero_parameters", "non-zero parameters"),
}
"""By their name on the command line: the column, and the axis in words."""

MOST = 40


@dataclass(frozen=True)
class Point:
    """What is drawn of a row.

    Attributes:
        row: its place in the panel.
        x: cost, mean over seeds; ``x_spread`` over seeds.
        y: error, with both its errors.
        theoretical: FLOPs without those of zero weights, where masks are all that saves them.
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
    """How a metric is drawn.

    Attributes:
        name: of the metric, or of a column of costs.
        label: what stands at the axis.
        turned: 1 - value is drawn.
        lower: whether lower is better, as drawn.
    """

    name: str
    label: str
    turned: bool
    lower: bool

    def of(self, value: float) -> float:
        """Return what is drawn for a value."""
        return 1 - value if self.turned else value


def axis(name: str, rows: Iterable[Row], metrics: Metrics) -> Axis:
    """Return how to draw a metric: as 1 - value where 1 is perfect, so that less is better."""
    higher = bool(metrics[base(name)][0]) if base(name) in metrics else False
    values = [row.figures[name].value for row in rows]
    within = all(value is None or 0 <= value <= 1 for value in values)
    turned = higher and within
    return Axis(name, f"1 - {title(name)}" if turned else title(name), turned, turned or not higher)


def points(rows: Sequence[Row], y: Axis, against: str) -> list[Point]:
    """Return the points of rows that have both."""
    column = COSTS[against][0] if against in COSTS else against
    scale = 2 if against == "theoretical" else 1
    found = []
    for i, row in enumerate(rows):
        cost, error = row.figures[column], row.figures[y.name]
        x = cost.value if cost.value is not None else _uncounted(row, against)
        if x is None or error.value is None:
            continue
        saved = row.figures["theoretical_macs"].value if against == "flops" else None
        point = Point(
            row=i,
            x=x * scale,
            y=y.of(error.value),
            x_spread=None if cost.spread is None else cost.spread * scale,
            stderr=error.stderr,
            spread=error.spread,
            theoretical=None if saved is None else 2 * saved,
            limit=error.limit,
        )
        found.append(point)
    return found


def _uncounted(row: Row, against: str) -> float | None:
    # recorded only where weights are zero: elsewhere it is the count itself
    return row.figures["macs"].value if against == "theoretical" else None


def curves(rows: Sequence[Row]) -> list[list[int]]:
    """Return the places of rows that differ in one parameter of their last step alone, by its
    value; a row like no other is a curve of its own.
    """
    families: dict[Any, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        labels = row.labels
        steps = [(s.name, repr(s.params)) for s in chain(labels.chain)]
        before = (*steps[:-1], steps[-1][0])
        families[labels._replace(chain=""), before].append(i)
    found = []
    for members in families.values():
        found += _by_parameter(members, [_last(rows[i]) for i in members])
    return sorted(found)


def _last(row: Row) -> Mapping[str, Any]:
    """Return the parameters of the last step."""
    found: Mapping[str, Any] = row.record.params.get("methods", {}).get(row.record.method, {})
    return found


def _by_parameter(members: Sequence[int], params: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Split rows so that in each list one parameter differs: the one with the most values."""
    names = sorted({name for each in params for name in each})
    values = {name: {_written(each.get(name)) for each in params} for name in names}
    varying = [name for name in names if len(values[name]) > 1]
    if not varying:
        return [[i] for i in members]
    main = max(varying, key=lambda name: len(values[name]))
    split: dict[Any, list[tuple[Any, int]]] = defaultdict(list)
    for i, each in zip(members, params, strict=True):
        others = tuple(_written(each.get(name)) for name in varying if name != main)
        split[others].append((each.get(main), i))
    return [
        [i for _, i in sorted(each, key=lambda pair: _place(pair[0]))] for each in split.values()
    ]


def _written(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")


def _place(value: Any) -> tuple[bool, float, str]:
    number = isinstance(value, (int, float))
    return (not number, float(value) if number else 0.0, str(value))


def parameter(rows: Sequence[Row]) -> str:
    """Return the parameter in which the rows of a curve differ."""
    params = [_last(row) for row in rows]
    names = sorted({name for each in params for name in each})
    return next((n for n in names if len({_written(p.get(n)) for p in params}) > 1), "")


def front(found: Sequence[Point], *, lower: bool) -> list[Point]:
    """Return the points that no other beats in one and equals at least in the other, by cost."""
    sign = 1 if lower else -1
    best, kept = float("inf"), []
    for point in sorted(found, key=lambda p: (p.x, sign * p.y)):
        if sign * point.y < best:
            best = sign * point.y
            kept.append(point)
    return kept


# --- drawing


def draw(request: Request) -> Figure:
    """Draw each dataset in a panel of its own."""
    _check(request)
    column = COSTS[request.against][0] if request.against in COSTS else request.against
    names = dict.fromkeys([request.error, column, "macs", "theoretical_macs"])
    needs = _needs(request.error, request.against, column)
    panels = selection.panels(request, *names, needs=needs, most=MOST)
    legends = [[_named(panel, each) for each in curves(panel.rows)] for panel in panels]
    room = max(map(style.beside, legends))
    figure, axes = style.grid(
        len(panels), across=1 if room else 2, width=style.WIDTH + room, heights=(4.2,)
    )
    notes: list[str] = []
    for (mine,), panel, words in zip(axes, panels, legends, strict=True):
        notes += _draw_panel(mine, panel, words, request, right=bool(room))
    style.footer(figure, notes)
    return figure


def _check(request: Request) -> None:
    """Raise UsageError where an axis is none."""
    recorded = {name for record in request.records for name in record.metrics}
    known = {*request.metrics, *recorded}
    if request.error not in known:
        raise UsageError(unknown("metric", request.error, known))
    if request.against not in known | set(COSTS):
        raise UsageError(unknown("cost", request.against, known | set(COSTS)))


def _needs(error: str, against: str, column: str) -> Callable[[Row], str]:
    def why(row: Row) -> str:
        if row.figures[error].value is None:
            return f"{title(error)} has no value"
        if row.figures[column].value is None and _uncounted(row, against) is None:
            return f"{title(column)} was not measured"
        return ""

    return why


def _named(panel: Panel, places: Sequence[int]) -> str:
    """Return the name of a curve: that of its row, or what its rows have in common."""
    name = panel.names[places[0]]
    if len(places) == 1:
        return name
    rows = [panel.rows[i] for i in places]
    values = [_last(row).get(parameter(rows)) for row in rows]
    *before, last = chain(rows[0].labels.chain)
    steps = " + ".join([*map(style.in_words, before), last.name])
    spans = f"{parameter(rows)} = {values[0]} to {values[-1]}"
    return f"{style.spelt(rows[0].labels.model)}, {steps} ({spans})"


def _draw_panel(
    axes: Axes, panel: Panel, words: Sequence[str], request: Request, *, right: bool
) -> list[str]:
    y = axis(request.error, panel.rows, request.metrics)
    found = {point.row: point for point in points(panel.rows, y, request.against)}
    lines = curves(panel.rows)
    looks = style.looks([(str(i), "") for i in range(len(lines))])
    for places, name, look in zip(lines, words, looks, strict=True):
        _draw_curve(axes, [found[i] for i in places], name, look)
    comparable = [point for i, point in found.items() if selection.DAGGER not in panel.names[i]]
    best = front(comparable, lower=y.lower)
    if len(best) > 1:
        corners: dict[str, Any] = {
            "color": style.GREY,
            "linewidth": 1,
            "linestyle": (0, (4, 2)),
            "zorder": 0,
        }
        axes.step([p.x for p in best], [p.y for p in best], where="post", **corners)
    notes = _draw_published(axes, panel, lines, looks, y, request.against)
    _scale(axes, list(found.values()), y, request.against)
    style.heading(axes, panel, style.WIDTH)
    style.legend(axes, right=right, loc="best")
    return [
        panel.caption,
        _how(found.values(), best),
        *notes,
        *_latency(panel, request),
        *panel.notes,
    ]


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
    axes: Axes,
    panel: Panel,
    lines: Sequence[Sequence[int]],
    looks: Sequence[Look],
    y: Axis,
    against: str,
) -> list[str]:
    """Draw published figures; return their sources."""
    notes = []
    column = COSTS[against][0] if against in COSTS else against
    for places, look in zip(lines, looks, strict=True):
        for i in places:
            published = panel.rows[i].published
            if published is None or y.name not in published.metrics:
                continue
            value = y.of(published.metrics[y.name])
            x = published.metrics.get(column)
            how: dict[str, Any] = {
                "marker": "d",
                "mfc": "white",
                "mec": look.colour,
                "linestyle": "none",
            }
            # a cost that was not published: at the margin
            where = axes.get_yaxis_transform() if x is None else axes.transData
            axes.plot(0.97 if x is None else x, value, **how, markersize=7, transform=where)
            unknown_cost = "" if x is not None else ", cost not published: at the margin"
            source = f"{published.source}{unknown_cost}"
            caveat = f"; {published.caveat}" if published.caveat else ""
            notes.append(f"open diamond: published for {panel.names[i]}: {source}{caveat}")
    return notes


def _scale(axes: Axes, found: Sequence[Point], y: Axis, against: str) -> None:
    """Choose scales that show all points apart, and name the axes."""
    xs = [x for p in found for x in (p.x, p.theoretical) if x is not None]
    ys = [p.y for p in found]
    if min(xs) > 0 and max(xs) > 10 * min(xs):
        axes.set_xscale("log")
        axes.set_xlim(min(xs) / 2, max(xs) * 2)
    else:
        axes.margins(x=0.1)
    if min(ys) > 0 and max(ys) > 5 * min(ys):
        axes.set_yscale("log")
    axes.margins(y=0.12)
    axes.set_xlabel(COSTS[against][1] if against in COSTS else title(against))
    axes.set_ylabel(y.label)


def _how(found: Iterable[Point], best: Sequence[Point]) -> str:
    """Say what is shown."""
    found = list(found)
    texts = ["bars, thick: statistical error of the test sample"]
    if any(p.spread is not None for p in found):
        texts.append("thin: standard deviation over seeds")
    if len(best) > 1:
        texts.append("dashed: Pareto front")
    if any(p.theoretical is not None for p in found):
        texts.append("open: theoretical, if zero weights cost nothing")
    if any(p.limit for p in found):
        texts.append("some are limits")
    return "; ".join(texts)


def _latency(panel: Panel, request: Request) -> list[str]:
    """Say what makes latencies hard to compare."""
    if request.against != "latency":
        return []
    records = [record for row in panel.rows for record in row.ok]
    where = {
        (
            str(record.provenance.get("machine", {}).get("processor", "unknown processor")),
            int(record.provenance.get("threads", 1)),
        )
        for record in records
    }
    texts = [f"{processor}, {n} thread{'s' if n > 1 else ''}" for processor, n in sorted(where)]
    several = " (not comparable: measured on several)" if len(texts) > 1 else ""
    notes = [f"latency: {' and '.join(texts)}{several}; networks in ONNX Runtime"]
    if any(w.startswith("latency") for record in records for w in record.warnings):
        notes.append("some latencies were not steady while they were measured")
    return notes
