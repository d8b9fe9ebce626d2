"""Draw the scores of training and test examples by class, which differ after overtraining."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.evaluation import stored_predictions
from hepbench.evaluation.uncertainty import effective_number
from hepbench.plots import labels, selection, style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hepbench.plots.request import Request
    from hepbench.specs.metric import Predictions
    from hepbench.specs.types import Array
    from hepbench.storage.results import Results
    from hepbench.tables.rows import Row


EDGES = np.linspace(0, 1, 31)


CENTRES = (EDGES[1:] + EDGES[:-1]) / 2


MOST = 9


STEEP = 30
"""A y axis is logarithmic if the highest bin exceeds the median bin by more than this factor."""


@dataclass(frozen=True)
class Histogram:
    """The distribution of the scores of one class in one part of the data, mean over seeds.

    Attributes:
        density: (bins,), with area 1 between 0 and 1.
        error: (bins,), statistical error, mean over seeds.
    """

    density: Array
    error: Array


def shown_scores(predictions: Predictions) -> Array:
    """Return the scores to draw (N,): of signal, or with several classes of the true class."""
    scores = predictions.scores
    if scores.shape[1] == 2:
        return scores[:, 1]
    return scores[np.arange(len(scores)), predictions.labels]


def histogram(seeds: Sequence[Predictions], label: int, edges: Array = EDGES) -> Histogram:
    """Return the distribution of the scores of one class, mean over seeds."""
    densities, errors = [], []
    for predictions in seeds:
        scores, weights = _scores_of_class(predictions, label)
        mass, _ = np.histogram(scores, edges, weights=weights)
        squares, _ = np.histogram(scores, edges, weights=weights**2)
        area = weights.sum() * np.diff(edges)
        densities.append(mass / area)
        errors.append(np.sqrt(squares) / area)
    return Histogram(np.mean(densities, axis=0), np.mean(errors, axis=0))


def _scores_of_class(predictions: Predictions, label: int) -> tuple[Array, Array]:
    mine = predictions.labels == label
    scores = shown_scores(predictions)[mine]
    weights = predictions.weights
    return scores, np.ones(len(scores)) if weights is None else weights[mine]


def kolmogorov_smirnov(one: tuple[Array, Array], other: tuple[Array, Array]) -> tuple[float, float]:
    """Return the largest distance between two cumulative distributions, and its p-value.

    Args:
        one, other: scores (N,) and weights (N,) of each.

    Source: Kolmogorov and Smirnov; the p-value after Stephens, J. R. Stat. Soc. B 32 (1970) 115,
    with effective numbers of examples.
    """
    points = np.unique(np.concatenate([one[0], other[0]]))
    steps = [_cumulative(*each, points) for each in (one, other)]
    found = float(abs(steps[0] - steps[1]).max())
    n, m = (effective_number(weights) for _, weights in (one, other))
    root = math.sqrt(n * m / (n + m))
    return found, _p_value((root + 0.12 + 0.11 / root) * found)


def _p_value(scaled: float) -> float:
    # the series does not converge for tiny distances
    if scaled < 0.2:
        return 1.0
    series: float = sum((-1) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101))
    return min(max(2 * series, 0.0), 1.0)


def _cumulative(scores: Array, weights: Array, points: Array) -> Array:
    order = np.argsort(scores)
    sums = np.append(0.0, np.cumsum(weights[order]))
    return sums[np.searchsorted(scores[order], points, side="right")] / sums[-1]


WIDTH = 4.6
"""Width of a panel, in inches."""


def draw(request: Request) -> Figure:
    """Draw the scores of each row in a panel, with the ratio of training to test below."""
    panels = selection.panels(request, "auc", most=MOST)
    rows = [(panel, i) for panel in panels for i in range(len(panel.rows))]
    across = 2 if len(rows) in {2, 4} else 3
    figure, axes = style.grid(len(rows), across=across, width=WIDTH, heights=(3.0, 1.1))
    # 12 characters are about an inch: titles that do not fit beside the names go above them
    widest = max(len(panel.title) + len(panel.names[i]) for panel, i in rows)
    above_names = "\n" if widest > 12 * WIDTH else ""
    for (above, below), (panel, i) in zip(axes, rows, strict=True):
        _draw_row(above, below, panel.rows[i], request.results)
        above.set_title(style.plain(panel.names[i]), loc="right", fontsize="small")
        if len(panels) > 1 or i == 0:
            title = style.plain(panel.title) + above_names
            above.set_title(title, loc="left", fontweight="bold")
    notes = [panel.caption for panel in panels]
    notes.append(
        "filled: test; points: training; each with area 1, mean over seeds; bars: statistical "
        "errors; below: training / test; KS: p-value of the Kolmogorov-Smirnov test that both "
        "have the same distribution, lowest to highest over seeds"
    )
    style.footer(figure, notes + [note for panel in panels for note in panel.notes])
    return figure


def _draw_row(above: Axes, below: Axes, row: Row, results: Results) -> None:
    train, test = (
        stored_predictions.of_records(results, row.ok, part) for part in ("train", "test")
    )
    densities = []
    names = labels.class_names(row.aspects["labels"], test[0].scores.shape[1])
    for label, name in enumerate(names):
        colour = style.COLOURS[label % len(style.COLOURS)]
        fitted, unseen = histogram(train, label), histogram(test, label)
        pairs = zip(train, test, strict=True)
        values = [
            kolmogorov_smirnov(_scores_of_class(a, label), _scores_of_class(b, label))[1]
            for a, b in pairs
        ]
        text = f"{style.plain(name)}, KS $p$ {_span(values)}"
        above.stairs(unseen.density, EDGES, fill=True, color=colour, alpha=0.3)
        above.stairs(unseen.density, EDGES, color=colour, label=text)
        how: dict[str, Any] = {"color": colour, "fmt": "o", "markersize": 3, "linewidth": 1}
        above.errorbar(CENTRES, fitted.density, fitted.error, **how)
        _draw_ratio(below, fitted, unseen, how)
        densities.append(unseen.density[unseen.density > 0])
    _finish(above, below, densities, two=test[0].scores.shape[1] == 2)


def _finish(above: Axes, below: Axes, densities: Sequence[Array], *, two: bool) -> None:
    """Set scales, labels and legend of a panel of scores.

    Args:
        above, below: axes of the distributions and of their ratio.
        densities: positive densities of each class.
        two: whether there are two classes.
    """
    highest = max(float(each.max()) for each in densities)
    lowest = min(float(np.median(each)) for each in densities)
    if highest > STEEP * lowest:
        above.set(yscale="log", ylim=(lowest / 10, highest * 30))
    else:
        above.set_ylim(0, 1.45 * highest)
    above.set(xlim=(0, 1), ylabel="density")
    below.axhline(1, color=style.GREY, linewidth=0.8)
    below.set_xlabel("signal score" if two else "score of the true class")
    below.set_ylabel("ratio", loc="center", fontsize="small")
    below.set_ylim(0.4, 1.6)
    style.legend(above, loc="upper center")


def _draw_ratio(axes: Axes, train: Histogram, test: Histogram, how: dict[str, Any]) -> None:
    known = (test.density > 0) & (train.density > 0)
    ratio = train.density[known] / test.density[known]
    relative = np.hypot(
        train.error[known] / train.density[known], test.error[known] / test.density[known]
    )
    axes.errorbar(CENTRES[known], ratio, ratio * relative, **how)


def _span(values: Sequence[float]) -> str:
    """Return the legend's text for p-values: one, or the range of several."""
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    if max(values) < 0.005:
        return "< 0.01"
    return f"= {low}" if low == high else f"= {low} to {high}"
