"""ROC curves: background rejection against signal efficiency, a curve for each row over seeds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.evaluation import metrics
from hepbench.evaluation.uncertainty import effective_number
from hepbench.plots import selection, stored, style
from hepbench.tables import rounding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hepbench.plots.drawing import Request
    from hepbench.plots.selection import Panel
    from hepbench.specs.metric import Predictions
    from hepbench.specs.types import Array
    from hepbench.tables.rows import Row


EFFICIENCIES = np.arange(1, 201) / 200


LEAST = 10
"""Background examples that must pass: with fewer, the rejection is a guess."""


MOST = 24


@dataclass(frozen=True)
class Roc:
    """Of one set of scores, at EFFICIENCIES.

    Attributes:
        rejection: 1 / background efficiency; infinite where no background passes.
        stderr: of the test sample.
        passing: effective number of background examples that pass.
    """

    rejection: Array
    stderr: Array
    passing: Array


@dataclass(frozen=True)
class Curve:
    """What is drawn of a row: (points,) each.

    Attributes:
        rejection: mean over seeds.
        stderr: of the test sample, mean over seeds.
        spread: standard deviation over seeds; None for one.
    """

    efficiency: Array
    rejection: Array
    stderr: Array
    spread: Array | None


def roc(predictions: Predictions) -> Roc:
    """Return the rejection at each of EFFICIENCIES, as ``metrics.background_rejection`` does."""
    part = metrics.part_of(predictions)
    part.require_every_class()
    signal, passing = part.passing
    background = part.labels == 0
    mass = np.cumsum(np.bincount(part.curve.ties, part.weights * background))
    squares = np.cumsum(np.bincount(part.curve.ties, part.weights**2 * background))

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


def over_seeds(rocs: Sequence[Roc], *, least: float = LEAST) -> Curve:
    """Return the mean over seeds with both errors, where in every seed so many background examples
    pass.
    """
    known = np.min([each.passing for each in rocs], axis=0) >= least - 1e-9
    values = np.stack([each.rejection[known] for each in rocs])
    return Curve(
        efficiency=EFFICIENCIES[known],
        rejection=values.mean(axis=0),
        stderr=np.mean([each.stderr[known] for each in rocs], axis=0),
        spread=values.std(axis=0, ddof=1) if len(rocs) > 1 else None,
    )


def ratio(curve: Curve, reference: Curve) -> tuple[Array, Array]:
    """Return where both are known, and by what factor the first rejects more there."""
    common, mine, theirs = np.intersect1d(
        curve.efficiency, reference.efficiency, return_indices=True
    )
    return common, curve.rejection[mine] / reference.rejection[theirs]


def published(row: Row) -> list[tuple[float, float]]:
    """Return (signal efficiency, rejection) of the published figures of a row."""
    known = row.published.metrics if row.published else {}
    found = ((re.fullmatch(r"rejection_(\d+)", name), value) for name, value in known.items())
    return [(int(match[1]) / 100, value) for match, value in found if match]


def draw(request: Request) -> Figure:
    """Draw the curves of each dataset in a panel of its own, and below them their ratios."""
    panels = selection.panels(request, "auc", needs=_needs, most=MOST)
    compared = any(len(panel.rows) > 1 for panel in panels)
    legends = [_legend(panel) for panel in panels]
    room = max(map(style.beside, legends))
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


def _needs(row: Row) -> str:
    classes = len(row.aspects["labels"])
    return "" if classes == 2 else f"a ROC curve is of two classes; there are {classes}"


def _legend(panel: Panel) -> list[str]:
    aucs = [row.averages["auc"] for row in panel.rows]
    decimals = rounding.column_places(aucs)
    texts = (rounding.compact(auc, rounding.row_places(auc, decimals)) for auc in aucs)
    return [f"{name}: {text}" for name, text in zip(panel.names, texts, strict=True)]


def _draw_panel(
    axes: Sequence[Axes], panel: Panel, words: Sequence[str], results: Path, *, right: bool
) -> list[str]:
    above, below = axes[0], axes[-1]
    looks = style.looks([(row.labels.model, row.labels.chain) for row in panel.rows])
    tests = (stored.parts(results, row, "test") for row in panel.rows)
    curves = [over_seeds([roc(test) for test in each]) for each in tests]
    credits = []
    for row, curve, text, look in zip(panel.rows, curves, words, looks, strict=True):
        how: dict[str, Any] = {"color": look.colour, "linestyle": look.dashes}
        above.plot(curve.efficiency, curve.rejection, label=style.plain(text), **how)
        _shade(above, curve, look.colour, both=len(curves) <= style.INSIDE)
        below.plot(*ratio(curve, curves[0]), **how)
        for efficiency, value in published(row):
            above.plot(efficiency, value, look.marker, mfc="none", mec=look.colour, mew=1.3)
        if published(row) and row.published:
            credits.append(f"open markers: published for {text}: {row.published.source}")
    above.plot(EFFICIENCIES, 1 / EFFICIENCIES, color=style.GREY, linewidth=0.8, linestyle=":")
    above.set(yscale="log", xlim=(0, 1))
    above.set_ylim(bottom=1)
    above.set_ylabel("background rejection $1/\\epsilon_B$")
    if below is not above:
        _shade_ratio(below, curves[0], looks[0].colour)
        below.set_ylabel("ratio to best", loc="center", fontsize="small")
        below.set_ylim(*_range([ratio(curve, curves[0])[1] for curve in curves]))
    below.set_xlabel("signal efficiency $\\epsilon_S$")
    style.heading(above, panel, style.WIDTH)
    style.legend(above, below, right=right, title="AUC (test sample)(seeds)", loc="upper right")
    clipped = any(len(curve.efficiency) < len(EFFICIENCIES) for curve in curves)
    return [*_notes(panel, clipped=clipped), *credits, *panel.notes]


def _shade(axes: Axes, curve: Curve, colour: str, *, both: bool) -> None:
    """Draw the error of the test sample as a light band, the spread over seeds as a dark one."""
    bands = [(curve.spread, style.BAND)] if curve.spread is not None else []
    if both or not bands:
        bands.append((curve.stderr, style.BAND / 2))
    for error, alpha in bands:
        # nothing rejects less than 1
        low, high = np.maximum(curve.rejection - error, 1.0), curve.rejection + error
        axes.fill_between(curve.efficiency, low, high, color=colour, alpha=alpha, linewidth=0)


def _shade_ratio(axes: Axes, curve: Curve, colour: str) -> None:
    error = curve.stderr / curve.rejection
    how: dict[str, Any] = {"color": colour, "alpha": style.BAND / 2, "linewidth": 0}
    axes.fill_between(curve.efficiency, 1 - error, 1 + error, **how)


def _range(ratios: Sequence[Array]) -> tuple[float, float]:
    """Return limits that show all but the ends, where few examples are left."""
    values = np.concatenate([each[len(each) // 10 :] for each in ratios])
    if not len(values):
        return 0.0, 2.0
    low, high = float(values.min()), float(values.max())
    room = max(0.1 * (high - low), 0.02)
    return max(low - room, 0.0), high + room


def _notes(panel: Panel, *, clipped: bool) -> list[str]:
    """Say what is shown."""
    bands = []
    if any(len(row.ok) > 1 for row in panel.rows):
        bands.append("dark: standard deviation over seeds")
    if len(panel.rows) <= style.INSIDE or any(len(row.ok) == 1 for row in panel.rows):
        bands.append("light: statistical error of the test sample")
    clip = f"drawn where at least {LEAST} background examples pass; " if clipped else ""
    how = f"lines: mean over seeds; bands, {', '.join(bands)}; {clip}dotted: chance"
    return [panel.caption, how]
