"""Training settings: defaults and allowed values of the settings of ``Context.fit``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hepbench.specs.errors import PluginError
from hepbench.specs.parameters import Param, Range
from hepbench.specs.renamed import renamed
from hepbench.specs.text import unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepbench.specs.types import Params

OPTIMIZERS = ("AdamW", "Adam", "SGD")
SCHEDULES = ("ReduceLROnPlateau", "StepLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts")

TRAINING: Mapping[str, Param] = {
    "epochs": Param(10, Range(least=0, whole=True)),
    "batch_size": Param(128, Range(least=1, whole=True)),
    "min_steps": Param(1, Range(least=1, whole=True)),
    "optimizer": Param({"name": "AdamW"}, {"name": OPTIMIZERS}),
    "schedule": Param(None, {"name": SCHEDULES}),
    "gradient_clip": Param(None, Range(above=0)),
    "patience": Param(None, Range(least=0, whole=True)),
    "monitor": Param("loss"),
    "augment": Param([]),
    "precision": Param("float32", ("float32", "bf16", "fp16")),
}
"""The settings of ``Context.fit``; ``hepbench.training.fit_settings.FitSettings`` explains each."""


def training_params(settings: Params, **presets: Params) -> dict[str, Param]:
    """Return the parameters for all training settings, with a method's own defaults.

    Args:
        settings: the defaults that differ from those of ``TRAINING``.
        presets: by the name of a preset, the defaults that differ under it, such as
            ``paper={"epochs": 50}``.

    Raises:
        PluginError: a name is not a training setting.
    """
    for name in (*settings, *(name for preset in presets.values() for name in preset)):
        if name not in TRAINING:
            why = renamed(name, TRAINING) or unknown("training setting", name, TRAINING)
            raise PluginError(why)
    return {
        name: replace(
            param,
            default=settings.get(name, param.default),
            presets={preset: values[name] for preset, values in presets.items() if name in values},
            optional=param.may_be_none,
        )
        for name, param in TRAINING.items()
    }
