"""Structured pruning: channels are removed, with all that depends on them.

Li et al. (2017), arXiv:1608.08710: the filters of smallest L1 norm, the same share of each layer.
What hangs on a channel is torch-pruning's to find (Fang et al., 2023, arXiv:2301.12900) and
``channels`` to prove. The rest of the code is our own.

Departures: not only convolutions shrink but whatever can, hidden units and heads of attention too;
the write-up of R3 (REFERENCE.md, seeds/000) masked filters and removed none, which is ``remove =
false``: the same weights as would be removed are zero, their offsets and norms stay, nothing gets
faster. It left the network at that (``after = "nothing"``).
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

AFTER = ("nothing", "recalibrate", "finetune", "restart")


def prune_structured(
    start: Network,
    data: TrainingData,
    context: Context,
    *,
    ratio: float,
    remove: bool,
    after: str,
    rate: float,
    **training: Any,
) -> Network:
    """Remove channels from each layer, or mask them.

    Args:
        start: a classifier.
        data: what is trained on.
        work: trains; it is told of layers that cannot shrink.
        ratio: of the channels of each layer, in [0, 1); at least one stays.
        remove: whether channels are removed; else the weights that make them are masked.
        after: ``nothing``; ``recalibrate``: the statistics of batch normalisation are gathered
            anew; ``finetune``: trained on; ``reinitialise``: drawn anew and trained, the control that
            tells what the weights that are left are worth.
        rate: learning rate.
        training: of ``finetune`` and ``reinitialise``.

    Raises:
        UsageError: a ratio outside [0, 1), another ``after``, weights that are masked already, or no
            layer can shrink.
    """
    pruning.check_ratio("prune-structured", ratio)
    pruning.check_among("prune-structured[after]", after, AFTER)
    if start.masks:
        msg = "prune-structured follows no pruning that masks weights; remove channels first"
        raise UsageError(msg)
    network: Network = start.trim()
    if ratio:
        network = (shrunk if remove else masked)(network, ratio, context)
    if after == "recalibrate":
        recalibrate(network, data.train, context)
    if after == "restart":
        network.reinitialise()
    if after in {"finetune", "restart"}:
        context.fit(network, data, Objective(classification, {"": rate}), **training)
    return network


def shrunk(network: Network, ratio: float, context: Context) -> Network:
    """Return a network without the weakest channels; each layer is tried on a copy first.

    Raises:
        UsageError: no layer can shrink.
    """
    found = channels.find(network)
    made, going, stuck = network, [], list(found.stuck)
    for group in found.proven:
        further = [*going, (group, weakest(network, group, ratio))]
        trial = channels.without(network, further)
        if channels.runs(trial):
            made, going = trial, further
        else:
            stuck.append(group.layer)
    _tell(network, stuck, context, some=bool(going))
    return made


def masked(network: Network, ratio: float, context: Context) -> Network:
    """Return a network that holds the weights of its weakest channels at zero.

    Raises:
        UsageError: no layer has channels that could be removed.
    """
    found = channels.find(network)
    _tell(network, found.stuck, context, some=bool(found.proven))
    masks: dict[str, Tensor] = {}
    for group in found.proven:
        masks |= channels.masks(network, group, weakest(network, group, ratio))
    pruning.hold(network, masks)
    return network


def weakest(network: Network, group: channels.Group, ratio: float) -> Tensor:
    """Return which channels go: this share, those of smallest L1 norm, and never all."""
    norms = channels.norms(network, group)
    n = min(pruning.share(ratio, len(norms)), len(norms) - 1)
    return norms.argsort(stable=True)[:n]


def recalibrate(network: Network, examples: Examples, context: Context) -> None:
    """Gather means and variances of batch normalisation anew, each batch counting alike.

    From training inputs: no label is looked at, no gradient is taken, dropout is off.
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
            # the variance of one example alone is none
            if len(batch) > 1:
                network(batch.inputs)
    for norm, momentum in before.items():
        norm.momentum = momentum
    network.eval()


def _is_tracking(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats


def _tell(network: Network, stuck: list[str], context: Context, *, some: bool) -> None:
    """Say which layers are left as they are.

    Raises:
        UsageError: it is all of them.
    """
    layers = ", ".join(sorted(stuck))
    if not some:
        msg = f"prune-structured: no layer of {network.recipe.model} can shrink; it has "
        raise UsageError(msg + (layers or "none but the last"))
    if layers:
        context.warn(f"pruning: cannot shrink {layers}")
