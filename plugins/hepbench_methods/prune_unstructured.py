"""Unstructured pruning: mask the smallest weights of a trained classifier, so they stay zero.

Han et al. (2015), arXiv:1506.02626, without their training afterwards: after a write-up (000; R3 of
docs/systems.md) that did not train the pruned network. The code is our own. Zeros are multiplied
like other numbers: operations and latency stay, ``theoretical_macs`` counts those without zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench_methods import pruning

if TYPE_CHECKING:
    from hepbench import Context, Network, TrainingData


def prune_unstructured(
    start: Network,
    data: TrainingData,  # noqa: ARG001
    context: Context,  # noqa: ARG001
    *,
    ratio: float,
    scope: str,
) -> Network:
    """Mask the smallest weights of a classifier, without training.

    Args:
        start: a classifier.
        data, context: not needed.
        ratio: fraction of the weights.
        scope: ``global``: the smallest weights of all layers; ``layer``: the same fraction of each
            layer.
    """
    # a network with masks is trimmed already
    network = start if start.masks else start.trim()
    pruning.apply_masks(network, pruning.smallest(network, ratio, scope))
    return network
