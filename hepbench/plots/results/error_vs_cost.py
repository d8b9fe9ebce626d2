"""Draw a metric's error against cost: a point for each table row, and the Pareto front.

The colour of a point shows its chain, its marker the model. Rows that differ in one parameter of
their last step are joined by a line. Rows without a cost, such as estimators, are at the margin.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.plots import direct_labels, selection, style
from hepbench.plots.direct_labels import Label
from hepbench.plots.results import pareto
from hepbench.plots.results.pareto import COSTS
from hepbench.plots.sheets import Sheet
from hepbench.specs.errors import UsageError
from hepbench.specs.references import chain
from hepbench.specs.text import one_line
from hepbench.tables import latencies
from hepbench.tables.columns import title

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes

    from hepbench.plots.request import Request
    from hepbench.plots.results.pareto import Axis, Point
    from hepbench.plots.selection import Panel
    from hepbench.specs.types import Array
    from hepbench.tables.rows import Row


MOST = 40
"""Largest number of rows in a figure; more go into further files."""


HEIGHT = 2.7
"""Height of the axes in inches."""


FRONTS = ((0, (4, 2)), (0, (1, 1.5)), (0, (7, 2, 1, 2)), (0, (10, 3)))
"""Line styles of the Pareto fronts, one for each machine."""


MARGIN = 0.13
"""Width of the margin for rows without a cost, as a fraction of the other axes."""


APART = 4.5
"""Points closer than this many typographic points are drawn side by side."""


def draw(request: Request) -> list[Sheet]:
    """Draw error against cost, a figure for each dataset.

    Raises:
        UsageError: no row has a value of both the metric and the cost.
    """
    column = pareto.column(request.against)
    columns = dict.fromkeys([request.error, column, "macs", "theoretical_macs"])
    panels = selection.panels(request, *columns, why_not=_why_not(request.error))
    plots = [
        Plot(panel, [panel.rows[i] for i in places], [panel.names[i] for i in places], request)
        for panel in panels
        for places in style.chunks(len(panel.rows), MOST)
    ]
    if not (
        drawn := [plot for plot in plots if any(p.x is not None for p in plot.points.values())]
    ):
        where = " in ONNX Runtime" if column == "latency" else ""
        msg = f"nothing to draw: {title(column)} was not measured{where} for any row"
        raise UsageError(msg)
    return [_sheet(plot) for plot in drawn]


def _why_not(error: str) -> Callable[[Row], str]:
    """Return a function that says why a row's point cannot be drawn, or ""."""

    def why(row: Row) -> str:
        return f"{title(error)} has no value" if row.averages[error].value is None else ""

    return why


@dataclass(frozen=True)
class Plot:
    """What one figure of error against cost shows.

    Attributes:
        panel: the dataset.
        rows, names: of the panel, those that are drawn.
        request: the axes that the user asked for.
    """

    panel: Panel
    rows: Sequence[Row]
    names: Sequence[str]
    request: Request

    @cached_property
    def y(self) -> Axis:
        """The y axis."""
        return pareto.axis(self.request.error, self.rows, self.request.metrics)

    @cached_property
    def points(self) -> dict[int, Point]:
        """The point of each row, by index."""
        found = pareto.points(self.rows, self.y, self.request.against)
        return {point.row: point for point in found}

    @cached_property
    def curves(self) -> list[list[int]]:
        """Indices of the rows of each curve."""
        return pareto.curves(self.rows, self.request.against)

    @cached_property
    def families(self) -> list[str]:
        """The methods of each row's chain, without their parameters."""
        return ["+".join(step.name for step in chain(row.labels.chain)) for row in self.rows]

    @cached_property
    def models(self) -> list[str]:
        """The model of each row."""
        return [one_line(row.labels.model) for row in self.rows]

    @cached_property
    def looks(self) -> list[style.Look]:
        """Colour and marker of each row; if all have one chain, colours show the models too."""
        families, models = (list(dict.fromkeys(each)) for each in (self.families, self.models))
        shown, order = (self.families, families) if len(families) > 1 else (self.models, models)
        return [
            style.Look(
                style.colour(order.index(shown[i])),
                "-",
                style.MARKERS[models.index(self.models[i]) % len(style.MARKERS)],
            )
            for i in range(len(self.rows))
        ]

    @cached_property
    def machines(self) -> dict[str, str]:
        """A short name, such as ``machine 1``, for each machine of the rows."""
        each = {m for row in self.rows for m in pareto.machines(row, self.request.against)}
        return {machine: f"machine {i + 1}" for i, machine in enumerate(sorted(each))}


def _sheet(plot: Plot) -> Sheet:
    size, against = plot.request.sized("column"), plot.request.against
    axes, margin = _axes(plot, size)
    figure: Any = axes.figure
    style.heading(figure, plot.panel.title, plot.panel.header)
    fronts = _draw_fronts(axes, plot)
    _draw_key(figure, plot, fronts)
    # the positions of points in the figure are needed from here on
    figure.draw_without_rendering()
    places = _places(axes, margin, plot)
    for curve in plot.curves:
        _draw_curve(axes, margin, plot, curve, places)
    sources = _draw_published(axes, plot)
    drawn = [_outline(plot.points[i], place[0]) for i, place in places.items()]
    joined = [np.concatenate([places[i] for i in curve]) for curve in plot.curves]
    drawn += [*joined, *(np.asarray(line.get_xydata()) for line in fronts.values())]
    order = {row: i for i, row in enumerate(places)}
    found = [label for curve in plot.curves for label in _labels(plot, curve, places, order)]
    here = [each for each in found if plot.points[_row_of(each, order)].x is not None]
    # those that name a row or a curve first
    missing = direct_labels.write(axes, sorted(here, key=lambda each: -each.farthest), drawn)
    notes = [plot.panel.caption, _explanation(plot, len(fronts)), *sources]
    unnamed = [label.text for label in missing if label.farthest > direct_labels.NEARBY]
    notes += [f"there is no room for the label {text}" for text in unnamed]
    notes += [*_latency_notes(plot), *plot.panel.notes]
    cost = COSTS[against][1] if against in COSTS else title(against)
    return Sheet(
        figure, f"{plot.y.label} against {cost}, {plot.panel.title}", plot.panel.title, notes
    )


def _outline(point: Point, place: Array) -> Array:
    """Return points (n, 2) on the error bars of a row, and on the line to its theoretical FLOPs."""
    x, y = place
    error = float(np.hypot(point.stderr or 0.0, point.spread or 0.0))
    ends = [(x, y - error), (x, y), (x, y + error), (x, y)]
    if point.x_spread:
        ends += [(x - point.x_spread, y), (x + point.x_spread, y), (x, y)]
    return np.array([*ends, *([(point.theoretical, y)] if point.theoretical else [])])


def _row_of(label: Label, order: Mapping[int, int]) -> int:
    return next(row for row, i in order.items() if i == label.owner)


def _axes(plot: Plot, size: style.Size) -> tuple[Axes, Axes | None]:
    """Return scaled axes, and those of the margin if rows have no cost."""
    without = any(point.x is None for point in plot.points.values())
    figure = style.blank(size, HEIGHT)
    ratios = (1, MARGIN) if without else (1,)
    axes, *others = figure.subplots(
        1, len(ratios), sharey=True, squeeze=False, width_ratios=ratios
    )[0]
    _scale(axes, plot)
    for margin in others:
        margin.set(xlim=(0, 1))
        column = pareto.column(plot.request.against)
        margin.set_xticks([0.5], [f"no\n{title(column)}"])
        margin.tick_params(axis="x", which="both", length=0)
        margin.tick_params(axis="y", which="both", left=False, labelleft=False)
    return axes, others[0] if others else None


def _scale(axes: Axes, plot: Plot) -> None:
    """Set scales, ranges and labels of the axes; logarithmic if all numbers are positive."""
    found = list(plot.points.values())
    xs = [x for p in found for x in (p.x, p.theoretical) if x is not None]
    errors = [np.hypot(p.stderr or 0.0, p.spread or 0.0) for p in found]
    ys = [p.y + sign * e for p, e in zip(found, errors, strict=True) for sign in (-1, 1)]
    _range(axes.xaxis, xs, 0.12, least=1.4)
    known = (row.published.metrics for row in plot.rows if row.published)
    ys += [plot.y.of(each[plot.y.name]) for each in known if plot.y.name in each]
    _range(axes.yaxis, [*ys, *(p.y for p in found)], 0.1, least=1.03)
    against = plot.request.against
    axes.set_xlabel(COSTS[against][1] if against in COSTS else title(against))
    axes.set_ylabel(plot.y.label)


def _range(axis: Any, values: Sequence[float], room: float, *, least: float) -> None:
    """Set the range of an axis to hold all values, on a logarithmic scale if possible.

    Args:
        axis: an axis of matplotlib.
        values: all that is drawn.
        room: beyond each end, as a fraction of the range.
        least: the smallest room on a logarithmic scale, as a factor.
    """
    low, high = min(values), max(values)
    if low > 0:
        factor = max((high / low) ** room, least)
        style.logarithmic(axis, low / factor, high * factor)
    else:
        more = room * (high - low or 1.0)
        getattr(axis.axes, f"set_{axis.axis_name}lim")(low - more, high + more)


def _draw_fronts(axes: Axes, plot: Plot) -> dict[tuple[str, ...], Any]:
    """Draw the Pareto front of each machine, if it has several points; return the lines."""
    against = plot.request.against
    if against not in COSTS:
        return {}
    comparable = [p for i, p in plot.points.items() if selection.DAGGER not in plot.names[i]]
    found = pareto.fronts(comparable, plot.rows, lower=plot.y.lower, against=against)
    several = {where: best for where, best in found.items() if len(best) > 1}
    drawn = {}
    for i, (where, best) in enumerate(several.items()):
        how: dict[str, Any] = {"color": style.GREY, "linewidth": 0.8, "zorder": 0}
        how["linestyle"] = FRONTS[i % len(FRONTS)]
        line = np.array([(p.x, p.y) for p in best])
        (drawn[where],) = axes.step(*line.T, where="post", **how)
    return drawn


def _draw_key(figure: Any, plot: Plot, fronts: Mapping[tuple[str, ...], Any]) -> None:
    """Write below the axes which colour is which chain, and which marker which model."""
    from matplotlib.lines import Line2D

    entries: dict[str, Any] = {}
    families, models = dict.fromkeys(plot.families), dict.fromkeys(plot.models)
    for name in families if len(families) > 1 else ():
        look = plot.looks[plot.families.index(name)]
        entries[one_line(name)] = Line2D([], [], color=look.colour, linewidth=3.5)
    for name in models if len(models) > 1 else ():
        look = plot.looks[plot.models.index(name)]
        colour = "black" if len(families) > 1 else look.colour
        entries[name] = Line2D([], [], color=colour, marker=look.marker, linestyle="none")
    for where, line in fronts.items():
        machine = f", {plot.machines[where[0]]}" if len(plot.machines) > 1 else ""
        entries[f"Pareto front{machine}"] = line
    if entries:
        style.key(figure, list(entries.values()), list(entries))


def _places(axes: Axes, margin: Axes | None, plot: Plot) -> dict[int, Array]:
    """Return where each row's point is drawn, (1, 2) in units of the data.

    Points that coincide are moved sideways, so that all can be seen; those without a cost are in
    the margin.
    """
    found: dict[int, Array] = {}
    for where, rows in (
        (axes, [i for i, p in plot.points.items() if p.x is not None]),
        (margin, [i for i, p in plot.points.items() if p.x is None]),
    ):
        if where is None or not rows:
            continue
        pixels = axes.figure.dpi / 72
        data = [(0.5 if (p := plot.points[i]).x is None else p.x, p.y) for i in rows]
        points = side_by_side(where.transData.transform(np.array(data, float)) / pixels)
        back = where.transData.inverted().transform(points * pixels)
        found |= {i: place[None] for i, place in zip(rows, back, strict=True)}
    return found


def side_by_side(points: Array) -> Array:
    """Move points (n, 2) that coincide sideways, symmetrically, so that they are APART."""
    moved = np.array(points, float)
    groups: list[list[int]] = []
    for i, point in enumerate(points):
        near = [g for g in groups if np.hypot(*(points[g] - point).T).min() < APART]
        merged = [i, *(j for g in near for j in g)]
        groups = [g for g in groups if g not in near] + [sorted(merged)]
    for group in groups:
        middle = points[group, 0].mean()
        order = sorted(group, key=lambda i: (points[i, 0], i))
        if len(group) > 1:
            moved[order, 0] = middle + APART * (np.arange(len(group)) - (len(group) - 1) / 2)
    return moved


def _draw_curve(
    axes: Axes, margin: Axes | None, plot: Plot, rows: Sequence[int], places: Mapping[int, Array]
) -> None:
    """Draw the points of a curve with their errors, and the line that joins them."""
    look = plot.looks[rows[0]]
    known = [i for i in rows if plot.points[i].x is not None]
    if len(known) > 1:
        line = np.concatenate([places[i] for i in known])
        axes.plot(*line.T, color=look.colour, linewidth=0.9, alpha=0.7)
    for i in rows:
        where = axes if i in known else margin
        if where is not None:
            _draw_point(where, plot.points[i], places[i][0], plot.looks[i])


def _draw_point(axes: Axes, point: Point, place: Array, look: style.Look) -> None:
    x, y = place
    how: dict[str, Any] = {"fmt": "none", "ecolor": look.colour}
    axes.errorbar(x, y, point.spread, point.x_spread, elinewidth=0.7, capsize=1.5, **how)
    axes.errorbar(x, y, point.stderr, elinewidth=2.2, alpha=0.3, **how)
    if point.theoretical is not None and point.x is not None:
        axes.plot([x, point.theoretical], [y, y], color=look.colour, linewidth=0.6, linestyle=":")
        axes.plot(point.theoretical, y, look.marker, mfc="white", mec=look.colour)
    axes.plot(x, y, look.marker, color=look.colour, mec="white", mew=0.4, markersize=4.5, zorder=3)


def _labels(
    plot: Plot, rows: Sequence[int], places: Mapping[int, Array], order: Mapping[int, int]
) -> list[Label]:
    """Return labels for the points of a curve: what neither colour nor marker shows."""
    varied = pareto.parameter([plot.rows[i] for i in rows]) if len(rows) > 1 else ""
    found = []
    for place, i in enumerate(rows):
        text = _distinction(plot, i)
        if varied and place:
            text = str(pareto.last_step_params(plot.rows[i]).get(varied))
        if place == 0 and _is_best_of_model(plot, i):
            text = f"{plot.models[i]} {text}".strip()
        where = pareto.machines(plot.rows[i], plot.request.against)
        if text and len(plot.machines) > 1:
            text += f", {' and '.join(plot.machines[each] for each in where)}"
        dagger = selection.DAGGER if selection.DAGGER in plot.names[i] else ""
        if text or dagger:
            far = direct_labels.NEARBY if place else direct_labels.DISTANCES[-1]
            found.append(Label(text + dagger, plot.looks[i].colour, places[i], order[i], far))
    return found


def _distinction(plot: Plot, row: int) -> str:
    """Return the parameters that tell a row from others with its model and methods, or ""."""
    alike = [
        i
        for i in range(len(plot.rows))
        if (plot.models[i], plot.families[i]) == (plot.models[row], plot.families[row])
    ]
    if len(alike) == 1:
        return ""
    params = [
        {(step.name, *pair) for step in chain(plot.rows[i].labels.chain) for pair in _pairs(step)}
        for i in alike
    ]
    common = set.intersection(*params)
    mine = params[alike.index(row)] - common
    return ",".join(f"{name}={value}" for _, name, value in sorted(mine))


def _pairs(step: Any) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in step.params.items()]


def _is_best_of_model(plot: Plot, row: int) -> bool:
    """Whether a row is the first of its model, if there are several models."""
    return len(Counter(plot.models)) > 1 and plot.models.index(plot.models[row]) == row


def _draw_published(axes: Axes, plot: Plot) -> list[str]:
    """Draw the published values of rows; return sentences with their sources."""
    names: dict[str, list[str]] = defaultdict(list)
    for i, row in enumerate(plot.rows):
        published = row.published
        if published is None or plot.y.name not in published.metrics:
            continue
        x = published.metrics.get(pareto.column(plot.request.against))
        value = plot.y.of(published.metrics[plot.y.name])
        _draw_diamond(axes, x, value, plot.looks[i].colour)
        no_cost = "" if x is not None else ", cost not published: at the margin"
        caveat = f"; {published.caveat}" if published.caveat else ""
        names[f"{published.source}{no_cost}{caveat}"].append(plot.names[i])
    return [
        f"open diamond: published for {'; '.join(each)}: {source}" for source, each in names.items()
    ]


def _draw_diamond(axes: Axes, x: float | None, value: float, colour: str) -> None:
    """Draw a published value as a diamond, at the right margin if its cost was not published."""
    how: dict[str, Any] = {"marker": "d", "mfc": "white", "mec": colour, "linestyle": "none"}
    where = axes.get_yaxis_transform() if x is None else axes.transData
    axes.plot(0.97 if x is None else x, value, **how, markersize=5, transform=where)


def _explanation(plot: Plot, fronts: int) -> str:
    """Return a sentence that explains error bars, markers and Pareto fronts."""
    found = list(plot.points.values())
    texts = ["bars, thick: statistical error of the test sample"]
    if any(p.spread is not None for p in found):
        texts.append("thin: standard deviation over seeds")
    if fronts:
        several = fronts > 1
        texts.append("grey: Pareto front of each machine" if several else "dashed: Pareto front")
    if any(p.theoretical is not None for p in found):
        texts.append("open markers: theoretical FLOPs, if zero weights cost nothing")
    if any(p.x is None for p in found):
        texts.append("right margin: rows whose cost was not measured")
    if limits := [plot.names[i] for i, point in plot.points.items() if point.limit]:
        texts.append(f"limits: {', '.join(limits)}")
    texts.append("points that coincide are drawn side by side")
    return "; ".join(texts)


def _latency_notes(plot: Plot) -> list[str]:
    """Return sentences on the machines on which latencies were measured."""
    against = plot.request.against
    if against != "latency":
        return []
    several = len(plot.machines) > 1
    named = plot.machines.items()
    where = "; ".join(f"{name}: {each}" if several else each for each, name in named)
    apart = "; latencies of different machines are not compared" if several else ""
    notes = [f"latency: {where}; in ONNX Runtime{apart}"]
    notes += [
        f"{name}: its seeds ran on several machines, so it is on no Pareto front"
        for name, row in zip(plot.names, plot.rows, strict=True)
        if len(pareto.machines(row, against)) > 1
    ]
    if any(latencies.doubts(row, against) for row in plot.rows):
        notes.append("some latencies are in doubt: see the notes of the table")
    return notes
