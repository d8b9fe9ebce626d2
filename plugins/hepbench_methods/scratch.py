"""Training from a fresh start: a network by its labels alone; an estimator fits itself."""

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
    rate: float,
    **training: Any,
) -> Network | Estimator:
    """Train encoder and head at one rate; an estimator has parameters of its own for that."""
    if isinstance(start, Estimator):
        start.fit(data, seed=context.seed)
        return start
    # it imports torch, which takes two seconds: estimators need none
    from hepbench import classification

    objective = Objective(classification, {"encoder": rate, "head": rate})
    return context.fit(context.with_head(start), data, objective, **training)
