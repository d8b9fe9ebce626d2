"""Draw signal efficiency and background rejection of one cut against mass, pt and the like.

The cut has a fixed signal efficiency over all test examples. A flat curve means that the cut works
alike everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.evaluation import uncertainty
from hepbench.plots import style
from hepbench.plots.results import spectators
from hepbench.plots.sheets import Sheet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from hepbench.plots.request import Request
    from hepbench.plots.results.spectators import Against
    from hepbench.specs.metric import Measured, Predictions
    from hepbench.specs.types import Array


MOST = 5
"""Largest number of rows in a figure; more go into further files."""


BIN = 40
"""A bin holds at least about so many examples of each class."""


MOST_BINS = 10


@dataclass(frozen=True)
class Binned:
    """A quantity in bins of a spectator, mean over seeds; arrays (bins,), NaN where unknown.

    Attributes:
        value: of the quantity.
        error: statistical error of the test sample, mean over seeds, and the standard deviation
            over seeds, added in quadrature.
        limit: the value is a lower limit, since it is one (95 %) in a seed: no background passes.
    """

    value: Array
    error: Array
    limit: Array


def bin_edges(values: Array, labels: Array) -> Array:
    """Return edges of bins with equally many examples, fewer bins for few examples.

    Args:
        values: (N,) of a spectator.
        labels: (N,) classes; the rarest one decides the number of bins.
    """
    finite = values[np.isfinite(values)]
    rarest = int(np.bincount(labels).min())
    n = int(np.clip(rarest // BIN, 2, MOST_BINS))
    edges = np.unique(np.quantile(finite, np.linspace(0, 1, n + 1)))
    # the last bin holds the largest value
    edges[-1] = np.nextafter(edges[-1], np.inf)
    return edges


def signal_efficiency(seeds: Sequence[Predictions], bins: Sequence[Array], cut: float) -> Binned:
    """Return the fraction of signal that passes the cut in each bin, with binomial errors.

    Args:
        seeds: predictions of two classes.
        bins: for each seed the index of the bin of each example, (N,).
        cut: signal efficiency of the cut over all examples.
    """

    def measure(passed: Array, weights: Array) -> Measured:
        return uncertainty.binomial(passed, weights)

    return _binned([_measured(p, b, cut, 1, measure) for p, b in zip(seeds, bins, strict=True)])


def background_rejection(seeds: Sequence[Predictions], bins: Sequence[Array], cut: float) -> Binned:
    """Return 1 / (fraction of background that passes the cut) in each bin, with its error."""

    def measure(passed: Array, weights: Array) -> Measured:
        found, variance = uncertainty.fraction(passed, weights)
        return uncertainty.inverse(found, variance, uncertainty.effective_number(weights))

    return _binned([_measured(p, b, cut, 0, measure) for p, b in zip(seeds, bins, strict=True)])


def _measured(
    predictions: Predictions, bins: Array, cut: float, label: int, measure: Any
) -> list[Measured | None]:
    """Return what is measured of one class in each bin; None in bins without examples."""
    passed = spectators.passing(predictions, cut)
    weights = spectators.weights_of(predictions)
    mine = predictions.labels == label
    found = []
    for i in range(int(bins.max()) + 1):
        here = mine & (bins == i)
        found.append(measure(passed[here], weights[here]) if weights[here].sum() > 0 else None)
    return found


def _binned(seeds: Sequence[Sequence[Measured | None]]) -> Binned:
    n = min(map(len, seeds))
    values = np.array([[np.nan if m is None else m.value for m in s[:n]] for s in seeds])
    errors = np.array([[np.nan if m is None else _error(m) for m in s[:n]] for s in seeds])
    limits = np.array([[m is not None and m.limit for m in s[:n]] for s in seeds])
    spread = values.std(axis=0, ddof=1) if len(seeds) > 1 else np.zeros(n)
    return Binned(values.mean(axis=0), np.hypot(errors.mean(axis=0), spread), limits.any(axis=0))


def _error(found: Measured) -> float:
    """Return the error of a value; of an interval half its width."""
    if found.low is not None and found.high is not None:
        return (found.high - found.low) / 2
    return found.stderr or 0.0


def draw(request: Request) -> list[Sheet]:
    """Draw a figure for each dataset, possible signal and spectator.

    Raises:
        UsageError: no dataset has spectators.
    """
    return [
        _sheet(against, rows, request)
        for against in spectators.chosen(request, lambda _: True)
        for rows in style.chunks(len(against.panel.rows), MOST)
    ]


def _sheet(against: Against, rows: Sequence[int], request: Request) -> Sheet:
    size, panel, cut = request.sized("column"), against.panel, request.efficiency
    ((above, below),) = style.grid(size, 1, across=1, heights=(1.25, 1.45))
    first = against.scores.rows[0][0]
    edges = bin_edges(against.values(first), first.labels)
    handles = []
    for place, i in enumerate(rows):
        seeds = against.scores.rows[i]
        bins = [_places(against.values(each), edges) for each in seeds]
        look = (place, len(rows))
        handles.append(_draw_row(above, signal_efficiency(seeds, bins, cut), edges, look))
        _draw_row(below, background_rejection(seeds, bins, cut), edges, look)
    _finish(above, below, cut, edges, against.label)
    figure: Any = above.figure
    style.heading(figure, panel.title, f"{against.scores.about}; {panel.header}")
    style.key(figure, handles, [panel.names[i] for i in rows])
    title = (
        f"Signal efficiency and background rejection against {against.name}, for a cut with a "
        f"signal efficiency of {cut:.0%} over all test examples: {against.scores.about}, {panel.title}"
    )
    name = f"{against.scores.name(panel)}-{against.name}"
    return Sheet(figure, title, name, [panel.caption, NOTE, *panel.notes])


NOTE = (
    "points: mean over seeds, side by side in each bin; bars: binomial error of the test sample and "
    "standard deviation over seeds, added in quadrature; bins hold equally many examples; open "
    "triangles: lower limits, where no background example passes in one of the seeds (95 %)"
)


def _places(values: Array, edges: Array) -> Array:
    """Return the index of the bin of each value; -1 for values that are not numbers."""
    found = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return np.where(np.isfinite(values), found, -1)


def _draw_row(axes: Axes, found: Binned, edges: Array, look: tuple[int, int]) -> Any:
    """Draw the values of a row in all bins; return what stands for it in the key."""
    from matplotlib.lines import Line2D

    place, n = look
    left, right = edges[: len(found.value)], edges[1 : len(found.value) + 1]
    # points of several rows are side by side within the bin
    x = left + (right - left) * (0.15 + 0.7 * (place + 0.5) / n)
    colour, marker = style.colour(place), style.MARKERS[place % len(style.MARKERS)]
    known = np.isfinite(found.value) & ~found.limit
    how: dict[str, Any] = {"color": colour, "linewidth": 0.9, "markersize": 2.8}
    axes.errorbar(x[known], found.value[known], found.error[known], fmt=marker, **how)
    axes.plot(x[found.limit], found.value[found.limit], "^", mec=colour, mfc="white")
    return Line2D([], [], color=colour, marker=marker, linestyle="none")


def _finish(above: Axes, below: Axes, cut: float, edges: Array, label: str) -> None:
    above.axhline(cut, color=style.GREY, linewidth=0.6, linestyle=(0, (4, 2)))
    for axes in (above, below):
        for edge in edges[1:-1]:
            axes.axvline(edge, color=style.GREY, linewidth=0.3, alpha=0.5)
    above.set(ylim=(0, 1.02), ylabel="signal efficiency", xlim=(edges[0], edges[-1]))
    low, high = below.dataLim.intervaly
    style.logarithmic(below.yaxis, max(low / 1.2, 1.0), high * 1.25)
    below.set_ylabel("background rejection $1/\\epsilon_B$")
    below.set_xlabel(style.plain(label))
