"""Training settings: the defaults and ranges of what ``Context.fit`` accepts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench.specs.parameters import Allowed, Range

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepbench.specs.types import Params

TRAINING: Params = {
    "epochs": 10,
    "batch_size": 128,
    "least_steps": 1,
    "optimizer": {"name": "AdamW"},
    "schedule": None,
    "clip": None,
    "patience": None,
    "choose": "loss",
    "augment": [],
}
"""Defaults of what ``Context.fit`` may be told: for the params of a method that trains. What each
means: ``train.FitSettings``."""


TRAINING_ALLOWED: Mapping[str, Allowed] = {
    "epochs": Range(least=0, whole=True),
    "batch_size": Range(least=1, whole=True),
    "least_steps": Range(least=1, whole=True),
    "optimizer.name": ("AdamW", "Adam", "SGD"),
    "schedule.name": (
        *("ReduceLROnPlateau", "StepLR"),
        *("CosineAnnealingLR", "CosineAnnealingWarmRestarts"),
    ),
    "clip": Range(above=0),
    "patience": Range(least=0, whole=True),
}
"""What these may be, of methods that have them all."""
