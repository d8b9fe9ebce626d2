"""Iterative pruning: a few of the smallest weights at a time, each time followed by training.

Han et al. (2015), arXiv:1506.02626; Zhu and Gupta (2017), arXiv:1710.01878. After a write-up
(seeds/000; R3 of REFERENCE.md): steps of .1, five epochs after each. The code is our own.

Departure: the write-up took its masks off before each training, so that its networks were dense
again after it; here weights that are pruned stay zero, and the core checks it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from hepbench import Objective, UsageError, classification
from hepbench_methods import pruning

if TYPE_CHECKING:
    from hepbench import Context, Network, TrainingData


def prune_iterative(
    start: Network,
    data: TrainingData,
    context: Context,
    *,
    ratio: float,
    step: float,
    rounds: int,
    scope: str,
    rate: float,
    **training: Any,
) -> Network:
    """Mask and train in turns.

    Args:
        start: a classifier.
        data: what is trained on.
        work: trains.
        ratio: of the weights, in [0, 1), reached with the last step.
        step: what each step adds to the ratio.
        rounds: of training, at least; those that are left when the ratio is reached train on. With
            as many for every ratio, all have the same budget; ratio 0 is the dense control.
        scope: ``global``: the smallest of all layers; ``layer``: this share of each layer.
        rate: learning rate.
        training: of each round.

    Raises:
        UsageError: a ratio outside [0, 1), a step outside (0, 1], or another scope.
    """
    pruning.check_ratio("prune-iterative", ratio)
    pruning.check_among("prune-iterative[scope]", scope, pruning.SCOPES)
    if not 0 < step <= 1:
        msg = f"prune-iterative[step]: {step}; a share above 0, at most 1, is expected"
        raise UsageError(msg)
    # what is masked was trimmed before
    network = start if start.masks else start.trim()
    for share in shares(ratio, step, rounds):
        pruning.hold(network, pruning.smallest(network, share, scope))
        context.fit(network, data, Objective(classification, {"": rate}), **training)
    return network


def shares(ratio: float, step: float, rounds: int) -> list[float]:
    """Return the ratio of each round."""
    # .3 / .1 is above 3 by a rounding error
    steps = math.ceil(ratio / step - 1e-9)
    return [min(ratio, step * i) for i in range(1, max(steps, rounds) + 1)]
