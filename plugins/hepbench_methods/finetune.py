"""Fine-tuning: a trained encoder and a new head, each with its own learning rate."""

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
    encoder_learning_rate: float,
    head_learning_rate: float,
    **training: Any,
) -> Network:
    """Train encoder and head on the labels, each with its own learning rate."""
    rates = {"encoder": encoder_learning_rate, "head": head_learning_rate}
    objective = Objective(classification, rates)
    return context.fit(context.with_head(start), data, objective, **training)
