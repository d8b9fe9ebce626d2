"""Compute ROC curves: background rejection against signal efficiency, mean over seeds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hepbench.evaluation import metrics
from hepbench.evaluation.uncertainty import effective_number, upper_limit_for_zero

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepbench.specs.metric import Predictions
    from hepbench.specs.types import Array
    from hepbench.tables.rows import Row


EFFICIENCIES = np.arange(1, 201) / 200


MIN_PASSING = 10
"""A ROC curve is drawn only where at least this many background examples pass."""


@dataclass(frozen=True)
class Roc:
    """The ROC curve of one set of scores, at the signal efficiencies EFFICIENCIES.

    Attributes:
        rejection: 1 / background efficiency; infinite where no background passes.
        stderr: its statistical error.
        passing: effective number of background examples that pass.
        background: effective number of all background examples.
    """

    rejection: Array
    stderr: Array
    passing: Array
    background: float

    @property
    def limit(self) -> float:
        """The 95 % lower limit on the rejection where no background example passes."""
        return 1 / upper_limit_for_zero(self.background)

    @property
    def reach(self) -> float:
        """The largest of EFFICIENCIES at which no background example passes; 0 if there is none."""
        none = self.passing < 1 - 1e-9
        return float(EFFICIENCIES[none].max(initial=0.0))


@dataclass(frozen=True)
class Curve:
    """A quantity against the signal efficiency for one table row; arrays (points,).

    Attributes:
        efficiency: signal efficiency.
        value: mean over seeds of the background rejection, or of what is computed from it.
        stderr: statistical error of the test sample, mean over seeds.
        spread: standard deviation over seeds; None for one seed.
    """

    efficiency: Array
    value: Array
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
        return Roc(1 / found, error, number, effective_number(part.weights_by_class[0]))


def _background_sums(part: metrics.Part) -> tuple[Array, Array]:
    """Return cumulative sums of the background's weights and squared weights, by falling score."""
    background = part.labels == 0
    mass = np.cumsum(np.bincount(part.curve.ties, part.weights * background))
    return mass, np.cumsum(np.bincount(part.curve.ties, part.weights**2 * background))


def over_seeds(rocs: Sequence[Roc], *, min_passing: float = MIN_PASSING) -> Curve:
    """Return the mean ROC curve over seeds, where enough background passes in every seed."""
    known = known_in_all(rocs, min_passing)
    return mean_curve(known, [(each.rejection[known], each.stderr[known]) for each in rocs])


def known_in_all(rocs: Sequence[Roc], min_passing: float = MIN_PASSING) -> Array:
    """Return at which of EFFICIENCIES enough background passes in every seed, (200,) bool."""
    found: Array = np.min([each.passing for each in rocs], axis=0) >= min_passing - 1e-9
    return found


def mean_curve(known: Array, seeds: Sequence[tuple[Array, Array]]) -> Curve:
    """Return the mean over seeds of values and their errors at the known EFFICIENCIES."""
    values, errors = (np.stack(each) for each in zip(*seeds, strict=True))
    return Curve(
        efficiency=EFFICIENCIES[known],
        value=values.mean(axis=0),
        stderr=errors.mean(axis=0),
        spread=values.std(axis=0, ddof=1) if len(seeds) > 1 else None,
    )


def ratio(curve: Curve, reference: Curve) -> tuple[Array, Array]:
    """Return the ratio of two curves and the efficiencies at which both are known."""
    common, mine, theirs = np.intersect1d(
        curve.efficiency, reference.efficiency, return_indices=True
    )
    return common, curve.value[mine] / reference.value[theirs]


def published(row: Row) -> list[tuple[float, float]]:
    """Return the published points (signal efficiency, rejection) of a row."""
    known = row.published.metrics if row.published else {}
    found = ((re.fullmatch(r"rejection_(\d+)", name), value) for name, value in known.items())
    return [(int(match[1]) / 100, value) for match, value in found if match]
