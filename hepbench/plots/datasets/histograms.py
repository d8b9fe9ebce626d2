"""Draw a grid of histograms by class, for one dataset or for its file and its bundled sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.plots import style
from hepbench.plots.datasets import distributions
from hepbench.specs.errors import UsageError
from hepbench.storage.records import ORIGINS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hepbench.plots.datasets.binning import Bins
    from hepbench.plots.datasets.distributions import Distribution
    from hepbench.plots.datasets.labelled_examples import LabelledExamples
    from hepbench.plots.style import Size
    from hepbench.specs.types import Array


STEEP = 300
"""A y axis is logarithmic if the highest bin exceeds the median bin by more than this factor."""


HEADROOM = 1.25
"""Upper end of a linear y axis, as a multiple of the highest bin."""


RATIO_RANGE = (0.4, 1.6)


POINTS: dict[str, Any] = {"fmt": "o", "markersize": 1.8, "linewidth": 0.6}


TOP_RIGHT: dict[str, Any] = {"ha": "right", "va": "top"}


def draw(
    several: Sequence[LabelledExamples], kind: str, size: Size
) -> tuple[list[Figure], list[str]]:
    """Draw histograms of each quantity in its own panel, for one or two sources of a dataset.

    Returns:
        As many figures as the panels need, and sentences for the caption.

    Raises:
        UsageError: no quantity has a value.
    """
    where = distributions.chosen(several, kind)
    counted = [distributions.count(shown, kind, where) for shown in several]
    quantities = list(zip(*counted, strict=True))
    drawn = [each for each in quantities if any((found.heights > 0).any() for found in each)]
    if not drawn:
        msg = f"{several[0].name}: nothing to draw: {kind} have no value"
        raise UsageError(msg)
    notes = _notes(kind, several)
    if empty := [each[0].name for each in quantities if each not in drawn]:
        notes.append(f"without any value, not drawn: {', '.join(empty)}")
    across = _across(len(drawn), size)
    height = sum(_heights(compared=len(several) > 1)) + style.ABOVE
    most = across * max(1, int((size.height - 0.7) / height))
    figures = [
        _figure([drawn[i] for i in places], several, kind, size)
        for places in style.chunks(len(drawn), most)
    ]
    return figures, notes


def _across(n: int, size: Size) -> int:
    """Return how many panels are side by side."""
    if size.width < 5:
        return min(n, 2)
    return 4 if n > 6 or n == 4 else min(n, 3)


def _heights(*, compared: bool) -> tuple[float, ...]:
    return (1.15, 0.45) if compared else (1.15,)


def _figure(
    drawn: Sequence[Sequence[Distribution]],
    several: Sequence[LabelledExamples],
    kind: str,
    size: Size,
) -> Figure:
    compared, across = len(several) > 1, _across(len(drawn), size)
    panels = style.grid(size, len(drawn), across=across, heights=_heights(compared=compared))
    ylabel = ""
    for i, (panel, mine) in enumerate(zip(panels, drawn, strict=True)):
        _draw_panel(panel[0], mine, several)
        if compared:
            _draw_ratios(panel[1], *mine, named=i % across == 0)
        letters = int((size.width / across - 0.3) * 72 / (style.LETTER * style.SMALL))
        name = "\n".join(style.wrap(mine[0].name.replace("_", " "), letters))
        panel[-1].set_xlabel(style.plain(name), fontsize=style.SMALL, labelpad=1)
        # a label is written at the start of each row and where it changes
        before, ylabel = ylabel, _ylabel(mine[0], kind)
        if i % across == 0 or ylabel != before:
            panel[0].set_ylabel(ylabel, fontsize=style.SMALL)
    figure: Any = panels[0][0].figure
    _draw_key(figure, [panel[0] for panel in panels])
    whole: Figure = figure
    return whole


def _draw_panel(
    axes: Axes, each: Sequence[Distribution], several: Sequence[LabelledExamples]
) -> None:
    spread = [_is_spread(found) for found in each]
    for found, shown, wide in zip(each, several, spread, strict=True):
        points = len(each) > 1 and shown.origin != "sample"
        if any(spread) and not wide:
            # its density would be huge in one narrow bin, and flatten the other source
            text = f"{shown.source_name}: all in one bin"
            axes.text(0.97, 0.95, text, fontsize=style.SMALL, **TOP_RIGHT, transform=axes.transAxes)
            continue
        for label, name in enumerate(shown.spec.classes):
            colour = style.colour(label)
            text = style.plain(f"{name}, {shown.source_name}" if len(each) > 1 else name)
            if points:
                _points(axes, found, label, colour, text)
            else:
                _steps(axes, found, label, colour, text)
    _draw_axes(axes, [f for f in each if _is_spread(f)] or each)


def _is_spread(found: Distribution) -> bool:
    """Return whether values lie in several bins, or each value has its own bin."""
    return found.bins.values is not None or bool(((found.heights > 0).any(axis=0)).sum() > 1)


def _draw_axes(axes: Axes, each: Sequence[Distribution]) -> None:
    """Set range, scale and ticks of a histogram's axes."""
    where = each[0].bins
    axes.set_xlim(where.edges[0], where.edges[-1])
    if where.values is not None:
        axes.set_xticks(where.edges[:-1] + 0.5, [f"{value:.3g}" for value in where.values])
        axes.tick_params(axis="x", which="minor", bottom=False, top=False)
    elif where.scale == "symlog":
        _symmetric(axes, where)
    elif where.scale == "linear":
        axes.locator_params(axis="x", nbins=4)
    else:
        style.logarithmic(axes.xaxis, where.edges[0], where.edges[-1])
    _draw_yaxis(axes, each)


def _draw_yaxis(axes: Axes, each: Sequence[Distribution]) -> None:
    """Set range and scale of a histogram's y axis."""
    heights = np.concatenate([_heights_to_draw(found)[0].ravel() for found in each])
    positive = heights[heights > 0]
    if not len(positive):
        return
    high = float(positive.max())
    if each[0].bins.scale != "linear" or not each[0].once or high > STEEP * np.median(positive):
        low = max(float(positive.min()), high * 1e-6)
        style.logarithmic(axes.yaxis, low / 2, high * 3)
    else:
        axes.set_ylim(0, HEADROOM * high)


def _symmetric(axes: Axes, where: Bins) -> None:
    """Make an x axis logarithmic on both sides of 0, with a few ticks."""
    inner, outer = where.edges[len(where.edges) // 2], where.edges[-1]
    axes.set_xscale("symlog", linthresh=inner, linscale=0.3)
    power = 10.0 ** np.floor(np.log10(outer))
    ticks = [-power, 0, power]
    axes.set_xticks(ticks, [style.short_number(tick) for tick in ticks])
    axes.tick_params(axis="x", which="minor", bottom=False, top=False)


def _heights_to_draw(found: Distribution) -> tuple[Array, Array]:
    """Return a histogram's heights and errors to draw: densities if the axis is linear."""
    scale = found.widths if found.bins.scale == "linear" else 1.0
    return found.heights / scale, found.errors / scale


def _ylabel(found: Distribution, kind: str) -> str:
    of = distributions.KINDS[kind].of
    if found.bins.values is not None:
        return "fraction" if found.once else f"{of} / example"
    if found.bins.scale != "linear":
        return "fraction / bin" if found.once else f"{of} / example / bin"
    return "density" if found.once else f"{of} / example / unit"


def _steps(axes: Axes, found: Distribution, label: int, colour: str, name: str) -> None:
    heights, errors = (each[label] for each in _heights_to_draw(found))
    edges = found.bins.edges
    # a class without any value gets no line, only its name in the legend
    heights = heights if (found.heights > 0).any() else np.full(len(heights), np.nan)
    low, high = heights - errors, heights + errors
    axes.stairs(high, edges, baseline=low, fill=True, color=colour, alpha=style.BAND, linewidth=0)
    axes.stairs(heights, edges, baseline=None, color=colour, linewidth=0.9, label=name)


def _points(axes: Axes, found: Distribution, label: int, colour: str, name: str) -> None:
    heights, errors = (each[label] for each in _heights_to_draw(found))
    known = heights > 0
    axes.errorbar(
        _centres(found)[known], heights[known], errors[known], color=colour, label=name, **POINTS
    )


def _centres(found: Distribution) -> Array:
    """Return the centres of a histogram's bins on the scale of its axis."""
    edges = found.bins.edges
    if found.bins.scale == "log":
        return np.sqrt(edges[1:] * edges[:-1])
    middles = (edges[1:] + edges[:-1]) / 2
    if found.bins.scale == "symlog":
        outside = edges[1:] * edges[:-1] > 0
        sign = np.sign(middles)
        middles = np.where(outside, sign * np.sqrt(np.abs(edges[1:] * edges[:-1])), middles)
    return middles


def _draw_ratios(axes: Axes, file: Distribution, sample: Distribution, *, named: bool) -> None:
    """Draw the ratio of a bundled sample to the original file, class by class."""
    ratios, errors = distributions.ratio(sample, file)
    low, high = RATIO_RANGE
    for label in range(len(ratios)):
        colour = style.colour(label)
        known = np.isfinite(ratios[label])
        centres = _centres(file)[known]
        values, bars = ratios[label][known], errors[label][known]
        axes.errorbar(centres, np.clip(values, 0, 9), bars, color=colour, **POINTS)
    axes.axhline(1, color=style.GREY, linewidth=0.8)
    axes.set_ylim(low, high)
    axes.set_ylabel("ratio" if named else "", loc="center", fontsize=style.SMALL)


def _draw_key(figure: Figure, panels: Sequence[Axes]) -> None:
    """Write the names of the classes below all panels."""
    # a panel leaves out a source whose values are all in one bin
    every = (axes.get_legend_handles_labels() for axes in panels)
    handles, names = max(every, key=lambda found: len(found[1]))
    if names:
        style.key(figure, handles, names)


def _notes(kind: str, several: Sequence[LabelledExamples]) -> list[str]:
    found = [f"{distributions.KINDS[kind].note}; first and last bin include values beyond the axis"]
    if len(several) > 1:
        file, sample = (ORIGINS[shown.origin] for shown in several)
        found.append(f"points: {file}; steps: {sample}; below: sample / file")
    return found
