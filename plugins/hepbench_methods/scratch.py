"""Training from a fresh start: a network by its labels alone; an estimator fits itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepbench import Estimator, Objective

if TYPE_CHECKING:
    from hepbench import Network, TrainingData, Work


def scratch(
    start: Network | Estimator, data: TrainingData, work: Work, *, rate: float, **training: Any
) -> Network | Estimator:
    """Train encoder and head at one rate; an estimator has parameters of its own for that."""
    if isinstance(start, Estimator):
        start.fit(data, seed=work.seed)
        return start
    # it imports torch, which takes two seconds: estimators need none
    from hepbench import classification

    objective = Objective(classification, {"encoder": rate, "head": rate})
    return work.fit(work.with_head(start), data, objective, **training)
