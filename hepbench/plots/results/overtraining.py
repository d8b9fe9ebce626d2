"""Draw the scores of training and test examples by class, which differ after overtraining."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.evaluation import stored_predictions
from hepbench.evaluation.uncertainty import effective_number
from hepbench.plots import style
from hepbench.plots.results import score_panels
from hepbench.plots.results.score_panels import Layout, ScorePanel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from hepbench.plots.request import Request
    from hepbench.plots.sheets import Sheet
    from hepbench.specs.metric import Predictions
    from hepbench.specs.types import Array


EDGES = np.linspace(0, 1, 31)


@dataclass(frozen=True)
class Histogram:
    """The distribution of the scores of one class in one part of the data, mean over seeds.

    Attributes:
        density: (bins,), with area 1 between 0 and 1.
        error: (bins,), statistical error, mean over seeds.
        spread: (bins,), standard deviation over seeds; None for one seed.
    """

    density: Array
    error: Array
    spread: Array | None = None


def shown_scores(predictions: Predictions) -> Array:
    """Return the scores to draw (N,): of signal, or with several classes of the true class."""
    scores = predictions.scores
    if scores.shape[1] == 2:
        return scores[:, 1]
    return scores[np.arange(len(scores)), predictions.labels]


def histogram(seeds: Sequence[Predictions], label: int, edges: Array = EDGES) -> Histogram:
    """Return the distribution of the scores of one class, mean over seeds."""
    return density_of([_scores_of_class(predictions, label) for predictions in seeds], edges)


def density_of(seeds: Sequence[tuple[Array, Array]], edges: Array) -> Histogram:
    """Return the distribution of scores (N,) with weights (N,) of each seed, mean over seeds."""
    densities, errors = [], []
    for scores, weights in seeds:
        mass, _ = np.histogram(scores, edges, weights=weights)
        squares, _ = np.histogram(scores, edges, weights=weights**2)
        area = weights.sum() * np.diff(edges)
        densities.append(mass / area)
        errors.append(np.sqrt(squares) / area)
    return Histogram(
        density=np.mean(densities, axis=0),
        error=np.mean(errors, axis=0),
        spread=np.std(densities, axis=0, ddof=1) if len(seeds) > 1 else None,
    )


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


NOTE = (
    "filled: test; points: training; each with area 1, mean over seeds; bars: statistical errors; "
    "below: training / test; p: p-value of the Kolmogorov-Smirnov test that both have the same "
    "distribution, lowest to highest over seeds"
)


def draw(request: Request) -> list[Sheet]:
    """Draw the scores of each row in a panel, with the ratio of training to test below."""

    def draw_panel(axes: Sequence[Axes], panel: ScorePanel) -> None:
        parts = (
            stored_predictions.of_records(request.results, panel.row.ok, part)
            for part in ("train", "test")
        )
        _draw_panel(axes, panel, *parts)

    layout = Layout("Scores of training and test examples", (1.5, 0.5), draw_panel, NOTE)
    return score_panels.draw(request, layout)


def _draw_panel(
    axes: Sequence[Axes],
    panel: ScorePanel,
    train: Sequence[Predictions],
    test: Sequence[Predictions],
) -> None:
    above, below = axes
    scores = {
        label: tuple([_scores_of_class(each, label) for each in part] for part in (train, test))
        for label in panel.classes
    }
    where = score_panels.edges([v for pair in scores.values() for p in pair for v, _ in p])
    densities = []
    for label, (fitted_scores, unseen_scores) in scores.items():
        fitted, unseen = density_of(fitted_scores, where), density_of(unseen_scores, where)
        values = [
            kolmogorov_smirnov(a, b)[1] for a, b in zip(fitted_scores, unseen_scores, strict=True)
        ]
        text = f"{style.plain(panel.names[label])}, $p$ {_span(values)}"
        _draw_class(axes, (fitted, unseen), where, style.colour(label), text)
        densities.append(unseen.density[unseen.density > 0])
    score_panels.finish(above, densities, where, lines=len(panel.classes))
    _finish_ratio(below, two=panel.two)


def _draw_class(
    axes: Sequence[Axes],
    parts: tuple[Histogram, Histogram],
    where: Array,
    colour: str,
    text: str,
) -> None:
    """Draw the scores of one class: training as points, test filled, and their ratio below."""
    above, below = axes
    fitted, unseen = parts
    centres = (where[1:] + where[:-1]) / 2
    above.stairs(unseen.density, where, fill=True, color=colour, alpha=0.3)
    above.stairs(unseen.density, where, color=colour, linewidth=0.8, label=text)
    how: dict[str, Any] = {"color": colour, "fmt": "o", "markersize": 2, "elinewidth": 0.7}
    known = fitted.density > 0
    above.errorbar(centres[known], fitted.density[known], fitted.error[known], **how)
    known &= unseen.density > 0
    ratio = fitted.density[known] / unseen.density[known]
    relative = np.hypot(
        fitted.error[known] / fitted.density[known], unseen.error[known] / unseen.density[known]
    )
    below.errorbar(centres[known], ratio, ratio * relative, **how)


def _finish_ratio(below: Axes, *, two: bool) -> None:
    below.axhline(1, color=style.GREY, linewidth=0.6)
    below.set_xlabel("signal score" if two else "score of the true class")
    below.set_ylabel("train / test", loc="center", fontsize=style.SMALL)
    below.set_ylim(0.4, 1.6)
    below.set_yticks([0.5, 1, 1.5])


def _span(values: Sequence[float]) -> str:
    """Return the legend's text for p-values: one, or the range of several."""
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    if max(values) < 0.005:
        return "< 0.01"
    return f"= {low}" if low == high else f"= {low} to {high}"
