"""Training from a fresh start: a network by its labels alone; an estimator fits itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

<<<<<<< HEAD
from hepbench import Estimator, Objective, classification
=======
from hepbench import Estimator, Objective
>>>>>>> da84e379246a6b1bf25084a7370e07266c6197aa

if TYPE_CHECKING:
    from hepbench import Network, TrainingData, Work


def scratch(
    start: Network | Estimator, data: TrainingData, work: Work, *, rate: float, **training: Any
) -> Network | Estimator:
    """Train encoder and head at one rate; an estimator has parameters of its own for that."""
    if isinstance(start, Estimator):
        start.fit(data, seed=work.seed)
        return start
<<<<<<< HEAD
=======
    # it imports torch, which takes two seconds: estimators need none
    from hepbench import classification

>>>>>>> da84e379246a6b1bf25084a7370e07266c6197aa
    objective = Objective(classification, {"encoder": rate, "head": rate})
    return work.fit(work.with_head(start), data, objective, **training)
