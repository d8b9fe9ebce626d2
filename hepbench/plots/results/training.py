"""Training: losses, metrics and learning rates by epoch, for each step of each chain."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.plots import selection, style
from hepbench.specs.errors import UsageError
from hepbench.specs.references import chain, uses
from hepbench.tables.columns import title

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hepbench.plots.drawing import Request
    from hepbench.plots.selection import Panel
    from hepbench.specs.types import Array
    from hepbench.storage.records import Record
    from hepbench.tables.rows import Row


Entry = dict[str, float]


TIMES = ("epoch", "iteration")


LOSSES = ("loss", "validation_loss")


METRICS = ("auc", "accuracy")
"""Of validation; the first that a history has is drawn."""


MOST = 12


@dataclass(frozen=True)
class FitSettings:
    """One step of a chain, over seeds.

    Attributes:
        name: of the row; ``step``: of the method.
        histories: of each seed, an entry for each epoch.
        best: of each seed, the place of the entry whose weights were kept.
    """

    name: str
    step: str
    histories: list[list[Entry]]
    best: list[int | None]

    @property
    def time(self) -> str:
        """What the entries count."""
        names = self.histories[0][0]
        return next((name for name in TIMES if name in names), "entry")

    @property
    def fits(self) -> list[int]:
        """Where a new training begins within the step."""
        first = max(self.histories, key=len)
        numbers = [entry.get("fit", 0.0) for entry in first]
        return [i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1]]

    def first(self, names: Sequence[str]) -> str:
        """Return the first of some names that the histories have, or nothing."""
        return next((name for name in names if name in self.histories[0][0]), "")

    @property
    def terms(self) -> list[str]:
        """Parts of the validation loss, where it has several."""
        known = {*TIMES, *LOSSES, *METRICS, "fit", "step", "train_loss"}
        if "loss" not in self.histories[0][0]:
            return []
        names = sorted({name for entry in self.histories[0] for name in entry} - known)
        found = [name for name in names if not name.startswith("learning_rate")]
        return found if len(found) > 1 else []

    @property
    def rates(self) -> list[str]:
        """Learning rates, those that are equal throughout once."""
        names = sorted(
            {n for entry in self.histories[0] for n in entry if n.startswith("learning_rate")}
        )
        kept: dict[tuple[float | None, ...], str] = {}
        for name in names:
            kept.setdefault(tuple(entry.get(name) for entry in self.histories[0]), name)
        return list(kept.values())


@dataclass(frozen=True)
class Line:
    """A quantity by epoch: mean over the seeds that trained so long, and their spread."""

    epochs: Array
    mean: Array
    spread: Array | None


def line(histories: Sequence[Sequence[Entry]], name: str) -> Line:
    """Return a quantity by epoch, from 1, over seeds; of one seed there is no spread."""
    longest = max(map(len, histories))
    values = np.full((len(histories), longest), np.nan)
    for i, history in enumerate(histories):
        values[i, : len(history)] = [entry.get(name, np.nan) for entry in history]
    counts = (~np.isnan(values)).sum(axis=0)
    kept = counts > 0
    values, counts = values[:, kept], counts[kept]
    mean = np.nansum(values, axis=0) / counts
    squares = np.nansum((values - mean) ** 2, axis=0)
    # a single seed that went on has no spread
    spread = np.sqrt(squares / np.maximum(counts - 1, 1)) if len(histories) > 1 else None
    return Line(np.flatnonzero(kept) + 1, mean, spread)


def trainings(names: Iterable[str], rows: Iterable[Row]) -> list[FitSettings]:
    """Return the steps that were trained, each once where rows share it."""
    unique: dict[str, list[FitSettings]] = {}
    for name, row in zip(names, rows, strict=True):
        for place, step in enumerate(steps(row.record)):
            known = [record for record in row.ok if of_step(record, place)]
            if known:
                histories = [of_step(record, place) for record in known]
                best = [kept(record, place) for record in known]
                each = FitSettings(name, step, histories, best)
                unique.setdefault(repr((step, histories)), []).append(each)
    return [
        replace(first, name=f"{first.name} and {len(others)} more" if others else first.name)
        for first, *others in unique.values()
    ]


def steps(record: Record) -> list[str]:
    """Return the methods of a chain."""
    return [step.name for step in chain(record.chain) if step.name != "fresh"]


def of_step(record: Record, place: int) -> list[Entry]:
    """Return the history of one step of the chain; older records hold the last step's alone."""
    last = float(len(steps(record)) - 1)
    return [entry for entry in record.history if entry.get("step", last) == place]


def kept(record: Record, place: int) -> int | None:
    """Return the place of the entry whose weights a step kept: as recorded of the last step, of
    others from what they were told to choose by, as training does.
    """
    if place == len(steps(record)) - 1:
        return record.best_epoch
    params = record.params.get("methods", {}).get(uses(steps(record))[place], {})
    entries = of_step(record, place)
    monitor, last = params.get("monitor"), entries[-1].get("fit")
    known = [i for i, e in enumerate(entries) if e.get("fit") == last and monitor in e]
    sign = -1 if monitor in METRICS else 1
    return min(known, key=lambda i: sign * entries[i][monitor], default=None)


def draw(request: Request) -> Figure:
    """Draw each training in a panel of its own: loss, metric and learning rates."""
    panels = selection.panels(request, "auc", needs=_needs, most=4 * MOST)
    found = [(panel, each) for panel in panels for each in trainings(panel.names, panel.rows)]
    if len(found) > MOST:
        msg = f"{len(found)} trainings to draw, {MOST} fit legibly; choose some with -d, -m or -x"
        raise UsageError(msg)
    metric = any(each.first(METRICS) for _, each in found)
    rates = any(each.rates for _, each in found)
    heights = (2.7, *([1.6] if metric else []), *([1.1] if rates else []))
    across = 2 if len(found) in {2, 4} else 3
    figure, axes = style.grid(len(found), across=across, width=4.4, heights=heights)
    for mine, (_, each) in zip(axes, found, strict=True):
        below = list(mine[1:])
        _draw_loss(mine[0], each)
        if metric:
            _draw_metric(below.pop(0), each)
        if rates:
            _draw_rates(below.pop(0), each)
        mine[-1].set_xlabel(each.time)
        style.whole(mine[-1])
        _head(mine[0], each)
    style.footer(figure, _notes(panels, [each for _, each in found]))
    return figure


def _needs(row: Row) -> str:
    return "" if any(record.history for record in row.ok) else f"{row.record.method} has no history"


def _head(axes: Axes, training: FitSettings) -> None:
    axes.set_title(style.plain(training.step), loc="left", fontweight="bold")
    axes.set_title(style.plain(_broken(training.name)), loc="right", fontsize="x-small")


def _broken(name: str) -> str:
    """Return a name in lines that leave room for the step beside them."""
    return textwrap.fill(name, 44)


def _draw_loss(axes: Axes, training: FitSettings) -> None:
    colours = {"train_loss": style.COLOURS[0], "validation": style.COLOURS[1]}
    validation = training.first(LOSSES)
    _draw_line(axes, training, "train_loss", "training", colours["train_loss"], (0, (5, 1.5)))
    if validation:
        _draw_line(axes, training, validation, "validation", colours["validation"], "-")
        _draw_best(axes, training, validation, colours["validation"])
    for i, term in enumerate(training.terms):
        colour = style.COLOURS[2 + i % (len(style.COLOURS) - 2)]
        _draw_line(axes, training, term, title(term), colour, ":")
    _scale(axes)
    _draw_fits(axes, training)
    axes.set_ylabel("loss")
    columns = 2 if len(axes.get_legend_handles_labels()[0]) > 4 else 1
    style.legend(axes, loc="upper right", ncols=columns, columnspacing=1.0)


def _scale(axes: Axes) -> None:
    """Choose the scale that shows all losses; terms may differ by orders of magnitude."""
    lines: Any = axes.get_lines()
    values = np.concatenate([np.asarray(each.get_ydata(), float) for each in lines])
    low, high = values.min(), values.max()
    if low > 0 and high > 10 * low:
        axes.set_yscale("log")
        axes.set_ylim(top=high * (high / low) ** 0.45)
    else:
        axes.set_ylim(top=high + 0.45 * (high - low or 1.0))


def _draw_metric(axes: Axes, training: FitSettings) -> None:
    name = training.first(METRICS)
    if not name:
        axes.text(0.5, 0.5, "no metric", transform=axes.transAxes, ha="center", color=style.GREY)
        axes.set_yticks([])
        return
    _draw_line(axes, training, name, "", style.COLOURS[1], "-")
    _draw_best(axes, training, name, style.COLOURS[1])
    _draw_fits(axes, training)
    axes.set_ylabel(f"validation {title(name)}")


def _draw_rates(axes: Axes, training: FitSettings) -> None:
    for i, name in enumerate(training.rates):
        label = name.removeprefix("learning_rate.")
        _draw_line(axes, training, name, label, style.GREY, style.DASHES[i % len(style.DASHES)])
    if not training.rates:
        axes.text(0.5, 0.5, "no rate", transform=axes.transAxes, ha="center", color=style.GREY)
        axes.set_yticks([])
        return
    axes.set_yscale("log")
    axes.set_ylabel("rate", loc="center")
    _draw_fits(axes, training)
    if len(training.rates) > 1:
        style.legend(axes, loc="lower left", fontsize="xx-small")


def _draw_line(
    axes: Axes, training: FitSettings, name: str, label: str, colour: str, dashes: Any
) -> None:
    if not training.first([name]):
        return
    found = line(training.histories, name)
    single = "." if len(found.epochs) == 1 else ""
    how: dict[str, Any] = {"color": colour, "linestyle": dashes, "marker": single}
    axes.plot(found.epochs, found.mean, label=style.plain(label) or "_", **how)
    if found.spread is not None:
        low, high = found.mean - found.spread, found.mean + found.spread
        axes.fill_between(found.epochs, low, high, color=colour, alpha=style.BAND, linewidth=0)


def _draw_best(axes: Axes, training: FitSettings, name: str, colour: str) -> None:
    """Mark the entry whose weights each seed kept."""
    places = [
        (best + 1, history[best][name])
        for history, best in zip(training.histories, training.best, strict=True)
        if best is not None and best < len(history) and name in history[best]
    ]
    if places:
        how: Mapping[str, Any] = {"linestyle": "none", "marker": "o", "mfc": "white", "mec": colour}
        axes.plot(*zip(*places, strict=True), **how, label="kept", zorder=5)


def _draw_fits(axes: Axes, training: FitSettings) -> None:
    for place in training.fits:
        axes.axvline(place + 0.5, color=style.GREY, linewidth=0.6, linestyle=":")


def _notes(panels: Sequence[Panel], found: Sequence[FitSettings]) -> list[str]:
    texts = ["open circles: the epoch whose weights were kept, of each seed"]
    if any(len(each.histories) > 1 for each in found):
        texts.append("lines and bands: mean and standard deviation over seeds")
    if any(each.name.endswith(" more") for each in found):
        texts.append("'and 1 more': rows that share this step")
    if any(each.terms for each in found):
        texts.append("dotted: terms of the validation loss, unweighted")
    if any(each.fits for each in found):
        texts.append("vertical: a new training within the step")
    notes = [panel.caption for panel in panels] + ["; ".join(texts)]
    if lost := sorted({name for panel in panels for name in _untold(panel)}):
        notes.append(
            f"not recorded: how the steps before the last were trained of {', '.join(lost)}"
        )
    return notes + [note for panel in panels for note in panel.notes]


def _untold(panel: Panel) -> list[str]:
    """Return the rows whose records were written before they told of earlier steps."""
    return [
        name
        for name, row in zip(panel.names, panel.rows, strict=True)
        if len(steps(row.record)) > 1 and not any("step" in e for e in row.record.history)
    ]
