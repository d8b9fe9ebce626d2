"""Draw training histories: losses, metrics and learning rates by epoch."""

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
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hepbench.plots.request import Request
    from hepbench.plots.selection import Panel
    from hepbench.specs.types import Array
    from hepbench.storage.records import Record
    from hepbench.tables.rows import Row


Entry = dict[str, float]


TIMES = ("epoch", "iteration")


LOSSES = ("loss", "validation_loss")


METRICS = ("auc", "accuracy")
"""Metrics of training batches (``train_auc``) and of the validation part to draw."""


MOST = 12


AS_REPORTED = "as the plugin reports"


@dataclass(frozen=True)
class StepHistories:
    """Training histories of one step of a chain, one for each seed.

    Attributes:
        name: name of the row.
        step: name of the method.
        histories: for each seed, an entry for each epoch.
        best: for each seed, the index of the entry whose weights were kept.
    """

    name: str
    step: str
    histories: list[list[Entry]]
    best: list[int | None]

    @property
    def reported(self) -> bool:
        """Whether the histories are as an estimator reports them; those of networks are measured."""
        return "fit" not in self.histories[0][0]

    @property
    def time(self) -> str:
        """The unit of time of the entries, such as ``epoch``."""
        names = self.histories[0][0]
        return next((name for name in TIMES if name in names), "entry")

    @property
    def fits(self) -> list[int]:
        """Indices of the entries at which the method starts another training."""
        first = max(self.histories, key=len)
        numbers = [entry.get("fit", 0.0) for entry in first]
        return [i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1]]

    def first(self, names: Sequence[str]) -> str:
        """Return the first of these names of quantities that the histories contain, or ""."""
        return next((name for name in names if name in self.histories[0][0]), "")

    @property
    def terms(self) -> list[str]:
        """Names of the terms of the validation loss, if there are several."""
        known = {*TIMES, *LOSSES, *METRICS, "fit", "step", "train_loss"}
        known |= {f"train_{name}" for name in METRICS}
        if "loss" not in self.histories[0][0]:
            return []
        names = sorted({name for entry in self.histories[0] for name in entry} - known)
        found = [name for name in names if not name.startswith("learning_rate")]
        return found if len(found) > 1 else []

    @property
    def rates(self) -> list[str]:
        """Names of the learning rates, without those that always equal another one."""
        names = sorted(
            {n for entry in self.histories[0] for n in entry if n.startswith("learning_rate")}
        )
        kept: dict[tuple[float | None, ...], str] = {}
        for name in names:
            kept.setdefault(tuple(entry.get(name) for entry in self.histories[0]), name)
        return list(kept.values())


@dataclass(frozen=True)
class Line:
    """A quantity by epoch: mean and standard deviation over seeds."""

    epochs: Array
    mean: Array
    spread: Array | None


def line(histories: Sequence[Sequence[Entry]], name: str) -> Line:
    """Return mean and spread over seeds of a quantity by epoch, counted from 1."""
    longest = max(map(len, histories))
    values = np.full((len(histories), longest), np.nan)
    for i, history in enumerate(histories):
        values[i, : len(history)] = [entry.get(name, np.nan) for entry in history]
    counts = (~np.isnan(values)).sum(axis=0)
    kept = counts > 0
    values, counts = values[:, kept], counts[kept]
    mean = np.nansum(values, axis=0) / counts
    squares = np.nansum((values - mean) ** 2, axis=0)
    # where only one seed is left, the spread is 0
    spread = np.sqrt(squares / np.maximum(counts - 1, 1)) if len(histories) > 1 else None
    return Line(np.flatnonzero(kept) + 1, mean, spread)


def trainings(names: Iterable[str], rows: Iterable[Row]) -> list[StepHistories]:
    """Return the training histories of all steps; a step that several rows share appears once."""
    unique: dict[str, list[StepHistories]] = {}
    for name, row in zip(names, rows, strict=True):
        for each in _step_histories(name, row):
            unique.setdefault(repr((each.step, each.histories)), []).append(each)
    return [
        replace(first, name=f"{first.name} and {len(others)} more" if others else first.name)
        for first, *others in unique.values()
    ]


def _step_histories(name: str, row: Row) -> Iterator[StepHistories]:
    for place, step in enumerate(steps(row.record)):
        known = [record for record in row.ok if step_history(record, place)]
        if known:
            histories = [step_history(record, place) for record in known]
            yield StepHistories(name, step, histories, [kept(record, place) for record in known])


def steps(record: Record) -> list[str]:
    """Return the names of the training methods in a record's chain."""
    return [step.name for step in chain(record.chain) if step.name != "fresh"]


def step_history(record: Record, place: int) -> list[Entry]:
    """Return the training history of one step of a chain; old records have only the last one."""
    last = float(len(steps(record)) - 1)
    return [entry for entry in record.history if entry.get("step", last) == place]


def kept(record: Record, place: int) -> int | None:
    """Return the index of the history entry (epoch) whose weights a step kept.

    For the last step it is recorded; for others it is found from the metric that the step was set
    to choose by, as in training.
    """
    if place == len(steps(record)) - 1:
        return record.best_epoch
    params = record.params.get("methods", {}).get(uses(steps(record))[place], {})
    entries = step_history(record, place)
    monitor, last = params.get("monitor"), entries[-1].get("fit")
    known = [i for i, e in enumerate(entries) if e.get("fit") == last and monitor in e]
    sign = -1 if monitor in METRICS else 1
    return min(known, key=lambda i: sign * entries[i][monitor], default=None)


def draw(request: Request) -> Figure:
    """Draw the history of each training in a panel: loss, metric and learning rates."""
    panels = selection.panels(request, "auc", why_not=_why_not, most=4 * MOST)
    found = [each for panel in panels for each in trainings(panel.names, panel.rows)]
    if len(found) > MOST:
        msg = (
            f"{len(found)} trainings are too many for one figure; at most {MOST} are legible: "
            "choose some with -d, -m or -x"
        )
        raise UsageError(msg)
    metrics = [name for name in METRICS if any(each.first([name]) for each in found)]
    rates = any(each.rates for each in found)
    heights = (2.7, *([1.5] * len(metrics)), *([1.1] if rates else []))
    across = 2 if len(found) in {2, 4} else 3
    figure, axes = style.grid(len(found), across=across, width=4.4, heights=heights)
    for mine, each in zip(axes, found, strict=True):
        _draw_training(mine, each, metrics=metrics, rates=rates)
    style.footer(figure, _notes(panels, found))
    return figure


def _draw_training(
    axes: Sequence[Axes], training: StepHistories, *, metrics: Sequence[str], rates: bool
) -> None:
    """Draw the history of one training: loss, then metrics and learning rates below."""
    below = list(axes[1:])
    _draw_loss(axes[0], training)
    for name in metrics:
        _draw_metric(below.pop(0), training, name)
    if rates:
        _draw_rates(below.pop(0), training)
    axes[-1].set_xlabel(training.time)
    style.whole_ticks(axes[-1])
    _draw_titles(axes[0], training)


def _why_not(row: Row) -> str:
    return "" if any(record.history for record in row.ok) else f"{row.record.method} has no history"


def _draw_titles(axes: Axes, training: StepHistories) -> None:
    axes.set_title(style.plain(training.step), loc="left", fontweight="bold")
    name = f"{training.name}, {AS_REPORTED}" if training.reported else training.name
    axes.set_title(style.plain(_wrapped(name)), loc="right", fontsize="x-small")


def _wrapped(name: str) -> str:
    """Wrap the name of a row so that the name of the step fits beside it."""
    return textwrap.fill(name, 44)


def _draw_loss(axes: Axes, training: StepHistories) -> None:
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
    """Make the axis of losses logarithmic if they differ by more than a factor of 10."""
    lines: Any = axes.get_lines()
    values = np.concatenate([np.asarray(each.get_ydata(), float) for each in lines])
    low, high = values.min(), values.max()
    if low > 0 and high > 10 * low:
        axes.set_yscale("log")
        axes.set_ylim(top=high * (high / low) ** 0.45)
    else:
        axes.set_ylim(top=high + 0.45 * (high - low or 1.0))


def _draw_metric(axes: Axes, training: StepHistories, name: str) -> None:
    if not training.first([name]):
        axes.text(
            0.5, 0.5, f"no {title(name)}", transform=axes.transAxes, ha="center", color=style.GREY
        )
        axes.set_yticks([])
        return
    _draw_line(axes, training, f"train_{name}", "training", style.COLOURS[0], (0, (5, 1.5)))
    _draw_line(axes, training, name, "validation", style.COLOURS[1], "-")
    _draw_best(axes, training, name, style.COLOURS[1])
    _draw_fits(axes, training)
    axes.set_ylabel(title(name))


def _draw_rates(axes: Axes, training: StepHistories) -> None:
    for i, name in enumerate(training.rates):
        label = name.removeprefix("learning_rate.")
        _draw_line(axes, training, name, label, style.GREY, style.DASHES[i % len(style.DASHES)])
    if not training.rates:
        axes.text(
            0.5, 0.5, "no learning rate", transform=axes.transAxes, ha="center", color=style.GREY
        )
        axes.set_yticks([])
        return
    axes.set_yscale("log")
    axes.set_ylabel("learning rate", loc="center")
    _draw_fits(axes, training)
    if len(training.rates) > 1:
        style.legend(axes, loc="lower left", fontsize="xx-small")


def _draw_line(
    axes: Axes, training: StepHistories, name: str, label: str, colour: str, dashes: Any
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


def _draw_best(axes: Axes, training: StepHistories, name: str, colour: str) -> None:
    """Mark the epoch of each seed whose weights were kept."""
    places = [
        (best + 1, history[best][name])
        for history, best in zip(training.histories, training.best, strict=True)
        if best is not None and best < len(history) and name in history[best]
    ]
    if places:
        how: Mapping[str, Any] = {"linestyle": "none", "marker": "o", "mfc": "white", "mec": colour}
        axes.plot(*zip(*places, strict=True), **how, label="kept", zorder=5)


def _draw_fits(axes: Axes, training: StepHistories) -> None:
    for place in training.fits:
        axes.axvline(place + 0.5, color=style.GREY, linewidth=0.6, linestyle=":")


def _notes(panels: Sequence[Panel], found: Sequence[StepHistories]) -> list[str]:
    texts = [
        "open circles: the epoch of each seed whose weights were kept",
        "dashed: training batches, as they were trained on; solid: the whole validation part",
    ]
    if any(len(each.histories) > 1 for each in found):
        texts.append("lines and bands: mean and standard deviation over seeds")
    if any(each.name.endswith(" more") for each in found):
        texts.append("'and 1 more': other rows share this step")
    if any(each.terms for each in found):
        texts.append("dotted: terms of the validation loss, unweighted")
    if any(each.fits for each in found):
        texts.append("vertical lines: another fit begins within the step")
    notes = [panel.caption for panel in panels] + ["; ".join(texts)]
    if names := sorted({name for panel in panels for name in _incomplete(panel)}):
        notes.append(f"not recorded: training before the last step of {', '.join(names)}")
    return notes + [note for panel in panels for note in panel.notes]


def _incomplete(panel: Panel) -> list[str]:
    """Return the names of rows whose old records hold the history of the last step only."""
    return [
        name
        for name, row in zip(panel.names, panel.rows, strict=True)
        if len(steps(row.record)) > 1 and not any("step" in e for e in row.record.history)
    ]
