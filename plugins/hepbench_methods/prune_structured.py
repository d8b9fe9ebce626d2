"""Structured pruning: remove channels of layers, with all weights that depend on them.

Li et al. (2017), arXiv:1608.08710: the filters of smallest L1 norm, the same fraction of each
layer. torch-pruning finds what depends on a channel (Fang et al., 2023, arXiv:2301.12900), and
``channels`` tests it. The rest of the code is our own.

Departures: not only convolutions shrink, but also hidden units and attention heads. The write-up of
R3 (docs/systems.md) masked filters and removed none, which is ``remove = false``: the weights
that would be removed are zero, their biases and norms stay, nothing gets faster. It did not train
afterwards (``after = "nothing"``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hepbench import Objective, UsageError, classification
from hepbench_methods import channels, pruning

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from hepbench import Context, Examples, Network, TrainingData


SOME = 64
"""Training examples that show which whole numbers an input may hold."""


def prune_structured(
    start: Network,
    data: TrainingData,
    context: Context,
    *,
    ratio: float,
    remove: bool,
    after: str,
    learning_rate: float,
    **training: Any,
) -> Network:
    """Remove or mask the weakest channels of each layer of a classifier.

    Args:
        start: a classifier.
        data: what is trained on.
        context: trains, and takes warnings about layers that cannot shrink.
        ratio: fraction of the channels of each layer; at least one channel stays.
        remove: whether channels are removed; otherwise their weights are masked.
        after: ``nothing``; ``recalibrate``: recompute the statistics of batch normalisation;
            ``finetune``: train on; ``reinitialise``: draw all weights again and train, a control
            that shows what the remaining weights are worth.
        learning_rate: of the whole network.
        training: settings for ``finetune`` and ``reinitialise``.

    Raises:
        UsageError: weights are masked already, or no layer can shrink.
    """
    if start.masks:
        msg = "prune-structured follows no pruning that masks weights; remove channels first"
        raise UsageError(msg)
    network: Network = start.trim()
    if ratio:
        some = next(iter(context.batches(network, data.train[:SOME]))).inputs
        network = (shrunk if remove else masked)(network, ratio, context, some)
    if after == "recalibrate":
        recalibrate(network, data.train, context)
    if after == "reinitialise":
        network.reinitialise()
    if after in {"finetune", "reinitialise"}:
        context.fit(network, data, Objective(classification, {"": learning_rate}), **training)
    return network


def shrunk(
    network: Network, ratio: float, context: Context, examples: Mapping[str, Tensor] | None = None
) -> Network:
    """Return a network without the weakest channels of its layers; see ``channels.find``.

    Raises:
        UsageError: no layer can shrink.
    """
    found = channels.find(network, examples)
    made, removed, unproven = network, [], list(found.unproven)
    for group in found.proven:
        further = [*removed, (group, weakest(network, group, ratio))]
        trial = channels.without(network, further)
        if channels.runs(trial, examples):
            made, removed = trial, further
        else:
            unproven.append(group.layer)
    _warn(network, unproven, context, some=bool(removed))
    return made


def masked(
    network: Network, ratio: float, context: Context, examples: Mapping[str, Tensor] | None = None
) -> Network:
    """Return a network whose weakest channels are masked; see ``channels.find``.

    Raises:
        UsageError: no layer has channels that could be removed.
    """
    found = channels.find(network, examples)
    _warn(network, found.unproven, context, some=bool(found.proven))
    masks: dict[str, Tensor] = {}
    for group in found.proven:
        masks |= channels.masks(network, group, weakest(network, group, ratio))
    pruning.apply_masks(network, masks)
    return network


def weakest(network: Network, group: channels.Group, ratio: float) -> Tensor:
    """Return the channels of a group to remove: a fraction, smallest L1 norm first, never all."""
    norms = channels.norms(network, group)
    n = min(pruning.count(ratio, len(norms)), len(norms) - 1)
    return norms.argsort(stable=True)[:n]


def recalibrate(network: Network, examples: Examples, context: Context) -> None:
    """Recompute a network's batch-normalisation means and variances from training inputs.

    All batches have the same weight. No labels, no gradients, no dropout.
    """
    norms = [m for m in network.modules() if _is_tracking(m)]
    if not norms:
        context.warn("pruning: nothing to recalibrate, there is no batch normalisation")
        return
    before: Mapping[nn.Module, Any] = {norm: norm.momentum for norm in norms}
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for batch in context.batches(network, examples):
            # one example has no variance
            if len(batch) > 1:
                network(batch.inputs)
    for norm, momentum in before.items():
        norm.momentum = momentum
    network.eval()


def _is_tracking(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats


def _warn(network: Network, layers: list[str], context: Context, *, some: bool) -> None:
    """Warn of layers from which no channels can be removed.

    Raises:
        UsageError: no layer can shrink.
    """
    names = ", ".join(sorted(layers))
    if not some:
        msg = f"prune-structured: no layer of {network.recipe.model} can shrink; it has "
        raise UsageError(msg + (names or "none but the last"))
    if names:
        context.warn(f"pruning: cannot shrink {names}")
