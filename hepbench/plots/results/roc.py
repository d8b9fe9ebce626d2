"""Draw ROC curves: background rejection against signal efficiency, one mean curve for each row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.evaluation import metrics, stored_predictions
from hepbench.evaluation.uncertainty import effective_number
from hepbench.plots import selection, style
from hepbench.tables import rounding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hepbench.plots.request import Request
    from hepbench.plots.selection import Panel
    from hepbench.specs.metric import Predictions
    from hepbench.specs.types import Array
    from hepbench.storage.results import Results
    from hepbench.tables.rows import Row


EFFICIENCIES = np.arange(1, 201) / 200


MIN_PASSING = 10
"""A ROC curve is drawn only where at least this many background examples pass."""


MOST = 24


@dataclass(frozen=True)
class Roc:
    """The ROC curve of one set of scores, at the signal efficiencies EFFICIENCIES.

    Attributes:
        rejection: 1 / background efficiency; infinite where no background passes.
        stderr: its statistical error.
        passing: effective number of background examples that pass.
    """

    rejection: Array
    stderr: Array
    passing: Array


@dataclass(frozen=True)
class Curve:
    """The ROC curve of one table row, mean over seeds; arrays (points,).

    Attributes:
        efficiency: signal efficiency.
        rejection: mean over seeds.
        stderr: statistical error of the test sample, mean over seeds.
        spread: standard deviation over seeds; None for one seed.
    """

    efficiency: Array
    rejection: Array
    stderr: Array
    spread: Array | None


def roc(predictions: Predictions) -> Roc:
    """Return the ROC curve of predictions: the background rejection at each of EFFICIENCIES."""
    part = metrics.part_of(predictions)
    part.require_every_class()
    signal, passing = part.passing
    mass, squares = _background_sums(part)

    def cut(efficiency: Array) -> Array:
        return np.searchsorted(signal, efficiency - 1e-12).clip(max=len(signal) - 1)

    at, n_signal = cut(EFFICIENCIES), effective_number(part.weights_by_class[1])
    found = passing[at]
    step = np.sqrt(EFFICIENCIES * (1 - EFFICIENCIES) / n_signal)
    moved = (passing[cut(EFFICIENCIES + step)] - passing[cut(EFFICIENCIES - step)]) / 2
    failing = squares[-1] - squares[at]
    scatter = (squares[at] * (1 - found) ** 2 + failing * found**2) / mass[-1] ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(scatter + moved**2) / found**2
        number = np.nan_to_num(mass[at] ** 2 / squares[at])
        return Roc(1 / found, error, number)


def _background_sums(part: metrics.Part) -> tuple[Array, Array]:
    """Return cumulative sums of the background's weights and squared weights, by falling score."""
    background = part.labels == 0
    mass = np.cumsum(np.bincount(part.curve.ties, part.weights * background))
    return mass, np.cumsum(np.bincount(part.curve.ties, part.weights**2 * background))


def over_seeds(rocs: Sequence[Roc], *, min_passing: float = MIN_PASSING) -> Curve:
    """Return the mean ROC curve over seeds, where enough background passes in every seed."""
    known = np.min([each.passing for each in rocs], axis=0) >= min_passing - 1e-9
    values = np.stack([each.rejection[known] for each in rocs])
    return Curve(
        efficiency=EFFICIENCIES[known],
        rejection=values.mean(axis=0),
        stderr=np.mean([each.stderr[known] for each in rocs], axis=0),
        spread=values.std(axis=0, ddof=1) if len(rocs) > 1 else None,
    )


def ratio(curve: Curve, reference: Curve) -> tuple[Array, Array]:
    """Return the ratio of two ROC curves and the efficiencies at which both are known."""
    common, mine, theirs = np.intersect1d(
        curve.efficiency, reference.efficiency, return_indices=True
    )
    return common, curve.rejection[mine] / reference.rejection[theirs]


def published(row: Row) -> list[tuple[float, float]]:
    """Return the published points (signal efficiency, rejection) of a row."""
    known = row.published.metrics if row.published else {}
    found = ((re.fullmatch(r"rejection_(\d+)", name), value) for name, value in known.items())
    return [(int(match[1]) / 100, value) for match, value in found if match]


def draw(request: Request) -> Figure:
    """Draw the ROC curves of each dataset in a panel, with their ratios below."""
    panels = selection.panels(request, "auc", why_not=_why_not, most=MOST)
    compared = any(len(panel.rows) > 1 for panel in panels)
    legends = [_legend(panel) for panel in panels]
    room = max(map(style.legend_width, legends))
    figure, axes = style.grid(
        len(panels),
        across=1 if room else 2,
        width=style.WIDTH + room,
        heights=(3.9, 1.3) if compared else (4.4,),
    )
    notes: list[str] = []
    for mine, panel, words in zip(axes, panels, legends, strict=True):
        notes += _draw_panel(mine, panel, words, request.results, right=bool(room))
    style.footer(figure, notes)
    return figure


def _why_not(row: Row) -> str:
    classes = len(row.aspects["labels"])
    return "" if classes == 2 else f"a ROC curve needs two classes; there are {classes}"


def _legend(panel: Panel) -> list[str]:
    aucs = [row.averages["auc"] for row in panel.rows]
    decimals = rounding.column_places(aucs)
    texts = (rounding.compact(auc, rounding.row_places(auc, decimals)) for auc in aucs)
    return [f"{name}: {text}" for name, text in zip(panel.names, texts, strict=True)]


def _draw_panel(
    axes: Sequence[Axes], panel: Panel, words: Sequence[str], results: Results, *, right: bool
) -> list[str]:
    """Draw one panel of ROC curves; return notes about it."""
    above, below = axes[0], axes[-1]
    looks = style.looks([(row.labels.model, row.labels.chain) for row in panel.rows])
    tests = (stored_predictions.of_records(results, row.ok, "test") for row in panel.rows)
    curves = [over_seeds([roc(test) for test in each]) for each in tests]
    sources = []
    for row, curve, text, look in zip(panel.rows, curves, words, looks, strict=True):
        how: dict[str, Any] = {"color": look.colour, "linestyle": look.dashes}
        above.plot(curve.efficiency, curve.rejection, label=style.plain(text), **how)
        _shade(above, curve, look.colour, both=len(curves) <= style.INSIDE)
        below.plot(*ratio(curve, curves[0]), **how)
        sources += _draw_published(above, row, text, look)
    if below is not above:
        _finish_ratios(below, curves, looks[0].colour)
    below.set_xlabel("signal efficiency $\\epsilon_S$")
    _finish_curves(above, panel)
    style.legend(above, below, right=right, title="AUC (test sample)(seeds)", loc="upper right")
    clipped = any(len(curve.efficiency) < len(EFFICIENCIES) for curve in curves)
    return [*_notes(panel, clipped=clipped), *sources, *panel.notes]


def _draw_published(axes: Axes, row: Row, text: str, look: style.Look) -> list[str]:
    """Draw the published rejections of a row; return a note with their source."""
    values = published(row)
    for efficiency, value in values:
        axes.plot(efficiency, value, look.marker, mfc="none", mec=look.colour, mew=1.3)
    if not values or not row.published:
        return []
    return [f"open markers: published for {text}: {row.published.source}"]


def _finish_curves(above: Axes, panel: Panel) -> None:
    """Draw the line of random guessing below ROC curves; set scales and labels."""
    above.plot(EFFICIENCIES, 1 / EFFICIENCIES, color=style.GREY, linewidth=0.8, linestyle=":")
    above.set(yscale="log", xlim=(0, 1))
    above.set_ylim(bottom=1)
    above.set_ylabel("background rejection $1/\\epsilon_B$")
    style.heading(above, panel.title, source=panel.source, sizes=panel.sizes, inches=style.WIDTH)


def _finish_ratios(below: Axes, curves: Sequence[Curve], colour: str) -> None:
    """Shade the error of the best ROC curve below; set range and label of the ratios."""
    _shade_ratio(below, curves[0], colour)
    below.set_ylabel("ratio to best", loc="center", fontsize="small")
    below.set_ylim(*_range([ratio(curve, curves[0])[1] for curve in curves]))


def _shade(axes: Axes, curve: Curve, colour: str, *, both: bool) -> None:
    """Shade the errors of a ROC curve: light for statistical, dark for the spread over seeds."""
    bands = [(curve.spread, style.BAND)] if curve.spread is not None else []
    if both or not bands:
        bands.append((curve.stderr, style.BAND / 2))
    for error, alpha in bands:
        # a rejection is never below 1
        low, high = np.maximum(curve.rejection - error, 1.0), curve.rejection + error
        axes.fill_between(curve.efficiency, low, high, color=colour, alpha=alpha, linewidth=0)


def _shade_ratio(axes: Axes, curve: Curve, colour: str) -> None:
    error = curve.stderr / curve.rejection
    how: dict[str, Any] = {"color": colour, "alpha": style.BAND / 2, "linewidth": 0}
    axes.fill_between(curve.efficiency, 1 - error, 1 + error, **how)


def _range(ratios: Sequence[Array]) -> tuple[float, float]:
    """Return the axis range for ratios, ignoring the first tenth of each curve."""
    values = np.concatenate([each[len(each) // 10 :] for each in ratios])
    if not len(values):
        return 0.0, 2.0
    low, high = float(values.min()), float(values.max())
    room = max(0.1 * (high - low), 0.02)
    return max(low - room, 0.0), high + room


def _notes(panel: Panel, *, clipped: bool) -> list[str]:
    """Return notes that explain lines and bands of ROC curves."""
    bands = []
    if any(len(row.ok) > 1 for row in panel.rows):
        bands.append("dark: standard deviation over seeds")
    if len(panel.rows) <= style.INSIDE or any(len(row.ok) == 1 for row in panel.rows):
        bands.append("light: statistical error of the test sample")
    clip = f"drawn where at least {MIN_PASSING} background examples pass; " if clipped else ""
    how = f"lines: mean over seeds; bands, {', '.join(bands)}; {clip}dotted: chance"
    return [panel.caption, how]
