"""Draw training histories: losses, metrics and learning rates by epoch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.plots import selection, style
from hepbench.plots.sheets import Sheet
from hepbench.specs.references import chain, uses
from hepbench.tables.columns import title

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from matplotlib.axes import Axes

    from hepbench.plots.request import Request
    from hepbench.plots.selection import Panel
    from hepbench.plots.style import Size
    from hepbench.specs.types import Array
    from hepbench.storage.records import Record
    from hepbench.tables.rows import Row


Entry = dict[str, float]


TIMES = ("epoch", "iteration")


LOSSES = ("loss", "validation_loss")


METRICS = ("auc", "accuracy")
"""Metrics of training batches (``train_auc``) and of the validation part to draw."""


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


def draw(request: Request) -> list[Sheet]:
    """Draw the history of each training of a dataset in a panel: loss, metric, learning rates."""
    found = []
    for panel in selection.panels(request, "auc", why_not=_why_not):
        drawn = trainings(panel.names, panel.rows)
        size = request.sized("full" if len(drawn) > 1 else "column")
        across = 3 if size.width > 5 else 1
        most = across * max(1, int((size.height - 0.5) / _height(drawn)))
        for places in style.chunks(len(drawn), most):
            some = [drawn[i] for i in places]
            found.append(_sheet(panel, some, size, across))
    return found


LOSS, OTHER = 1.15, 0.6
"""Heights in inches of the axes of losses, and of a metric or of learning rates."""


def _height(found: Sequence[StepHistories]) -> float:
    """Return the height in inches of the highest panel, with its title and its x axis."""
    return LOSS + OTHER * max(len(_below(each)) for each in found) + 0.75


def _below(training: StepHistories) -> list[str]:
    """Return what is drawn below the losses of a training: metrics and learning rates it has."""
    metrics = [name for name in METRICS if training.first([name, f"train_{name}"])]
    return [*metrics, *(["learning rate"] if training.rates else [])]


def _sheet(panel: Panel, some: Sequence[StepHistories], size: Size, across: int) -> Sheet:
    across = 2 if len(some) == 4 and across > 1 else min(across, len(some))
    down = -(-len(some) // across)
    figure = style.blank(size, down * _height(some))
    cells = figure.add_gridspec(down, across)
    colours = _term_colours(some)
    for i, training in enumerate(some):
        below = _below(training)
        heights = [LOSS, *(OTHER for _ in below)]
        cell = cells[i // across, i % across].subgridspec(len(heights), 1, height_ratios=heights)
        axes: Any = cell.subplots(sharex=True, squeeze=False)
        _draw_training(axes[:, 0], training, below, colours)
        _write_title(axes[0, 0], training, size.width / across - 0.4)
    style.heading(figure, panel.title, panel.header)
    _draw_key(figure, some, colours)
    title = f"Training histories, {panel.title}"
    return Sheet(figure, title, panel.title, _notes(panel, some))


def _draw_training(
    axes: Sequence[Axes],
    training: StepHistories,
    below: Sequence[str],
    colours: Mapping[str, str],
) -> None:
    """Draw the history of one training: loss, then metrics and learning rates below."""
    _draw_loss(axes[0], training, colours)
    for mine, name in zip(axes[1:], below, strict=True):
        if name == "learning rate":
            _draw_rates(mine, training)
        else:
            _draw_metric(mine, training, name)
    for each in axes[:-1]:
        each.tick_params(labelbottom=False)
    axes[-1].set_xlabel(training.time)
    style.whole_ticks(axes[-1])


def _write_title(axes: Axes, training: StepHistories, inches: float) -> None:
    reported = f", {AS_REPORTED}" if training.reported else ""
    style.panel_title(axes, f"{training.step}: {training.name}{reported}", inches)


def _why_not(row: Row) -> str:
    return "" if any(record.history for record in row.ok) else f"{row.record.method} has no history"


TRAINING, VALIDATION = (style.COLOURS[0], style.DASHES[1]), (style.COLOURS[1], "-")
"""Colour and line style of training batches and of the validation part."""


def _term_colours(some: Sequence[StepHistories]) -> dict[str, str]:
    """Return a colour for each term of the validation losses."""
    terms = sorted({term for each in some for term in each.terms})
    return {term: style.colour(2 + i) for i, term in enumerate(terms)}


def _draw_loss(axes: Axes, training: StepHistories, colours: Mapping[str, str]) -> None:
    _draw_line(axes, training, "train_loss", *TRAINING)
    if validation := training.first(LOSSES):
        _draw_line(axes, training, validation, *VALIDATION)
        _draw_best(axes, training, validation)
    for term in training.terms:
        _draw_line(axes, training, term, colours[term], ":")
    _scale(axes)
    _draw_fits(axes, training)
    axes.set_ylabel("loss", loc="center")


def _scale(axes: Axes) -> None:
    """Make the axis of losses logarithmic if they differ by more than a factor of 10."""
    lines: Any = axes.get_lines()
    values = np.concatenate([np.asarray(each.get_ydata(), float) for each in lines])
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > 10 * low:
        style.logarithmic(axes.yaxis, low / 1.15, high * 1.15)
    else:
        axes.locator_params(axis="y", nbins=5)


def _draw_metric(axes: Axes, training: StepHistories, name: str) -> None:
    _draw_line(axes, training, f"train_{name}", *TRAINING)
    _draw_line(axes, training, name, *VALIDATION)
    _draw_best(axes, training, name)
    _draw_fits(axes, training)
    axes.locator_params(axis="y", nbins=3)
    axes.set_ylabel(title(name), loc="center")


def _draw_rates(axes: Axes, training: StepHistories) -> None:
    values = [line(training.histories, name).mean for name in training.rates]
    for i, name in enumerate(training.rates):
        _draw_line(axes, training, name, style.GREY, style.DASHES[i % len(style.DASHES)])
    every = np.concatenate(values)
    if every.min() > 0:
        style.logarithmic(axes.yaxis, every.min() / 1.3, every.max() * 1.3)
        axes.yaxis.set_major_locator(_few_ticks(axes))
    axes.set_ylabel("rate", loc="center")
    _draw_fits(axes, training)


def _few_ticks(axes: Axes) -> Any:
    """Return a locator of at most three round ticks."""
    from matplotlib.ticker import FixedLocator

    ticks = style.round_ticks(*axes.get_ylim())
    return FixedLocator(ticks[:: -(-len(ticks) // 3)])


def _draw_line(axes: Axes, training: StepHistories, name: str, colour: str, dashes: Any) -> None:
    if not training.first([name]):
        return
    found = line(training.histories, name)
    single = "." if len(found.epochs) == 1 else ""
    how: dict[str, Any] = {"color": colour, "linestyle": dashes, "marker": single}
    axes.plot(found.epochs, found.mean, **how)
    if found.spread is not None:
        low, high = found.mean - found.spread, found.mean + found.spread
        axes.fill_between(found.epochs, low, high, color=colour, alpha=style.BAND, linewidth=0)


def _draw_best(axes: Axes, training: StepHistories, name: str) -> None:
    """Mark the epoch of each seed whose weights were kept."""
    places = [
        (best + 1, history[best][name])
        for history, best in zip(training.histories, training.best, strict=True)
        if best is not None and best < len(history) and name in history[best]
    ]
    if places:
        how: dict[str, Any] = {"linestyle": "none", "marker": "o", "mfc": "white"}
        axes.plot(*zip(*places, strict=True), mec=VALIDATION[0], **how, zorder=5)


def _draw_fits(axes: Axes, training: StepHistories) -> None:
    for place in training.fits:
        axes.axvline(place + 0.5, color=style.GREY, linewidth=0.6, linestyle=":")


def _draw_key(figure: Any, some: Sequence[StepHistories], colours: Mapping[str, str]) -> None:
    """Write below all panels what the lines are."""
    from matplotlib.lines import Line2D

    def drawn(colour: str, dashes: Any) -> Any:
        return Line2D([], [], color=colour, linestyle=dashes)

    entries: dict[str, Any] = {}
    if any(each.first(["train_loss", *(f"train_{n}" for n in METRICS)]) for each in some):
        entries["training batches"] = drawn(*TRAINING)
    if any(each.first([*LOSSES, *METRICS]) for each in some):
        entries["validation"] = drawn(*VALIDATION)
    if any(best is not None for each in some for best in each.best):
        how: dict[str, Any] = {"linestyle": "none", "marker": "o", "mfc": "white"}
        entries["weights kept"] = Line2D([], [], mec=VALIDATION[0], **how)
    entries |= {title(term): drawn(colour, ":") for term, colour in colours.items()}
    rates = [[n.removeprefix("learning_rate.") for n in each.rates] for each in some]
    for i in range(max(map(len, rates)) if max(map(len, rates)) > 1 else 0):
        names = dict.fromkeys(each[i] for each in rates if len(each) > max(i, 1))
        rate = f"learning rate of {' or '.join(names)}"
        entries[rate] = drawn(style.GREY, style.DASHES[i % len(style.DASHES)])
    style.key(figure, list(entries.values()), list(entries))


def _notes(panel: Panel, found: Sequence[StepHistories]) -> list[str]:
    texts = ["open circles: the epoch of each seed whose weights were kept"]
    if any(each.first(["train_loss"]) for each in found):
        texts.append("dashed: training batches, as they were trained on")
    texts.append("solid: the whole validation part")
    if any(len(each.histories) > 1 for each in found):
        texts.append("lines and bands: mean and standard deviation over seeds")
    if any(each.name.endswith(" more") for each in found):
        texts.append("'and 1 more': other rows share this step")
    if any(each.terms for each in found):
        texts.append("dotted: terms of the validation loss, unweighted")
    if any(each.fits for each in found):
        texts.append("vertical lines: another fit begins within the step")
    notes = [panel.caption, "; ".join(texts)]
    if names := _incomplete(panel):
        notes.append(f"not recorded: training before the last step of {', '.join(names)}")
    return [*notes, *panel.notes]


def _incomplete(panel: Panel) -> list[str]:
    """Return the names of rows whose old records hold the history of the last step only."""
    return [
        name
        for name, row in zip(panel.names, panel.rows, strict=True)
        if len(steps(row.record)) > 1 and not any("step" in e for e in row.record.history)
    ]
