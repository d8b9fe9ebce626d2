"""How many equal examples weighted ones count like, with a warning if there are few. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepbench.evaluation.uncertainty import effective_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hepbench.specs.metric import Predictions
    from hepbench.specs.types import Array


FEW = 75.0
"""Examples of a class below which errors of metrics may be too small: with 14 and an AUC of .99, they
contain the true AUC in .54 of the cases, not in .68 (``benchmarks/coverage.md``)."""


FEW_WEIGHTED = 200.0
"""The same for the effective number of weighted examples, whose few heaviest decide."""


HEAVY = 0.1
"""Fraction of the weight of a class above which a single example is named."""


def by_class(predictions: Predictions) -> list[float]:
    """Return the effective number of examples of each class: those that would have equal weights."""
    classes = predictions.scores.shape[1]
    weights = (
        np.ones(len(predictions.labels)) if predictions.weights is None else predictions.weights
    )
    chosen = (weights[predictions.labels == label] for label in range(classes))
    return [effective_number(some) if some.any() else 0.0 for some in chosen]


def describe_few(predictions: Predictions, classes: Sequence[str]) -> Iterator[str]:
    """Yield warnings about test examples that are few, or of which one weighs too much.

    Args:
        predictions: of the test part.
        classes: their names.
    """
    found = by_class(predictions)
    least = int(np.argmin(found))
    if found[least] < (FEW if predictions.weights is None else FEW_WEIGHTED):
        count = int((predictions.labels == least).sum())
        like = "" if predictions.weights is None else f" count like {found[least]:.1f}"
        verb = " are few" if not like else ", which are few"
        yield (
            f"errors: {count} test examples of class '{classes[least]}'{like}{verb}: errors of the "
            "test sample may be too small"
        )
    if predictions.weights is not None:
        yield from _heavy_examples(predictions, abs(predictions.weights), classes)


def _heavy_examples(
    predictions: Predictions, weights: Array, classes: Sequence[str]
) -> Iterator[str]:
    ids = predictions.ids
    for label, name in enumerate(classes):
        mine = np.flatnonzero(predictions.labels == label)
        heaviest = mine[np.argmax(weights[mine])]
        if (fraction := weights[heaviest] / weights[mine].sum()) > HEAVY:
            which = "" if ids is None else f" {ids[heaviest]}"
            yield (
                f"weights: test example{which} has {fraction:.0%} of the weight of class '{name}' alone"
            )
