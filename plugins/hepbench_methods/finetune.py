"""Fine-tuning: a trained encoder under a new head, each with a learning rate of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepbench import Objective, classification

if TYPE_CHECKING:
    from hepbench import Context, Network, TrainingData


def finetune(
    start: Network,
    data: TrainingData,
    context: Context,
    *,
    encoder_rate: float,
    head_rate: float,
    **training: Any,
) -> Network:
    """Train both by the labels."""
    objective = Objective(classification, {"encoder": encoder_rate, "head": head_rate})
    return context.fit(context.with_head(start), data, objective, **training)
