"""Pretraining: the encoder is trained by its own loss, without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepbench import Objective, pretraining

if TYPE_CHECKING:
    from hepbench import Context, Network, TrainingData


def pretrain(
    start: Network, data: TrainingData, context: Context, *, learning_rate: float, **training: Any
) -> Network:
    """Train the encoder, and parts for pretraining only (such as a decoder), by its own loss."""
    return context.fit(start, data, Objective(pretraining, {"encoder": learning_rate}), **training)
