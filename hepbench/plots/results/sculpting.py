"""Draw how a cut on the score changes the mass of the background that passes it.

A classifier that has learnt the mass shapes the background like the signal. The Jensen-Shannon
distance between the masses before and after the cut measures it: 0 for equal distributions, 1 for
distributions without overlap (logarithms to base 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.plots import style
from hepbench.plots.results import spectators
from hepbench.plots.results.overtraining import Histogram, density_of
from hepbench.plots.sheets import Sheet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from hepbench.plots.request import Request
    from hepbench.plots.results.spectators import Against
    from hepbench.specs.metric import Predictions
    from hepbench.specs.types import Array


MOST = 5
"""Largest number of rows in a figure; more go into further files."""


RANDOM_CUTS = 200
"""Number of random cuts from which the distance without sculpting is estimated."""


@dataclass(frozen=True)
class Sculpting:
    """The mass of the background after a cut, compared with that of all background.

    Attributes:
        after: its distribution, mean over the seeds in which background passes; None if there is no
            such seed.
        distance: Jensen-Shannon distance from all background, mean over these seeds.
        spread: standard deviation of the distance over seeds; None for one seed.
        random, random_spread: mean and standard deviation of the distance after random cuts that
            keep as many examples; it is not 0, because few examples pass.
    """

    after: Histogram | None
    distance: float = math.nan
    spread: float | None = None
    random: float = math.nan
    random_spread: float = math.nan

    @property
    def text(self) -> str:
        """The distances as the key shows them."""
        if self.after is None:
            return "no background passes"
        spread = "" if self.spread is None else f" ±{self.spread:.2f}"
        random = f"{self.random:.2f} ±{self.random_spread:.2f}"
        return f"{self.distance:.2f}{spread} (random cut {random})"


def jensen_shannon(one: Array, other: Array) -> float:
    """Return the Jensen-Shannon distance of two histograms (bins,), between 0 and 1.

    Source: Lin, IEEE Trans. Inf. Theory 37 (1991) 145; the distance is the square root of the
    divergence (Endres and Schindelin, IEEE Trans. Inf. Theory 49 (2003) 1858).
    """
    p, q = (np.asarray(each, float) / np.sum(each) for each in (one, other))
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return math.sqrt(min(max(divergence, 0.0), 1.0))


def _relative_entropy(p: Array, q: Array) -> float:
    known = p > 0
    return float(np.sum(p[known] * np.log2(p[known] / q[known])))


def mass_edges(masses: Array, passing: int) -> Array:
    """Return bin edges for masses (N,), fewer bins if few examples pass the cut."""
    low, high = np.quantile(masses, [0.005, 0.995])
    n = int(np.clip(1.5 * np.sqrt(passing), 8, 30))
    return np.linspace(low, high if high > low else low + 1, n + 1)


def sculpting(
    seeds: Sequence[Predictions], masses: Sequence[Array], cut: float, edges: Array
) -> Sculpting:
    """Return the mass of the background that passes a cut, compared with all background.

    Args:
        seeds: predictions of two classes.
        masses: (N,) for each seed.
        cut: signal efficiency of the cut.
        edges: of the bins of the mass.
    """
    rng = np.random.default_rng(0)
    after, distances, random = [], [], []
    for predictions, mass in zip(seeds, masses, strict=True):
        background = (predictions.labels == 0) & np.isfinite(mass)
        # the end bins hold the tails too
        values = np.clip(mass[background], edges[0], edges[-1])
        weights = spectators.weights_of(predictions)[background]
        passed = spectators.passing(predictions, cut)[background]
        if weights[passed].sum() <= 0:
            continue
        everything = np.histogram(values, edges, weights=weights)[0]
        after.append((values[passed], weights[passed]))
        distances.append(_distance(everything, values, weights, passed, edges))
        random += [
            _distance(everything, values, weights, rng.permutation(passed), edges)
            for _ in range(RANDOM_CUTS)
        ]
    if not after:
        return Sculpting(None)
    return Sculpting(
        after=density_of(after, edges),
        distance=float(np.mean(distances)),
        spread=float(np.std(distances, ddof=1)) if len(distances) > 1 else None,
        random=float(np.mean(random)),
        random_spread=float(np.std(random)),
    )


def _distance(
    everything: Array, values: Array, weights: Array, passed: Array, edges: Array
) -> float:
    some = np.histogram(values[passed], edges, weights=weights[passed])[0]
    return jensen_shannon(np.maximum(some, 0), np.maximum(everything, 0))


def draw(request: Request) -> list[Sheet]:
    """Draw a figure for each dataset, possible signal and mass.

    Raises:
        UsageError: no dataset has a mass beside its predictions.
    """
    return [
        _sheet(against, rows, request)
        for against in spectators.chosen(
            request, lambda name: spectators.MASS.fullmatch(name) is not None
        )
        for rows in style.chunks(len(against.panel.rows), MOST)
    ]


def _sheet(against: Against, rows: Sequence[int], request: Request) -> Sheet:
    from matplotlib.patches import Patch

    size, panel, cut = request.sized("column"), against.panel, request.efficiency
    ((above, below),) = style.grid(size, 1, across=1, heights=(1.9, 0.75))
    before, edges = _before(against, rows, cut)
    above.stairs(before.density, edges, fill=True, color=style.GREY, alpha=0.3)
    handles: list[Any] = [Patch(color=style.GREY, alpha=0.3, linewidth=0)]
    texts = [f"all {against.scores.background}"]
    for place, i in enumerate(rows):
        seeds = against.scores.rows[i]
        found = sculpting(seeds, [against.values(each) for each in seeds], cut, edges)
        handles.append(_draw_row(above, below, found, before, edges, place))
        texts.append(f"{panel.names[i]}  {found.text}")
    above.set(xlim=(edges[0], edges[-1]), ylabel="density")
    above.set_ylim(bottom=0)
    _finish_ratio(below, against.label)
    figure: Any = above.figure
    about = (
        f"{against.scores.about}; background before and after a cut at {cut:.0%} signal efficiency"
    )
    style.heading(figure, panel.title, f"{about}; {panel.header}")
    style.key(figure, handles, texts, title="after the cut: Jensen-Shannon distance from all")
    title = (
        f"{against.name} of {against.scores.background} before and after a cut with a signal "
        f"efficiency of {cut:.0%}: {against.scores.about}, {panel.title}"
    )
    name = f"{against.scores.name(panel)}-{against.name}"
    return Sheet(figure, title, name, [panel.caption, NOTE, *panel.notes])


NOTE = (
    "distributions have area 1; lines: mean over seeds; bars: statistical error and standard "
    "deviation over seeds, added in quadrature; behind each name: Jensen-Shannon distance (base 2, "
    "0 to 1) of the binned masses before and after the cut, mean and standard deviation over seeds, "
    f"and in brackets that of {RANDOM_CUTS} random cuts that keep as many examples: a classifier that "
    "does not sculpt the mass has this distance"
)


def _before(against: Against, rows: Sequence[int], cut: float) -> tuple[Histogram, Array]:
    """Return the mass of all background, and its bins, which suit all rows."""
    first = against.scores.rows[rows[0]][0]
    every = against.values(first)
    background = (first.labels == 0) & np.isfinite(every)
    counts = [
        int(spectators.passing(seeds[0], cut)[seeds[0].labels == 0].sum())
        for seeds in (against.scores.rows[i] for i in rows)
    ]
    masses, weights = every[background], spectators.weights_of(first)[background]
    edges = mass_edges(masses, int(np.median(counts)))
    return density_of([(np.clip(masses, edges[0], edges[-1]), weights)], edges), edges


def _draw_row(
    above: Axes, below: Axes, found: Sculpting, before: Histogram, edges: Array, place: int
) -> Any:
    """Draw the mass after the cut of a row, and its ratio to that of all background."""
    from matplotlib.lines import Line2D

    colour, after = style.colour(place), found.after
    dashes = style.DASHES[place % len(style.DASHES)]
    key = Line2D([], [], color=colour, linestyle=dashes)
    if after is None:
        return key
    above.stairs(after.density, edges, color=colour, linestyle=dashes, baseline=None)
    centres = (edges[1:] + edges[:-1]) / 2 + (place - 2.5) * 0.1 * np.diff(edges)
    error = np.hypot(after.error, 0 if after.spread is None else after.spread)
    bars: dict[str, Any] = {"fmt": "none", "ecolor": colour, "elinewidth": 0.6}
    above.errorbar(centres, after.density, error, **bars)
    known = before.density > 0
    ratio = np.divide(after.density, before.density, where=known, out=np.full(len(known), np.nan))
    below.stairs(ratio, edges, color=colour, linestyle=dashes, baseline=None)
    return key


def _finish_ratio(below: Axes, label: str) -> None:
    below.axhline(1, color=style.GREY, linewidth=0.6)
    below.set_ylabel("after / before", loc="center", fontsize=style.SMALL)
    high = below.dataLim.intervaly[1]
    below.set_ylim(0, min(max(1.1 * high, 1.5), 6))
    below.set_xlabel(style.plain(label))
