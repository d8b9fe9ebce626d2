"""Stored predictions of the rows of a panel, with one class as signal and all others as background.

Two classes give one such choice; with more, each class is the signal once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hepbench.evaluation import stored_predictions
from hepbench.plots import labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hepbench.plots.selection import Panel
    from hepbench.specs.metric import Predictions
    from hepbench.storage.results import Results


@dataclass(frozen=True)
class SignalScores:
    """Test predictions of the rows of a panel, as scores of a signal and a background.

    Attributes:
        signal, background: names of the classes.
        rows: predictions of two classes, for each row and each seed.
        classes: number of classes of the dataset.
    """

    signal: str
    background: str
    rows: list[list[Predictions]]
    classes: int

    @property
    def about(self) -> str:
        """What is signal and what background, for a title."""
        return f"{self.signal} against {self.background}"

    def name(self, panel: Panel) -> str:
        """Return a name for the file of a figure."""
        return panel.title if self.classes == 2 else f"{panel.title}-{self.signal}"


def of_panel(results: Results, panel: Panel) -> Iterator[SignalScores]:
    """Yield the test predictions of a panel's rows, with each possible signal.

    Raises:
        ResultsError: predictions are missing or were changed.
    """
    tests = [stored_predictions.of_records(results, row.ok, "test") for row in panel.rows]
    n = tests[0][0].scores.shape[1]
    names = labels.class_names(panel.rows[0].aspects["labels"], n)
    if n == 2:
        yield SignalScores(names[1], names[0], tests, n)
        return
    for label in range(n):
        rows = [[one_against_rest(each, label) for each in seeds] for seeds in tests]
        yield SignalScores(names[label], "all others", rows, n)


def one_against_rest(predictions: Predictions, label: int) -> Predictions:
    """Return predictions of two classes: ``label`` is the signal, all others the background."""
    score = predictions.scores[:, label]
    return replace(
        predictions,
        labels=(predictions.labels == label).astype(np.int64),
        scores=np.stack([1 - score, score], axis=1),
    )
