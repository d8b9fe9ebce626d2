"""What a training is told: settings, sources of batches and objectives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from hepbench.specs.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from hepbench.specs.method import Objective
    from hepbench.training.networks.batches import BatchSource


class FitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``Context.fit`` may be told; the defaults are ``TRAINING``.

    Attributes:
        epochs: at most so many passes over the training examples; 0 trains nothing.
        batch_size: examples a step.
        least_steps: an epoch goes through the examples again, as a whole, until it has so many
            steps: few examples are not trained on less.
        optimizer: ``name``, one of AdamW, Adam, SGD, and its options as torch names them; learning
            rates are the objectives'.
        schedule: ``name``, one of ReduceLROnPlateau (of the objective's own validation loss),
            StepLR, CosineAnnealingLR (over all epochs, unless ``T_max`` is given),
            CosineAnnealingWarmRestarts, and its options as torch names them; a step an epoch.
        clip: largest norm of an objective's gradient.
        patience: stop after so many epochs without a better one, counted from when annealed
            weights of terms are final.
        choose: what makes an epoch the best, on validation: ``loss`` (with annealed weights at
            their final values), one term of it, ``auc`` or ``accuracy``.
        augment: names of the dataset's augmentations, for training batches.
    """

    epochs: int = 10
    batch_size: int = 128
    least_steps: int = 1
    optimizer: dict[str, Any] = msgspec.field(default_factory=lambda: {"name": "AdamW"})
    schedule: dict[str, Any] | None = None
    clip: float | None = None
    patience: int | None = None
    choose: str = "loss"
    augment: list[str] = []


def passes(told: FitSettings, steps: int) -> int:
    """Return how often an epoch goes through examples that make so many steps."""
    return -(-told.least_steps // max(1, steps))


def training(told: Mapping[str, Any]) -> FitSettings:
    """Return what a method said, checked.

    Raises:
        UsageError: a key that does not exist, or a value that cannot be.
    """
    try:
        found = msgspec.convert(dict(told), FitSettings)
    except msgspec.ValidationError as error:
        msg = f"training: {error}; known are {', '.join(FitSettings.__struct_fields__)}"
        raise UsageError(msg) from error
    limits = {"epochs": 0, "batch_size": 1, "least_steps": 1, "patience": 0}
    for name, least in limits.items():
        value = getattr(found, name)
        if value is not None and value < least:
            msg = f"training: {name} is {value}; at least {least} is expected"
            raise UsageError(msg)
    if found.clip is not None and not found.clip > 0:
        msg = f"training: clip is {found.clip}; a norm above 0 is expected"
        raise UsageError(msg)
    return found


@dataclass(frozen=True, kw_only=True)
class FitJob:
    """What a network is trained on, and how.

    Attributes:
        train, validation: sources of batches.
        objectives: they take turns at each batch.
        training: as the method told it.
        augment: what is done to the inputs of each training batch.
        weight: mean weight of the training examples, where they have any: what counts is their
            proportions.
        seed: of the order of examples, and of whatever is drawn in validation.
        tell: takes a few words on how far it is.
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
