"""Train a newly built network on the labels, or fit an estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepbench import Estimator, Objective

if TYPE_CHECKING:
    from hepbench import Context, Network, TrainingData


def scratch(
    start: Network | Estimator,
    data: TrainingData,
    context: Context,
    *,
    learning_rate: float,
    **training: Any,
) -> Network | Estimator:
    """Train encoder and head with one learning rate, or fit an estimator."""
    if isinstance(start, Estimator):
        start.fit(data, seed=context.seed)
        return start
    # it imports torch, which takes two seconds: estimators need none
    from hepbench import classification

    objective = Objective(classification, {"encoder": learning_rate, "head": learning_rate})
    return context.fit(context.with_head(start), data, objective, **training)
