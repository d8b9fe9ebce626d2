"""Metrics: the spec, the predictions that a metric is given and the value that it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hepbench.specs.parameters import check_name

if TYPE_CHECKING:
    from hepbench.specs.types import Array, Inputs


@dataclass(frozen=True)
class Measured:
    """A value with its uncertainty.

    Attributes:
        value: finite.
        stderr: standard error of the test sample, where one is known.
        low, high: 68 % interval, where it is not symmetric.
        limit: True where ``value`` is a 95 % lower limit.
    """

    value: float
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    limit: bool = False


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Scores of one part joined to its labels; exists only in the parent process.

    Attributes:
        labels: (N,) int64, the class of each example.
        scores: (N, classes) float64, rows adding to 1.
        weights: (N,) float64, or None for equal weights.
        ids: (N,) int64.
        targets: (N,) each: mass, pt and the like, for slices.
        values: (N,) each, of a network whose encoder is as its own loss left it: the terms of that
            loss (``reconstruction``, ``kl``); ``elbo``, their weighted sum, where one is ``kl``;
            ``latent_zeros``, the share of the code that is nearly zero. See ``encoders.values``.
        validation: the validation part, for whatever must be chosen before the test set is seen:
            thresholds and calibration.
    """

    labels: Array
    scores: Array
    weights: Array | None = None
    ids: Array | None = None
    targets: Inputs = field(default_factory=dict)
    values: Inputs = field(default_factory=dict)
    validation: Predictions | None = None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure computed from predictions.

    Attributes:
        name, summary: as shown in tables; one line.
        compute: ``(Predictions) -> float | Measured``; raises UndefinedMetricError where it has
            no value.
        higher_is_better: direction; None where neither is better: such a figure ranks nothing.
        same: what must be equal for two values to be compared: names among ``data``, ``split``,
            ``labels``, ``preset``, ``preprocess``.
        classes: how many classes it is made for; None: any.
    """

    name: str
    compute: str
    higher_is_better: bool | None
    summary: str = ""
    same: frozenset[str] = frozenset({"data", "split", "labels"})
    classes: int | None = None

    def __post_init__(self) -> None:
        check_name("metric", self.name)
