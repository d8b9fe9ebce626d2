"""Draw a metric against the number of training examples or of labels, a line for each model and chain.

Rows are joined that differ in ``training_size`` or ``label_fraction`` only.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.plots import selection, style
from hepbench.plots.sheets import Sheet
from hepbench.specs.errors import UsageError
from hepbench.tables import label_efficiency, sized_rows
from hepbench.tables.columns import Columns, title
from hepbench.tables.rows import collect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from hepbench.plots.request import Request
    from hepbench.plots.style import Look, Size
    from hepbench.specs.types import Array
    from hepbench.tables.rows import Row
    from hepbench.tables.sized_rows import Axis, Setting


FEWEST = 2
"""Numbers of examples that a line needs."""


MOST = 8
"""Largest number of lines in a figure; more go into further files."""


APART = 0.03
"""The part of a number of examples by which the points of two lines are shifted, so that both are seen."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel: a dataset, and lines of rows that differ in one axis only.

    Attributes:
        axis: the parameter in which the rows of a line differ.
        dataset: with its other parameters.
        names: of the lines; those that must not be compared with the others end in a dagger.
        lines: their rows, fewest examples first; the line with the best last row comes first.
        notes: on lines that must not be compared.
    """

    axis: Axis
    dataset: str
    names: list[str]
    lines: list[list[Row]]
    notes: list[str]

    @property
    def rows(self) -> list[Row]:
        """The rows of all lines."""
        return [row for line in self.lines for row in line]


def panels(rows: Sequence[Row], metric: str, columns: Columns) -> list[Panel]:
    """Return a panel for each dataset and axis along which rows with a value differ.

    Args:
        rows: with averages of the metric.
        metric: that is drawn.
        columns: its direction, and what must be equal to compare its values.
    """
    known = [row for row in rows if row.averages[metric].value is not None]
    found: dict[tuple[Axis, str, str], list[list[Row]]] = defaultdict(list)
    for axis in sized_rows.AXES:
        for setting, line in sized_rows.series(known, axis).items():
            if len(sized_rows.numbers(line)) >= FEWEST:
                found[_place(axis, setting)].append(line)
    return [_panel(*place[:2], lines, metric, columns) for place, lines in found.items()]


def _place(axis: Axis, setting: Setting) -> tuple[Axis, str, str]:
    return axis, setting.dataset, setting.params


def _panel(
    axis: Axis, dataset: str, lines: list[list[Row]], metric: str, columns: Columns
) -> Panel:
    sign = -1 if columns.direction(metric) else 1
    lines = sorted(lines, key=lambda line: sign * _value(line[-1], metric))
    names, _ = selection.names([line[0] for line in lines])
    rows = [row for line in lines for row in line]
    places = [i for i, line in enumerate(lines) for _ in line]
    notes = []
    for row, why in selection.incomparable(rows, columns).items():
        name = names[places[row]]
        names[places[row]] = _bare(name) + selection.DAGGER
        notes.append(f"{names[places[row]]} must not be compared with the others: {why}")
    return Panel(axis=axis, dataset=dataset, names=names, lines=lines, notes=notes)


def draw(request: Request) -> list[Sheet]:
    """Draw a metric against the number of examples, a figure for each dataset and axis."""
    metric = request.error
    columns = Columns(group="dataset", labels=(), names=(metric,), metrics=request.metrics)
    rows = collect(selection.chosen(request), columns=[metric])
    if request.count_labels and columns.direction(metric) is not None:
        rows = label_efficiency.fill(rows, metric, request.count_labels)
    found = panels(rows, metric, columns)
    if not found:
        msg = (
            "nothing to draw: no rows with a value differ in training_size or label_fraction only; "
            "a suite has such rows with training_sizes = [...] or label_fractions = [...]"
        )
        raise UsageError(msg)
    looks = line_looks(found)
    return [
        _sheet(panel, places, looks, request, metric)
        for panel in found
        for places in style.chunks(len(panel.lines), MOST)
    ]


def line_looks(found: Sequence[Panel]) -> dict[str, Look]:
    """Return the look of each line by its name, the same in all panels."""
    names = dict.fromkeys(_bare(name) for panel in found for name in panel.names)
    return {
        name: style.Look(style.colour(i), "-", style.MARKERS[i % len(style.MARKERS)])
        for i, name in enumerate(names)
    }


def _bare(name: str) -> str:
    return name.removesuffix(selection.DAGGER)


def _sheet(
    panel: Panel,
    places: Sequence[int],
    looks: Mapping[str, Look],
    request: Request,
    metric: str,
) -> Sheet:
    size = request.sized("column")
    some = replace(
        panel,
        names=[panel.names[i] for i in places],
        lines=[panel.lines[i] for i in places],
    )
    mine = [looks[_bare(name)] for name in some.names]
    ((axes,),) = style.grid(size, 1, across=1, heights=(2.6,))
    middle = (len(some.lines) - 1) / 2
    for i, (line, look) in enumerate(zip(some.lines, mine, strict=True)):
        _draw_line(axes, line, metric, look, shift=1 + APART * (i - middle))
    _scale(axes, some, metric)
    figure: Any = axes.figure
    chain = selection.names([line[0] for line in some.lines])[1]
    about = [selection.source_of(some.rows), chain, selection.sizes(some.rows)]
    text = ", ".join(filter(None, about))
    style.heading(figure, panel.dataset, text)
    figure.draw_without_rendering()
    _label_lines(axes, some, metric, size, [look.colour for look in mine])
    axis = sized_rows.AXES[panel.axis]
    preset = panel.lines[0][0].labels.preset
    notes = [text, _explanation(some, preset, metric), *dict.fromkeys(panel.notes)]
    title_ = f"{title(metric)} against {axis}, {panel.dataset}"
    return Sheet(figure, title_, f"{panel.dataset}-{panel.axis}", notes)


def _draw_line(axes: Axes, line: Sequence[Row], metric: str, look: Look, *, shift: float) -> None:
    """Draw the points of a line with both errors, a thick bar and a thin one."""
    x = [sized_rows.number(row) * shift for row in line]
    y = [_value(row, metric) for row in line]
    how: dict[str, Any] = {"fmt": "none", "ecolor": look.colour}
    for row, number, value in zip(line, x, y, strict=True):
        average = row.averages[metric]
        thin: dict[str, Any] = {"elinewidth": 0.7, "capsize": 1.5}
        axes.errorbar(number, value, average.spread, **how, **thin)
        axes.errorbar(number, value, average.stderr, **how, elinewidth=2.2, alpha=0.3)
    axes.plot(x, y, marker=look.marker, color=look.colour, linestyle=look.dashes)
    for row, number, value in zip(line, x, y, strict=True):
        if row.averages[metric].limit:
            axes.plot(number, value, look.marker, color=look.colour, mfc="white")


def _value(row: Row, metric: str) -> float:
    """Return the mean of a metric over the seeds of a row that has one."""
    value = row.averages[metric].value
    assert value is not None
    return value


def _scale(axes: Axes, panel: Panel, metric: str) -> None:
    """Make the axis of numbers logarithmic, with a tick at each number of examples."""
    numbers = sized_rows.numbers(panel.rows)
    axes.set_xscale("log")
    axes.set_xlim(numbers[0] / 1.25, numbers[-1] * 1.25)
    axes.set_xticks(_ticks(numbers), [f"{n:,}" for n in _ticks(numbers)])
    axes.set_xticks([], minor=True)
    axes.margins(y=0.06)
    axes.set_xlabel(sized_rows.AXES[panel.axis])
    axes.set_ylabel(title(metric))


def _ticks(numbers: Sequence[int]) -> list[int]:
    """Return the numbers of examples that have a tick, without those too near to the one before."""
    kept = numbers[:1]
    room = (numbers[-1] / numbers[0]) ** 0.09
    for n in numbers[1:]:
        if n >= kept[-1] * room:
            kept = [*kept, n]
    return list(kept)


def _label_lines(axes: Axes, panel: Panel, metric: str, size: Size, colours: Sequence[str]) -> None:
    """Write the name of each line at its right end, apart from other names."""
    letters = size.letters // 3
    lines = zip(panel.names, panel.lines, strict=True)
    texts = [line_label(name, line, letters) for name, line in lines]
    low, high = axes.get_ylim()
    inches = axes.get_position().height * axes.figure.bbox.height / axes.figure.dpi
    line_height = (high - low) * 1.3 * style.SMALL / 72 / inches
    heights = np.array([text.count("\n") + 1.4 for text in texts]) * line_height
    ends = np.array([_value(line[-1], metric) for line in panel.lines])
    places = apart(ends, heights, highest=high)
    for text, end, place, colour in zip(texts, ends, places, colours, strict=True):
        axes.annotate(
            style.plain(text),
            (1.0, end),
            (1.05, place),
            xycoords=axes.get_yaxis_transform(),
            textcoords=axes.get_yaxis_transform(),
            color=colour,
            va="center",
            fontsize=style.SMALL,
            annotation_clip=False,
            # from the left end of the text
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "relpos": (0, 0.5)},
        )


def apart(places: Array, heights: Array, *, highest: float) -> Array:
    """Return places of texts that do not overlap, as near to the given ones as possible.

    Args:
        places: (N,) where the middles of the texts should be.
        heights: (N,) of the texts.
        highest: the top of the highest text, at most.
    """
    from scipy.optimize import isotonic_regression

    order = np.argsort(places, kind="stable")
    tall = heights[order]
    steps = np.cumsum(tall) - tall / 2
    found = np.empty(len(places))
    free = isotonic_regression(places[order] - steps).x.clip(max=highest - tall.sum())
    found[order] = free + steps
    return found


def line_label(name: str, line: Sequence[Row], letters: int = 44) -> str:
    """Return the label of a line: its name, and the label efficiency of its first row.

    Args:
        name: of the line.
        line: its rows.
        letters: largest number of letters in a line of text.
    """
    lines = style.wrap(name, letters)
    if found := line[0].labels_from_scratch:
        efficiency = f"{sized_rows.number(line[0]):,} labels: as {found.text} from scratch"
        lines += style.wrap(efficiency, letters)
    return "\n".join(lines)


def _explanation(panel: Panel, preset: str, metric: str) -> str:
    """Return a note that explains bars, markers and labels."""
    texts = [f"preset {preset}", "bars, thick: statistical error of the test sample"]
    if any(len(row.ok) > 1 for row in panel.rows):
        drawn = "training examples" if panel.axis == "training_size" else "labels"
        texts.append(f"thin: standard deviation over seeds, each with another draw of {drawn}")
    if any(row.averages[metric].limit for row in panel.rows):
        texts.append("open markers: lower limits")
    if any(line[0].labels_from_scratch for line in panel.lines):
        texts.append(
            "as ... from scratch: labels that give a training from scratch the same value, with a "
            "68 % interval"
        )
    return "; ".join(texts)
