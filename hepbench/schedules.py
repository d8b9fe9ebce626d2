"""How training is told: optimisers, schedules of the learning rate, and when to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from torch import optim
from torch.optim import lr_scheduler

from hepbench.errors import UsageError, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch.optim import Optimizer

OPTIMIZERS = {"AdamW": optim.AdamW, "Adam": optim.Adam, "SGD": optim.SGD}

SCHEDULES = {
    "ReduceLROnPlateau": lr_scheduler.ReduceLROnPlateau,
    "StepLR": lr_scheduler.StepLR,
    "CosineAnnealingLR": lr_scheduler.CosineAnnealingLR,
    "CosineAnnealingWarmRestarts": lr_scheduler.CosineAnnealingWarmRestarts,
}


class Training(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``Work.fit`` may be told; the defaults are ``TRAINING``.

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


def passes(told: Training, steps: int) -> int:
    """Return how often an epoch goes through examples that make so many steps."""
    return -(-told.least_steps // max(1, steps))


def training(told: Mapping[str, Any]) -> Training:
    """Return what a method said, checked.

    Raises:
        UsageError: a key that does not exist, or a value that cannot be.
    """
    try:
        found = msgspec.convert(dict(told), Training)
    except msgspec.ValidationError as error:
        msg = f"training: {error}; known are {', '.join(Training.__struct_fields__)}"
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


def optimizer(groups: list[dict[str, Any]], told: Mapping[str, Any]) -> Optimizer:
    """Return an optimiser of groups of parameters.

    Raises:
        UsageError: its name or an option is not known.
    """
    # one kernel for all parameters: a quarter of the time that torch's default takes on a CPU
    return _made("optimizer", OPTIMIZERS, {"fused": True, **told}, groups)  # type: ignore[no-any-return]


def schedule(
    optimizer: Optimizer, told: Mapping[str, Any] | None, epochs: int
) -> Callable[[float], None]:
    """Return what is called after each epoch with the objective's validation loss.

    Raises:
        UsageError: its name or an option is not known.
    """
    if told is None:
        return lambda _: None
    if told.get("name") == "CosineAnnealingLR":
        told = {"T_max": epochs, **told}
    made = _made("schedule", SCHEDULES, told, optimizer)
    if isinstance(made, lr_scheduler.ReduceLROnPlateau):
        return made.step
    return lambda _: made.step()


def _made(kind: str, known: Mapping[str, Any], told: Mapping[str, Any], subject: Any) -> Any:
    options = {name: value for name, value in told.items() if name != "name"}
    name = str(told.get("name", ""))
    if name not in known:
        raise UsageError(f"training: {kind}: " + unknown(kind, name, known))
    try:
        return known[name](subject, **options)
    except (TypeError, ValueError) as error:
        msg = f"training: {kind} {name}: {error}"
        raise UsageError(msg) from error
