"""Point 7: pruning methods after which no weight is pruned, with one fault each.

``prune-then-forget``: removes the masks and trains again; ``prune-without-masks``: sets weights to
zero, which training changes again; ``prune-by-hook``: uses torch's own pruning, which recomputes
the weight at each call and adds tensors that the model as built does not have; ``fill-after``:
changes pruned weights after training; ``finetune-unmasked``: removes the masks of the earlier
step.
"""

from __future__ import annotations

import torch
from torch.nn.utils import prune

from hepbench import Method, Objective, classification, hookimpl, training_params

QUICK = training_params({"epochs": 2, "batch_size": 100})
ALL = Objective(classification, {"encoder": 0.01, "head": 0.01})


def first_weight(network):
    return next((n, p) for n, p in network.named_parameters() if p.ndim > 1)


def prune_half(network):
    name, weight = first_weight(network)
    network.masks = {name: weight.detach().abs() > weight.detach().abs().median()}
    return weight


def prune_then_forget(start, data, context, **training):
    prune_half(start)
    network = context.fit(start, data, ALL, **training)
    network.masks = {}
    return context.fit(network, data, ALL, **training)


def prune_without_masks(start, data, context, **training):
    _, weight = first_weight(start)
    with torch.no_grad():
        weight[weight.abs() <= weight.abs().median()] = 0
    return context.fit(start, data, ALL, **training)


def prune_by_hook(start, data, context, **training):
    name, _ = first_weight(start)
    layer = start.get_submodule(name.removesuffix(".weight"))
    prune.l1_unstructured(layer, "weight", 0.5)
    return context.fit(start, data, ALL, **training)


def fill_after(start, data, context, **training):
    weight = prune_half(start)
    network = context.fit(start, data, ALL, **training)
    weight.data.add_(1e-3)
    return network


def finetune_unmasked(start, data, context, **training):
    start.masks = {}
    return context.fit(start, data, ALL, **training)


RUNS = {
    "prune-then-forget": "prune_then_forget",
    "prune-without-masks": "prune_without_masks",
    "prune-by-hook": "prune_by_hook",
    "fill-after": "fill_after",
    "finetune-unmasked": "finetune_unmasked",
}


@hookimpl
def hepbench_methods():
    return [
        Method(
            name=name,
            summary="pruning without effect",
            run=f"lost_masks:{run}",
            after=("classifier",),
            params=QUICK,
        )
        for name, run in RUNS.items()
    ]
