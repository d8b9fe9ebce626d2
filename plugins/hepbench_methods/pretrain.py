"""Pretraining by the encoder's own loss; it sees no label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepbench import Objective, pretraining

if TYPE_CHECKING:
    from hepbench import Context, Network, TrainingData


def pretrain(
    start: Network, data: TrainingData, context: Context, *, rate: float, **training: Any
) -> Network:
    """Train the encoder, and whatever its pretraining uses beside it."""
    return context.fit(start, data, Objective(pretraining, {"encoder": rate}), **training)
