"""Histograms by class in a grid: of one dataset, or of its files over its simulated sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.plots import distributions, style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hepbench.plots.distributions import Distribution
    from hepbench.plots.labelled import Labelled
    from hepbench.specs import Array

STEEP = 300
"""Where the highest bin is so many times the median one, a logarithmic axis shows more."""

ROOM = 1.25
"""Of a linear axis above the highest bin."""

RATIOS = (0.4, 1.6)


def draw(several: Sequence[Labelled], kind: str) -> tuple[Figure, list[str]]:
    """Draw every quantity of a kind in a panel of its own; of a file and its sample, with their
    ratio below. Return what must be said below the figure.
    """
    where = distributions.chosen(several, kind)
    counted = [distributions.count(shown, kind, where) for shown in several]
    n, compared = len(where), len(several) > 1
    across = 4 if n > 6 or n == 4 else min(n, 3)
    width = max(2.75, style.WIDTH / across)
    heights = (2.0, 0.75) if compared else (2.0,)
    if n <= 3:
        heights = tuple(1.4 * height for height in heights)
    figure, panels = style.grid(n, across=across, width=width, heights=heights)
    for panel, *mine in zip(panels, *counted, strict=True):
        _draw_panel(panel[0], mine, several, kind)
        if compared:
            _draw_ratios(panel[1], *mine)
        panel[-1].set_xlabel(style.plain(mine[0].name), fontsize="small")
        for axes in panel:
            axes.tick_params(labelsize="x-small")
    _legend(figure, panels[0][0], len(several) * len(several[0].spec.classes))
    return figure, _notes(kind, compared=compared)


def _draw_panel(
    axes: Axes, each: Sequence[Distribution], several: Sequence[Labelled], kind: str
) -> None:
    for found, shown in zip(each, several, strict=True):
        points = len(each) > 1 and not shown.simulated
        for label, name in enumerate(shown.spec.classes):
            colour = style.COLOURS[label % len(style.COLOURS)]
            text = style.plain(f"{name}, {'sample' if shown.simulated else 'file'}")
            text = text if len(each) > 1 else style.plain(name)
            if points:
                _points(axes, found, label, colour, text)
            else:
                _steps(axes, found, label, colour, text)
    first = each[0]
    axes.set_xlim(first.bins.edges[0], first.bins.edges[-1])
    _scale(axes, first)
    heights = np.concatenate([_drawn(found)[0].ravel() for found in each])
    positive = heights[heights > 0]
    if len(positive) and (
        first.bins.scale != "linear" or positive.max() > STEEP * np.median(positive)
    ):
        low = max(positive.min(), positive.max() * 1e-6)
        axes.set(yscale="log", ylim=(low / 2, positive.max() * 3))
    elif len(positive):
        axes.set_ylim(0, ROOM * positive.max())
    axes.set_ylabel(_ylabel(first, kind), fontsize="x-small")


def _drawn(found: Distribution) -> tuple[Array, Array]:
    """Return heights and errors as they are drawn: densities, where the axis is linear."""
    scale = 1.0 if found.bins.scale != "linear" else found.widths
    return found.heights / scale, found.errors / scale


def _ylabel(found: Distribution, kind: str) -> str:
    if found.bins.scale == "linear":
        return "density" if found.once else f"{distributions.KINDS[kind].of} / example / unit"
    return "share / bin" if found.once else f"{distributions.KINDS[kind].of} / example / bin"


def _scale(axes: Axes, found: Distribution) -> None:
    if found.bins.scale == "symlog":
        axes.set_xscale("symlog", linthresh=found.bins.linear, linscale=0.5)
        high = found.bins.edges[-1]
        top = np.floor(np.log10(high))
        ticks = 10.0 ** np.arange(np.ceil(np.log10(found.bins.linear)), top + 1)[::-2]
        axes.set_xticks([*-ticks, 0, *ticks])
        axes.minorticks_off()
    else:
        axes.set_xscale(found.bins.scale)


def _steps(axes: Axes, found: Distribution, label: int, colour: str, name: str) -> None:
    heights, errors = (each[label] for each in _drawn(found))
    edges = found.bins.edges
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


def _legend(figure: Figure, axes: Axes, n: int) -> None:
    """Name the classes once, above all panels."""
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=n, frameon=False)


def _notes(kind: str, *, compared: bool) -> list[str]:
    of = distributions.KINDS[kind].of
    counted = "each example counts once" if of == "examples" else f"{of} that are not 0, or real"
    found = [
        f"means over the examples of a class ({counted}) with their statistical errors; the first "
        "and the last bin hold what lies beyond"
    ]
    if compared:
        found.append(
            "points: original file; steps: simulated sample; below: their ratio, sample over file"
        )
    return found
