"""The spec of a metric, the predictions it receives, and the value it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hepbench.specs.errors import PluginError
from hepbench.specs.parameters import check_files, check_name
from hepbench.specs.renamed import unknown_attribute
from hepbench.specs.text import unknown

if TYPE_CHECKING:
    from hepbench.specs.types import Array, Inputs


@dataclass(frozen=True)
class Measured:
    """A metric's value with its uncertainty.

    Attributes:
        value: finite.
        stderr: standard error of the test sample, if known.
        low, high: 68 % interval, if it is not symmetric.
        limit: True if ``value`` is a 95 % lower limit.
    """

    value: float
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    limit: bool = False


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Scores and labels of one part (such as test), from which metrics are computed.

    They exist only in the parent process. ``predictions[rows]`` are those of some examples, for a
    metric in slices; ``validation`` stays whole.

    Attributes:
        labels: (N,) int64, the class of each example.
        scores: (N, classes) float64, rows adding to 1.
        weights: (N,) float64 of mean 1, or None for equal weights. A metric that declares
            ``physical_weights`` gets the event weights as the dataset has them.
        physical_weights: (N,) float64, the event weights as the dataset has them; None if it has
            none.
        ids: (N,) int64.
        spectators: (N,) each, by name: mass, pt and the like, for slices.
        values: (N,) each, of a network whose encoder is as its own loss left it: the terms of that
            loss (``reconstruction``, ``kl``); ``elbo``, their weighted sum, where one is ``kl``;
            ``latent_zeros``, the fraction of the latent that is nearly zero. See ``scoring.values``.
        validation: the validation part; thresholds and calibration are chosen on it, never on the
            test set.
    """

    labels: Array
    scores: Array
    weights: Array | None = None
    physical_weights: Array | None = None
    ids: Array | None = None
    spectators: Inputs = field(default_factory=dict)
    values: Inputs = field(default_factory=dict)
    validation: Predictions | None = None

    def __getitem__(self, rows: Any) -> Predictions:
        def take(array: Array | None) -> Array | None:
            return None if array is None else array[rows]

        return Predictions(
            labels=self.labels[rows],
            scores=self.scores[rows],
            weights=take(self.weights),
            physical_weights=take(self.physical_weights),
            ids=take(self.ids),
            spectators={name: array[rows] for name, array in self.spectators.items()},
            values={name: array[rows] for name, array in self.values.items()},
            validation=self.validation,
        )

    if not TYPE_CHECKING:
        # type checkers must go on to report unknown attributes
        __getattr__ = unknown_attribute


ASPECTS = ("data", "split", "labels", "preset", "preprocess")
"""Aspects in which two results may differ, so that their values must not be compared."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric plugin: a function that computes a value from predictions.

    Attributes:
        name: as shown in tables.
        summary: one line.
        compute: ``"module:function"`` of ``(Predictions) -> float | Measured``; it raises
            UndefinedMetricError if it has no value. It is called for the test, training and
            validation parts; ``Predictions.validation`` is None for the last.
        higher_is_better: direction; None if neither is better: rows are not ranked by it.
        same: names of ASPECTS that must be equal for two values to be compared.
        classes: the number of classes it needs; None means any.
        physical_weights: whether it needs the event weights as the dataset has them, as sums of
            expected events do. It is computed only for datasets with event weights.
        files: files that ``compute`` opens, by Python too: see ``Model.files``. What a metric opens
            is not seen by itself.

    Raises:
        PluginError: the name, or an aspect, is not allowed.
    """

    name: str
    compute: str
    higher_is_better: bool | None
    summary: str = ""
    same: frozenset[str] = frozenset({"data", "split", "labels"})
    classes: int | None = None
    physical_weights: bool = False
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name("metric", self.name)
        check_files(f"metric {self.name}", self.files)
        for name in sorted(self.same - {*ASPECTS}):
            msg = f"metric {self.name}: {unknown('aspect', name, ASPECTS)}"
            raise PluginError(msg)
