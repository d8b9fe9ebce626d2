"""Iterative pruning: mask a few of the smallest weights, train the network, and repeat.

Han et al. (2015), arXiv:1506.02626; Zhu and Gupta (2017), arXiv:1710.01878. After a write-up
(000; R3 of docs/systems.md): steps of .1, five epochs after each. The code is our own.

Departure: the write-up removed its masks before each training, so its networks became dense again;
here pruned weights stay zero, and the core checks that.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from hepbench import Objective, classification
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
    learning_rate: float,
    **training: Any,
) -> Network:
    """Mask the smallest weights of a classifier step by step, with training after each step.

    Args:
        start: a classifier.
        data: what is trained on.
        context: trains.
        ratio: fraction of the weights that is pruned after the last step.
        step: fraction that each step adds.
        rounds: minimum number of trainings. Rounds after the ratio is reached only train, so that
            all ratios have the same training budget; ratio 0 is the dense control.
        scope: ``global``: the smallest weights of all layers; ``layer``: the same fraction of each
            layer.
        learning_rate: of the whole network.
        training: settings of each training.
    """
    # a network with masks is trimmed already
    network = start if start.masks else start.trim()
    for fraction in fractions(ratio, step, rounds):
        pruning.apply_masks(network, pruning.smallest(network, fraction, scope))
        context.fit(network, data, Objective(classification, {"": learning_rate}), **training)
    return network


def fractions(ratio: float, step: float, rounds: int) -> list[float]:
    """Return the fraction of weights that are pruned after each round."""
    # .3 / .1 is above 3 by a rounding error
    steps = math.ceil(ratio / step - 1e-9)
    return [min(ratio, step * i) for i in range(1, max(steps, rounds) + 1)]
