"""Curves of table rows for a report: ROC, training histories and score distributions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench.evaluation import stored_predictions
from hepbench.plots.results import overtraining, roc_curves, training
from hepbench.report.content import Curves, Line, Roc, Scores, Step
from hepbench.specs.errors import HepbenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hepbench.plots.results.training import StepHistories
    from hepbench.specs.metric import Predictions
    from hepbench.specs.types import Array
    from hepbench.storage.results import Results
    from hepbench.tables.rows import Row


EVERY = 4
"""Each fourth point of a ROC curve is in the page."""

EFFICIENCIES = roc_curves.EFFICIENCIES[EVERY - 1 :: EVERY]

MOST_POINTS = 80
"""Points of a training curve."""


def of_row(results: Results, row: Row) -> Curves:
    """Return the curves of a table row, as far as what they need is stored with the results."""
    test, train = (_predictions(results, row, part) for part in ("test", "train"))
    return Curves(roc=_roc(test), steps=_steps(row), scores=_scores(test, train))


def _predictions(results: Results, row: Row, part: str) -> list[Predictions]:
    """Return the predictions of all seeds of a row; none if those of a seed cannot be read."""
    try:
        return stored_predictions.of_records(results, row.ok, part)
    except HepbenchError:
        return []


def _roc(test: Sequence[Predictions]) -> Roc | None:
    if not test or test[0].scores.shape[1] != 2:
        return None
    try:
        curve = roc_curves.over_seeds([roc_curves.roc(each) for each in test])
    except HepbenchError:
        return None
    # the first points may lack: few background examples pass
    places = range(
        len(roc_curves.EFFICIENCIES) - len(curve.efficiency), len(roc_curves.EFFICIENCIES)
    )
    kept = [i - places.start for i in places if i % EVERY == EVERY - 1]
    spread = [] if curve.spread is None else _short(curve.spread[kept])
    start = len(EFFICIENCIES) - len(kept)
    return Roc(start, _short(curve.value[kept]), _short(curve.stderr[kept]), spread)


def _scores(test: Sequence[Predictions], train: Sequence[Predictions]) -> Scores | None:
    if not test:
        return None
    classes = range(test[0].scores.shape[1])
    found = [[_density(part, i) for i in classes] if part else [] for part in (test, train)]
    return Scores(*found)


def _density(part: Sequence[Predictions], label: int) -> list[float]:
    if not all((each.labels == label).any() for each in part):
        return []
    return _short(overtraining.histogram(part, label).density)


def _steps(row: Row) -> list[Step]:
    return [
        Step(each.step, each.time, each.reported, lines)
        for each in training.trainings([""], [row])
        if (lines := list(_lines(each)))
    ]


def _lines(histories: StepHistories) -> Iterator[Line]:
    """Yield the lines of a step's training: losses and metrics, of training and validation."""
    losses = [("loss", "train", ["train_loss"]), ("loss", "validation", list(training.LOSSES))]
    metrics = [
        (name, part, [f"{prefix}{name}"])
        for name in training.METRICS
        for part, prefix in (("train", "train_"), ("validation", ""))
    ]
    for quantity, part, names in (*losses, *metrics):
        if name := histories.first(names):
            kept = _kept(histories, name) if part == "validation" else []
            yield _line(histories, name, quantity, part, kept)


def _line(
    histories: StepHistories, name: str, quantity: str, part: str, kept: list[tuple[int, float]]
) -> Line:
    found = training.line(histories.histories, name)
    every = slice(None, None, -(-len(found.epochs) // MOST_POINTS))
    spread = [] if found.spread is None else _short(found.spread[every])
    epochs = [int(epoch) for epoch in found.epochs[every]]
    return Line(quantity, part, epochs, _short(found.mean[every]), spread, kept)


def _kept(histories: StepHistories, name: str) -> list[tuple[int, float]]:
    return [
        (best + 1, float(f"{history[best][name]:.4g}"))
        for history, best in zip(histories.histories, histories.best, strict=True)
        if best is not None and best < len(history) and name in history[best]
    ]


def _short(values: Array) -> list[float]:
    """Return numbers with four digits: a page needs no more to draw them."""
    return [float(f"{value:.4g}") for value in values]
