"""Draw curves against signal efficiency, one for each row, with their ratios to a named row."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.plots import direct_labels, selection, style
from hepbench.plots.direct_labels import Label
from hepbench.plots.results import roc_curves, signal_scores
from hepbench.plots.results.roc_curves import MIN_PASSING, Curve, Roc
from hepbench.plots.sheets import Sheet
from hepbench.tables import rounding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from matplotlib.axes import Axes

    from hepbench.plots.request import Request
    from hepbench.plots.results.signal_scores import SignalScores
    from hepbench.plots.selection import Panel
    from hepbench.tables.rows import Row


MOST = 8
"""Largest number of curves in a figure; more go into further files."""


FEW = 4
"""Up to this many curves have their names beside them; the names of more are below the axes."""


HEIGHTS = (2.3, 0.75)
"""Heights of the axes of curves and of ratios, in inches."""


@dataclass(frozen=True)
class Kind:
    """A kind of curve against signal efficiency.

    Attributes:
        title: what the figure shows.
        label: of the y axis.
        curve: computes the curve of a row from the ROC curves of its seeds.
        finish: completes the axes after all curves were drawn.
        limits: mark where no background passes and only a lower limit on the rejection is known.
        note: a sentence for the caption.
    """

    title: str
    label: str
    curve: Callable[[Sequence[Roc]], Curve]
    finish: Callable[[Axes, Sequence[Curve]], None]
    limits: bool
    note: str


@dataclass(frozen=True)
class Drawn:
    """The curve of one row, and how it is drawn."""

    row: Row
    name: str
    text: str
    curve: Curve
    rocs: list[Roc]
    look: style.Look


def draw(request: Request, kind: Kind) -> list[Sheet]:
    """Draw the curves of each dataset, of each class against the others if there are several."""
    return [
        _sheet(panel, scores, rows, request, kind)
        for panel in selection.panels(request, "auc")
        for scores in signal_scores.of_panel(request.results, panel)
        for rows in _chosen(panel, request.reference)
    ]


def _chosen(panel: Panel, reference: str) -> Iterator[list[int]]:
    """Yield the rows of each figure; the row that ratios are taken to is the first of each."""
    first = selection.row_named(panel, reference) if reference else 0
    others = [i for i in range(len(panel.rows)) if i != first]
    for places in style.chunks(len(others), MOST - 1):
        yield [first, *(others[i] for i in places)]


def _sheet(
    panel: Panel, scores: SignalScores, rows: Sequence[int], request: Request, kind: Kind
) -> Sheet:
    size = request.sized("column")
    drawn = _curves(panel, scores, rows, kind)
    compared = len(drawn) > 1
    ((above, *below),) = style.grid(size, 1, across=1, heights=HEIGHTS if compared else HEIGHTS[:1])
    for each in drawn:
        _draw_curve(above, each, kind)
    kind.finish(above, [each.curve for each in drawn])
    above.set(xlim=(0, 1), ylabel=kind.label)
    for axes in below:
        _draw_ratios(axes, drawn, panel.names[rows[0]])
    (below or [above])[-1].set_xlabel("signal efficiency $\\epsilon_S$")
    figure: Any = above.figure
    style.heading(figure, panel.title, f"{scores.about}; {panel.header}")
    _name_curves(above, drawn)
    notes = [*_notes(panel, drawn, kind), *_sources(drawn), *panel.notes]
    title = f"{kind.title}: {scores.about}, {panel.title}"
    return Sheet(figure, title, scores.name(panel), notes)


def _curves(panel: Panel, scores: SignalScores, rows: Sequence[int], kind: Kind) -> list[Drawn]:
    texts = _texts(panel) if scores.classes == 2 else panel.names
    found = []
    for place, i in enumerate(rows):
        rocs = [roc_curves.roc(test) for test in scores.rows[i]]
        dashes = style.DASHES[place % len(style.DASHES)] if len(rows) > FEW else "-"
        look = style.Look(style.COLOURS[place], dashes, style.MARKERS[place])
        found.append(Drawn(panel.rows[i], panel.names[i], texts[i], kind.curve(rocs), rocs, look))
    return found


def _texts(panel: Panel) -> list[str]:
    """Return the name of each row with its AUC."""
    aucs = [row.averages["auc"] for row in panel.rows]
    decimals = rounding.column_places(aucs)
    texts = (rounding.compact(auc, rounding.row_places(auc, decimals)) for auc in aucs)
    return [f"{name}  {text}" for name, text in zip(panel.names, texts, strict=True)]


def _draw_curve(axes: Axes, drawn: Drawn, kind: Kind) -> None:
    curve, look = drawn.curve, drawn.look
    axes.plot(curve.efficiency, curve.value, color=look.colour, linestyle=look.dashes)
    error = _error(curve)
    how: dict[str, Any] = {"color": look.colour, "alpha": style.BAND / 1.5, "linewidth": 0}
    # a rejection is never below 1, an improvement never below 0
    low = np.maximum(curve.value - error, 1.0 if kind.limits else 0.0)
    axes.fill_between(curve.efficiency, low, curve.value + error, **how)
    if kind.limits:
        _draw_limit(axes, drawn)
        for efficiency, value in roc_curves.published(drawn.row):
            axes.plot(efficiency, value, look.marker, mfc="none", mec=look.colour, mew=1)


def _error(curve: Curve) -> Any:
    """Return the errors of the test sample and over seeds of a curve, added in quadrature."""
    return np.hypot(curve.stderr, 0.0 if curve.spread is None else curve.spread)


def _draw_limit(axes: Axes, drawn: Drawn) -> None:
    """Mark the 95 % lower limit on the rejection, up to where no background passes in any seed."""
    reach = min(each.reach for each in drawn.rocs)
    limit = min(each.limit for each in drawn.rocs)
    if reach:
        how: dict[str, Any] = {"color": drawn.look.colour, "linewidth": 0.8}
        axes.plot([0, reach], [limit, limit], linestyle=(0, (1, 1)), **how)
        axes.plot(reach, limit, "^", color=drawn.look.colour, markersize=4)


def _draw_ratios(axes: Axes, drawn: Sequence[Drawn], name: str) -> None:
    """Draw the ratios of all curves to the first, with the error of the first one."""
    reference = drawn[0].curve
    for each in drawn[1:]:
        axes.plot(
            *roc_curves.ratio(each.curve, reference),
            color=each.look.colour,
            linestyle=each.look.dashes,
        )
    error = _error(reference) / reference.value
    how: dict[str, Any] = {"color": drawn[0].look.colour, "linewidth": 0}
    axes.fill_between(reference.efficiency, 1 - error, 1 + error, alpha=style.BAND / 1.5, **how)
    axes.axhline(1, color=drawn[0].look.colour, linewidth=0.8)
    axes.set_ylim(*_range([roc_curves.ratio(each.curve, reference)[1] for each in drawn]))
    short = textwrap.shorten(name, 15, placeholder="...") if " " in name else name[:16]
    axes.set_ylabel(f"ratio to\n{style.plain(short)}", loc="center", fontsize=style.SMALL)


def _range(ratios: Sequence[Any]) -> tuple[float, float]:
    """Return the axis range for ratios, ignoring the first tenth of each curve."""
    values = np.concatenate([each[len(each) // 10 :] for each in ratios])
    if not len(values):
        return 0.0, 2.0
    low, high = float(values.min()), float(values.max())
    room = max(0.1 * (high - low), 0.02)
    return max(low - room, 0.0), high + room


def _name_curves(axes: Axes, drawn: Sequence[Drawn]) -> None:
    """Write names beside few curves, if there is room; else below the axes."""
    lines = [np.stack([each.curve.efficiency, each.curve.value], axis=1) for each in drawn]
    middles = [line[len(line) // 8 : -len(line) // 8 or None : 4] for line in lines]
    labels = [
        Label(each.text, each.look.colour, middle, i, direct_labels.NEARBY)
        for i, (each, middle) in enumerate(zip(drawn, middles, strict=True))
    ]
    if len(drawn) <= FEW and all(len(line) > 20 for line in lines):
        others = [np.asarray(line.get_xydata()) for line in axes.get_lines()[len(drawn) :]]
        if not direct_labels.write(axes, labels, [*lines, *others], needed=True):
            return
    figure: Any = axes.figure
    handles = [axes.plot([], [], color=d.look.colour, linestyle=d.look.dashes)[0] for d in drawn]
    title = "AUC (error of the test sample)(spread over seeds)"
    how = {"title": title} if any(each.text != each.name for each in drawn) else {}
    style.key(figure, handles, [each.text for each in drawn], **how)


def _notes(panel: Panel, drawn: Sequence[Drawn], kind: Kind) -> list[str]:
    """Return sentences that explain lines and bands."""
    notes = [panel.caption]
    if any(each.text != each.name for each in drawn):
        notes.append("behind each name: AUC (error of the test sample)(spread over seeds)")
    bands = "the statistical error of the test sample"
    if any(each.curve.spread is not None for each in drawn):
        bands += " and the standard deviation over seeds, added in quadrature"
    notes.append(f"lines: mean over seeds; bands: {bands}; {kind.note}")
    if any(len(each.curve.efficiency) < len(roc_curves.EFFICIENCIES) for each in drawn):
        notes.append(f"curves begin where {MIN_PASSING} background examples pass the cut")
    if kind.limits and any(min(r.reach for r in each.rocs) for each in drawn):
        notes.append(
            "triangles and dotted lines: 95 % lower limits, up to the efficiency below which no "
            "background example passes"
        )
    return notes


def _sources(drawn: Sequence[Drawn]) -> list[str]:
    """Return sentences on published points."""
    return [
        f"open markers: published for {each.text}: {each.row.published.source}"
        for each in drawn
        if each.row.published and roc_curves.published(each.row)
    ]
