"""Examples: named inputs with ids, and labels where they may be seen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hepbench.errors import DataError, ProtocolError

if TYPE_CHECKING:
    from hepbench.specs import Array, Inputs


@dataclass(frozen=True, kw_only=True)
class Examples:
    """N examples; ``len()``, slices and index arrays work as for an array.

    Attributes:
        inputs: by name, (N, ...) each.
        ids: (N,) int64, the same in every run and on every machine.
        labels: (N,) int64, -1 where unknown; None for unlabelled or sealed examples.
        weights: (N,) float, or None for equal weights.
        targets: (N,) each: mass, pt and the like.

    Raises:
        DataError: the lengths differ.
    """

    inputs: Inputs
    ids: Array
    labels: Array | None = None
    weights: Array | None = None
    targets: Inputs = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.ids)
        arrays = {**self.inputs, **self.targets, "labels": self.labels, "weights": self.weights}
        for name, array in arrays.items():
            if array is not None and len(array) != n:
                msg = f"examples: '{name}' has {len(array)} rows, ids have {n}"
                raise DataError(msg)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: Any) -> Examples:
        def take(array: Array | None) -> Array | None:
            return None if array is None else array[rows]

        return Examples(
            inputs={name: a[rows] for name, a in self.inputs.items()},
            ids=self.ids[rows],
            labels=take(self.labels),
            weights=take(self.weights),
            targets={name: a[rows] for name, a in self.targets.items()},
        )


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a method is given: no test example, by construction.

    Attributes:
        train: what it trains on.
        validation: what it chooses by: early stopping, thresholds, settings.
        unlabelled: the dataset's own unlabelled examples, where it has any.
        classes: how many classes the labels have.

    Raises:
        ProtocolError: an example is in ``train`` and in ``validation``.
    """

    train: Examples
    validation: Examples
    unlabelled: Examples | None = None
    classes: int = 2

    def __post_init__(self) -> None:
        import numpy as np

        shared = np.isin(self.validation.ids, self.train.ids).sum()
        if shared:
            msg = (
                f"validation shares {shared} of {len(self.validation)} examples with train; "
                "stopping and choosing need examples that were not trained on"
            )
            raise ProtocolError(msg)

    def without_labels(self) -> TrainingData:
        """Return the same inputs with every label removed, for methods that may see none."""
        return replace(
            self,
            train=replace(self.train, labels=None),
            validation=replace(self.validation, labels=None),
        )
