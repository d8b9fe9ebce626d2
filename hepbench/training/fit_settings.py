"""The settings of one training of a network, and the job that adds data and objectives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from hepbench.specs.errors import UsageError
from hepbench.specs.parameters import allowed_values, defaults, refused
from hepbench.specs.renamed import renamed
from hepbench.specs.text import unknown
from hepbench.specs.training_settings import TRAINING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from hepbench.specs.method import Objective
    from hepbench.training.networks.batches import BatchSource


class FitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of ``Context.fit``; ``TRAINING`` has their defaults and allowed values.

    Attributes:
        epochs: maximum number of passes over the training examples; 0 trains nothing.
        batch_size: examples per step.
        min_steps: minimum number of steps per epoch. With few examples an epoch goes through all
            of them again until it has this many steps.
        optimizer: ``name`` and options as torch names them, without the learning rate, which
            belongs to the objective.
        schedule: ``name`` and options as torch names them; one step per epoch. ReduceLROnPlateau
            watches the objective's own validation loss; CosineAnnealingLR runs over all epochs
            unless ``T_max`` is given.
        gradient_clip: maximum norm of an objective's gradient.
        patience: epochs without improvement before training stops, counted from the epoch in
            which the weights of all terms are final.
        monitor: the validation value that selects the best epoch: ``loss`` (term weights at their
            final values), one term of it, ``auc`` or ``accuracy``.
        augment: names of the dataset's augmentations, applied to training batches.
        precision: of the forward pass in training: ``float32``; ``bf16``; ``fp16``, with the
            gradients scaled. Weights stay in float32.
    """

    epochs: int
    batch_size: int
    min_steps: int
    optimizer: dict[str, Any]
    schedule: dict[str, Any] | None
    gradient_clip: float | None
    patience: int | None
    monitor: str
    augment: list[str]
    precision: str


def passes(settings: FitSettings, steps: int) -> int:
    """Return the passes over the training data per epoch, given the training steps of one pass."""
    return -(-settings.min_steps // max(1, steps))


def fit_settings(given: Mapping[str, Any]) -> FitSettings:
    """Return the settings that a method gave to ``Context.fit``, with defaults for the others.

    Raises:
        UsageError: a name is unknown, or a value is not allowed.
    """
    for name in given:
        if name not in TRAINING:
            why = renamed(name, TRAINING) or unknown("setting", name, TRAINING)
            msg = f"training: {why}"
            raise UsageError(msg)
    for path, why in refused(given, allowed_values(TRAINING)):
        msg = f"training: {path} {why}"
        raise UsageError(msg)
    try:
        return msgspec.convert({**defaults(TRAINING), **given}, FitSettings)
    except msgspec.ValidationError as error:
        msg = f"training: {error}"
        raise UsageError(msg) from error


@dataclass(frozen=True, kw_only=True)
class FitJob:
    """The data, objectives and settings of one training of a network.

    Attributes:
        train, validation: sources of batches.
        objectives: they take turns at each batch.
        training: the settings.
        augment: functions applied to the inputs of each training batch.
        weight: mean weight of the training examples; weights are divided by it. None if they have
            no weights.
        seed: for the order of examples, and for random numbers in validation.
        report_progress: is called with a short text about the progress.
    """

    train: BatchSource
    validation: BatchSource
    objectives: Sequence[Objective]
    training: FitSettings
    seed: int
    augment: Sequence[Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]] = ()
    weight: float | None = None
    report_progress: Callable[[str], None] = field(default=lambda _: None)


Row = dict[str, float]
