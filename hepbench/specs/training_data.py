"""Examples and training data: named inputs with ids, labels, weights and spectators."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hepbench.specs.errors import DataError, ProtocolError
from hepbench.specs.renamed import unknown_attribute

if TYPE_CHECKING:
    from hepbench.specs.types import Array, Inputs


@dataclass(frozen=True, kw_only=True)
class Examples:
    """N examples of a dataset; ``len()``, slices and index arrays work as for an array.

    Attributes:
        inputs: by name, (N, ...) each.
        ids: (N,) int64, the same in every run and on every machine.
        labels: (N,) whole numbers of any type, -1 for unknown; None for unlabelled examples and for the
            test part.
        weights: (N,) float, or None for equal weights. A reader gives the event weights, of any sign;
            methods see weights of mean 1.
        spectators: (N,) each, by name: mass, pt and the like, carried along and not an input.

    Raises:
        DataError: the lengths differ, or a field has none.
    """

    inputs: Inputs
    ids: Array
    labels: Array | None = None
    weights: Array | None = None
    spectators: Inputs = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            n = len(self.ids)
            arrays = {**self.inputs, **self.spectators, "labels": self.labels,
                      "weights": self.weights}  # fmt: skip
            wrong = [
                name for name, array in arrays.items() if array is not None and len(array) != n
            ]
        except TypeError as error:
            msg = f"examples: inputs and spectators are arrays by name, all others arrays: {error}"
            raise DataError(msg) from error
        if wrong:
            name, rows = wrong[0], len(arrays[wrong[0]])
            msg = f"examples: '{name}' has {rows} rows, but there are {n} ids"
            raise DataError(msg)

    def __len__(self) -> int:
        return len(self.ids)

    if not TYPE_CHECKING:
        # type checkers must go on to report unknown attributes
        __getattr__ = unknown_attribute

    def joined(self, other: Examples) -> Examples:
        """Return these examples and the others as one, without labels and weights.

        Only spectators that both have are kept. The others' ids become negative, because they may
        equal these ids.
        """
        from hepbench.specs.sparse_images import joined

        return Examples(
            inputs={name: joined([a, other.inputs[name]]) for name, a in self.inputs.items()},
            ids=joined([self.ids, -1 - other.ids]),
            spectators={
                n: joined([a, other.spectators[n]])
                for n, a in self.spectators.items()
                if n in other.spectators
            },
        )

    def __getitem__(self, rows: Any) -> Examples:
        def take(array: Array | None) -> Array | None:
            return None if array is None else array[rows]

        return Examples(
            inputs={name: a[rows] for name, a in self.inputs.items()},
            ids=self.ids[rows],
            labels=take(self.labels),
            weights=take(self.weights),
            spectators={name: a[rows] for name, a in self.spectators.items()},
        )


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The training and validation examples that a method gets.

    Attributes:
        train: training examples.
        validation: examples for early stopping, thresholds and settings.
        unlabelled: training examples without labels: the dataset's unlabelled examples, and
            examples whose labels ``label_fraction`` withholds.
        classes: number of classes.

    Raises:
        ProtocolError: an example is in ``train`` and in ``validation``.
    """

    train: Examples
    validation: Examples
    unlabelled: Examples | None = None
    classes: int = 2

    def __post_init__(self) -> None:
        import numpy as np

        # np.isin alone takes four times as long in a worker that runs it once; equal ids also come
        # from an example that is drawn twice, as in a bootstrap
        both = np.sort(np.concatenate([self.validation.ids, self.train.ids]))
        shared = (both[1:] == both[:-1]).any() and np.isin(
            self.validation.ids, self.train.ids
        ).sum()
        if shared:
            msg = (
                f"validation shares {shared} of {len(self.validation)} examples with train; "
                "early stopping and selection need examples that were not trained on"
            )
            raise ProtocolError(msg)

    def without_labels(self) -> TrainingData:
        """Return the training data without labels, for methods that may not see them.

        Unlabelled examples join the training examples. Weights are removed too, because they may
        reveal the class.
        """
        train = replace(self.train, labels=None, weights=None)
        return replace(
            self,
            train=train if self.unlabelled is None else train.joined(self.unlabelled),
            validation=replace(self.validation, labels=None, weights=None),
            unlabelled=None,
        )

    def with_labels_of(self, rows: Array) -> TrainingData:
        """Return the training data with labels for these rows only; others become unlabelled."""
        import numpy as np

        withheld = np.delete(np.arange(len(self.train)), rows)
        own = self.unlabelled
        if not len(withheld):
            return self
        # weights may reveal the class
        rest = replace(self.train[withheld], labels=None, weights=None)
        return replace(
            self, train=self.train[rows], unlabelled=rest if own is None else rest.joined(own)
        )
