"""Event weights: relative weights of mean 1, for metrics, and the weights that training sees. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepbench.specs.errors import DataError

if TYPE_CHECKING:
    from hepbench.specs.training_data import Examples
    from hepbench.specs.types import Array


def relative(weights: Array | None) -> Array | None:
    """Return (N,) weights divided by their mean, or None if all are equal.

    They are rounded to the 24 bits of float32: a factor common to all weights, such as a luminosity,
    rounds each product by itself, and must change nothing. (It does where a weight lies on the edge
    of two such numbers, one weight in 10^8.) Weights whose sum is not above 0 stay as they are.
    """
    if weights is None or not len(weights):
        return weights
    mean = np.mean(weights, dtype=np.float64)
    if not 0 < mean < np.inf:
        return np.asarray(weights, np.float64)
    found = (np.asarray(weights, np.float64) / mean).astype(np.float32).astype(np.float64)
    return None if (found == found[0]).all() else found


def of_training(rule: str, labels: Array, weights: Array | None) -> Array | None:
    """Return the (N,) weights of mean 1 that training sees, or None for equal weights.

    Args:
        rule: ``physical``: the event weights; ``absolute``: their absolute values; ``balanced``: the
            event weights, scaled so that all classes have the same sum; ``none``: no weights.
        labels: (N,) int, the class of each example.
        weights: (N,) event weights, or None.
    """
    if rule == "none" or (weights is None and rule != "balanced"):
        return None
    found = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
    if rule == "absolute":
        found = abs(found)
    if rule == "balanced":
        found = found / np.bincount(labels, found)[labels]
    return relative(found)


def refuse_negative(rule: str, *parts: Examples) -> None:
    """Raise DataError if examples to train on have negative weights that the rule does not allow."""
    if rule in {"absolute", "none"}:
        return
    negative = sum(
        int((np.asarray(part.weights) < 0).sum()) for part in parts if part.weights is not None
    )
    if negative:
        every = sum(map(len, parts))
        msg = (
            f"{negative:,} of {every:,} training and validation examples have negative weights; "
            f"dataset.training_weights is '{rule}', but 'absolute' or 'none' is needed to train on them"
        )
        raise DataError(msg)


def refuse_weightless(rule: str, part: Examples) -> None:
    """Raise DataError if weights of a class add up to nothing, as those of few examples may."""
    if rule == "none" or part.weights is None:
        return
    weights = np.asarray(part.weights, np.float64)
    sums = np.bincount(np.asarray(part.labels), abs(weights) if rule == "absolute" else weights)
    lightest = int(np.argmin(sums))
    if sums[lightest] <= 0:
        msg = (
            f"the weights of class {lightest} add up to {sums[lightest]:.3g} in {len(part):,} labelled "
            f"examples; dataset.training_weights is '{rule}', which needs more than 0: set it to "
            "'none', or raise dataset.label_fraction or dataset.training_size"
        )
        raise DataError(msg)
