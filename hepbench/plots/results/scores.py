"""Draw the distributions of test scores by class, mean over seeds, with their errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepbench.evaluation import stored_predictions
from hepbench.plots import style
from hepbench.plots.results import score_panels
from hepbench.plots.results.overtraining import Histogram, density_of
from hepbench.plots.results.score_panels import Layout, ScorePanel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from hepbench.plots.request import Request
    from hepbench.plots.sheets import Sheet
    from hepbench.specs.metric import Predictions
    from hepbench.specs.types import Array


def draw(request: Request) -> list[Sheet]:
    """Draw the test scores of each row in a panel; of many classes each against all others."""

    def draw_panel(axes: Sequence[Axes], panel: ScorePanel) -> None:
        seeds = stored_predictions.of_records(request.results, panel.row.ok, "test")
        _draw_panel(axes[0], panel, seeds)

    note = (
        "each distribution has area 1; lines: mean over seeds; bands: statistical errors, and the "
        "spread over seeds added in quadrature"
    )
    layout = Layout("Scores of test examples by class", (1.55,), draw_panel, note)
    return score_panels.draw(request, layout)


def _draw_panel(axes: Axes, panel: ScorePanel, seeds: Sequence[Predictions]) -> None:
    groups = _groups(panel, seeds)
    where = score_panels.edges([values for _, _, parts in groups for values, _ in parts])
    densities = []
    for name, colour, parts in groups:
        found = density_of(parts, where)
        _draw_band(axes, found, where, colour, name)
        densities.append(found.density[found.density > 0])
    score_panels.finish(axes, densities, where, lines=len(groups))
    alone = len(panel.classes) == 1
    signal = panel.names[panel.classes[0]] if alone else panel.names[1]
    several = not alone and not panel.two
    axes.set_xlabel("score of the true class" if several else f"score of {style.plain(signal)}")


def _groups(
    panel: ScorePanel, seeds: Sequence[Predictions]
) -> list[tuple[str, str, list[tuple[Array, Array]]]]:
    """Return name, colour, and scores with weights for each seed, of each group of examples."""
    if len(panel.classes) > 1:
        return [
            (panel.names[i], style.colour(i), [_scores(s, i, _shown(s, i)) for s in seeds])
            for i in panel.classes
        ]
    (label,) = panel.classes
    mine = [_scores(s, label, s.scores[:, label]) for s in seeds]
    others = [_scores(s, label, s.scores[:, label], others=True) for s in seeds]
    return [
        ("all others", style.GREY, others),
        (panel.names[label], style.colour(label), mine),
    ]


def _shown(predictions: Predictions, label: int) -> Array:
    """Return the scores to draw: of signal, or with three classes of the true class."""
    return predictions.scores[:, 1 if predictions.scores.shape[1] == 2 else label]


def _scores(
    predictions: Predictions, label: int, scores: Array, *, others: bool = False
) -> tuple[Array, Array]:
    mine = (predictions.labels == label) != others
    weights = predictions.weights
    return scores[mine], np.ones(int(mine.sum())) if weights is None else weights[mine]


def _draw_band(axes: Axes, found: Histogram, where: Array, colour: str, name: str) -> None:
    error = found.error if found.spread is None else np.hypot(found.error, found.spread)
    low, high = np.maximum(found.density - error, 0), found.density + error
    axes.stairs(high, where, baseline=low, fill=True, color=colour, alpha=style.BAND, linewidth=0)
    axes.stairs(found.density, where, color=colour, label=style.plain(name), baseline=None)
