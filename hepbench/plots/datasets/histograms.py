"""Histograms by class in a grid: of one dataset, or of its files over its simulated sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.plots import style
from hepbench.plots.datasets import distributions
from hepbench.storage.records import ORIGINS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hepbench.plots.datasets.binning import Bins
    from hepbench.plots.datasets.distributions import Distribution
    from hepbench.plots.datasets.labelled import Labelled
    from hepbench.specs.types import Array


STEEP = 300
"""Where the highest bin is so many times the median one, a logarithmic axis shows more."""


ROOM = 1.25
"""Of a linear axis above the highest bin."""


WIDE = 7.2
"""Inches of a figure at least: title and legend stand side by side."""


RATIOS = (0.4, 1.6)


def draw(several: Sequence[Labelled], kind: str) -> tuple[Figure, list[str]]:
    """Draw every quantity of a kind in a panel of its own; of a file and its sample, with their
    ratio below. Return what must be said below the figure.
    """
    where = distributions.chosen(several, kind)
    counted = [distributions.count(shown, kind, where) for shown in several]
    n, compared = len(where), len(several) > 1
    across = 4 if n > 6 or n == 4 else min(n, 3)
    width = max(2.75, WIDE / across)
    tall = 2.0 if n > 3 else 2.8
    heights = [tall, 0.375 * tall] if compared else [tall]
    figure, panels = style.grid(n, across=across, width=width, heights=heights)
    labels = ""
    for i, (panel, *mine) in enumerate(zip(panels, *counted, strict=True)):
        _draw_panel(panel[0], mine, several)
        if compared:
            _draw_ratios(panel[1], *mine)
        panel[-1].set_xlabel(style.plain(mine[0].name), fontsize="small", labelpad=1)
        # said once in a row, and again where it is another
        before, labels = labels, _ylabel(mine[0], kind)
        if i % across == 0 or labels != before:
            panel[0].set_ylabel(labels, fontsize="x-small")
        for axes in panel:
            axes.tick_params(labelsize="x-small", which="both")
    _legend(figure, [panel[0] for panel in panels])
    return figure, _notes(kind, several)


def _draw_panel(axes: Axes, each: Sequence[Distribution], several: Sequence[Labelled]) -> None:
    if not any((found.heights > 0).any() for found in each):
        middle: dict[str, Any] = {"ha": "center", "va": "center", "transform": axes.transAxes}
        axes.text(0.5, 0.5, "none", fontsize="small", **middle)
    spread = [_is_spread(found) for found in each]
    for found, shown, wide in zip(each, several, spread, strict=True):
        points = len(each) > 1 and shown.origin != "sample"
        if any(spread) and not wide:
            # a density in one bin would be as high as the bin is narrow: it is the others' scale
            text = f"{shown.source_name}: all in one bin"
            axes.text(0.97, 0.95, text, fontsize="xx-small", **_CORNER, transform=axes.transAxes)
            continue
        for label, name in enumerate(shown.spec.classes):
            colour = style.COLOURS[label % len(style.COLOURS)]
            text = style.plain(f"{name}, {shown.source_name}" if len(each) > 1 else name)
            if points:
                _points(axes, found, label, colour, text)
            else:
                _steps(axes, found, label, colour, text)
    _draw_axes(axes, [f for f in each if _is_spread(f)] or each)


_CORNER: dict[str, Any] = {"ha": "right", "va": "top"}


def _is_spread(found: Distribution) -> bool:
    """Whether values are in more than one bin, or are told apart anyway."""
    return found.bins.values is not None or bool(((found.heights > 0).any(axis=0)).sum() > 1)


def _draw_axes(axes: Axes, each: Sequence[Distribution]) -> None:
    """Set what both axes show."""
    where = each[0].bins
    axes.set_xlim(where.edges[0], where.edges[-1])
    if where.values is not None:
        axes.set_xticks(where.edges[:-1] + 0.5, [f"{value:.3g}" for value in where.values])
        axes.tick_params(axis="x", which="minor", bottom=False, top=False)
    elif where.scale == "symlog":
        _symmetric(axes, where)
    elif where.scale == "linear":
        axes.locator_params(axis="x", nbins=6)
    else:
        axes.set_xscale(where.scale)
    heights = np.concatenate([_drawn(found)[0].ravel() for found in each])
    positive = heights[heights > 0]
    if not len(positive):
        return
    high = float(positive.max())
    if where.scale != "linear" or not each[0].once or high > STEEP * np.median(positive):
        low = max(float(positive.min()), high * 1e-6)
        axes.set(yscale="log", ylim=(low / 2, high * 3))
    else:
        axes.set_ylim(0, ROOM * high)


def _symmetric(axes: Axes, where: Bins) -> None:
    """Show sizes on a logarithmic axis to both sides of 0, with a few ticks."""
    inner, outer = where.edges[len(where.edges) // 2], where.edges[-1]
    axes.set_xscale("symlog", linthresh=inner, linscale=0.3)
    powers = np.arange(np.ceil(np.log10(inner)), np.floor(np.log10(outer)) + 1)
    ticks = 10.0 ** powers[:: -max(1, len(powers) // 2)]
    axes.set_xticks([*-ticks, 0, *ticks])
    axes.tick_params(axis="x", which="minor", bottom=False, top=False)


def _drawn(found: Distribution) -> tuple[Array, Array]:
    """Return heights and errors as they are drawn: densities, where bins are in even distances."""
    scale = found.widths if found.bins.scale == "linear" else 1.0
    return found.heights / scale, found.errors / scale


def _ylabel(found: Distribution, kind: str) -> str:
    of = distributions.KINDS[kind].of
    if found.bins.values is not None:
        return "share" if found.once else f"{of} / example"
    if found.bins.scale != "linear":
        return "share / bin" if found.once else f"{of} / example / bin"
    return "density" if found.once else f"{of} / example / unit"


def _steps(axes: Axes, found: Distribution, label: int, colour: str, name: str) -> None:
    heights, errors = (each[label] for each in _drawn(found))
    edges = found.bins.edges
    # where there is nothing at all a line at 0 would be a value; its name is for the legend
    heights = heights if (found.heights > 0).any() else np.full(len(heights), np.nan)
    low, high = heights - errors, heights + errors
    axes.stairs(high, edges, baseline=low, fill=True, color=colour, alpha=style.BAND, linewidth=0)
    axes.stairs(heights, edges, baseline=None, color=colour, linewidth=1.2, label=name)


def _points(axes: Axes, found: Distribution, label: int, colour: str, name: str) -> None:
    heights, errors = (each[label] for each in _drawn(found))
    known = heights > 0
    axes.errorbar(
        _centres(found)[known], heights[known], errors[known], color=colour, label=name, **POINTS
    )


POINTS: dict[str, Any] = {"fmt": "o", "markersize": 2.2, "linewidth": 0.8}


def _centres(found: Distribution) -> Array:
    """Return the middles of the bins, as they are seen on the axis."""
    edges = found.bins.edges
    if found.bins.scale == "log":
        return np.sqrt(edges[1:] * edges[:-1])
    middles = (edges[1:] + edges[:-1]) / 2
    if found.bins.scale == "symlog":
        outside = edges[1:] * edges[:-1] > 0
        sign = np.sign(middles)
        middles = np.where(outside, sign * np.sqrt(np.abs(edges[1:] * edges[:-1])), middles)
    return middles


def _draw_ratios(axes: Axes, file: Distribution, sample: Distribution) -> None:
    """Draw the sample over the file, class by class."""
    ratios, errors = distributions.ratio(sample, file)
    low, high = RATIOS
    for label in range(len(ratios)):
        colour = style.COLOURS[label % len(style.COLOURS)]
        known = np.isfinite(ratios[label])
        centres = _centres(file)[known]
        values, bars = ratios[label][known], errors[label][known]
        axes.errorbar(centres, np.clip(values, 0, 9), bars, color=colour, **POINTS)
    axes.axhline(1, color=style.GREY, linewidth=0.8)
    axes.set_ylim(low, high)
    axes.set_ylabel("sample / file", loc="center", fontsize="xx-small")


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """Name the classes once, above all panels, beside the title."""
    # a panel may lack those that are in one bin
    every = (axes.get_legend_handles_labels() for axes in panels)
    handles, names = max(every, key=lambda found: len(found[1]))
    room = figure.get_figwidth() - 3.9
    columns = max(1, int(room / (0.45 + 0.068 * max(map(len, names)))))
    figure.legend(handles, names, loc="outside upper right", ncols=columns, frameon=False)


def _notes(kind: str, several: Sequence[Labelled]) -> list[str]:
    found = [
        f"{distributions.KINDS[kind].note}; the first and the last bin hold what lies beyond the axis"
    ]
    if len(several) > 1:
        file, sample = (ORIGINS[shown.origin] for shown in several)
        found.append(f"points: {file}; steps: {sample}; below: sample over file")
    return found
