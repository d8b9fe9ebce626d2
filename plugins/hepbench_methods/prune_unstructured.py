"""Unstructured pruning: the smallest weights of a trained classifier are held at zero.

Han et al. (2015), arXiv:1506.02626, without their training afterwards: after a write-up (seeds/000;
R3 of REFERENCE.md) that left the pruned network as it was. The code is our own. Zeros are multiplied
like any other number: operations and latency stay, ``theoretical_macs`` is what could be saved.
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
    """Mask the smallest weights.

    Args:
        start: a classifier.
        data, work: not needed.
        ratio: of the weights, in [0, 1).
        scope: ``global``: the smallest of all layers; ``layer``: this share of each layer.

    Raises:
        UsageError: a ratio outside [0, 1), or another scope.
    """
    pruning.check_ratio("prune-unstructured", ratio)
    pruning.check_among("prune-unstructured[scope]", scope, pruning.SCOPES)
    # what is masked was trimmed before
    network = start if start.masks else start.trim()
    pruning.hold(network, pruning.smallest(network, ratio, scope))
    return network
