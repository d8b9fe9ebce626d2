"""Point 7: prunings after which nothing is pruned, one fault each.

``prune-then-forget``: takes the masks away and trains on; ``prune-without-masks``: sets weights to
zero, which training fills again; ``prune-by-hook``: torch's own pruning, which rebuilds the weight
at each call and is no part of the model as it is built; ``fill-after``: adds to pruned weights;
``finetune-unmasked``: a later step of the chain, which drops the masks that it was given.
"""

from __future__ import annotations

import torch
from torch.nn.utils import prune

from hepbench import Method, Objective, classification, hookimpl, training_params

QUICK = training_params({"epochs": 2, "batch_size": 100})
ALL = Objective(classification, {"encoder": 0.01, "head": 0.01})


def first_weight(network):
    return next((n, p) for n, p in network.named_parameters() if p.ndim > 1)


def mask(network):
    name, weight = first_weight(network)
    network.masks = {name: weight.detach().abs() > weight.detach().abs().median()}
    return weight


def then_forget(start, data, context, **training):
    mask(start)
    network = context.fit(start, data, ALL, **training)
    network.masks = {}
    return context.fit(network, data, ALL, **training)


def without_masks(start, data, context, **training):
    _, weight = first_weight(start)
    with torch.no_grad():
        weight[weight.abs() <= weight.abs().median()] = 0
    return context.fit(start, data, ALL, **training)


def by_hook(start, data, context, **training):
    name, _ = first_weight(start)
    layer = start.get_submodule(name.removesuffix(".weight"))
    prune.l1_unstructured(layer, "weight", 0.5)
    return context.fit(start, data, ALL, **training)


def fill_after(start, data, context, **training):
    weight = mask(start)
    network = context.fit(start, data, ALL, **training)
    weight.data.add_(1e-3)
    return network


def unmasked(start, data, context, **training):
    start.masks = {}
    return context.fit(start, data, ALL, **training)


RUNS = {
    "prune-then-forget": "then_forget",
    "prune-without-masks": "without_masks",
    "prune-by-hook": "by_hook",
    "fill-after": "fill_after",
    "finetune-unmasked": "unmasked",
}


@hookimpl
def hepbench_methods():
    return [
        Method(
            name=name,
            summary="pruned in name",
            run=f"lost_masks:{run}",
            after=("classifier",),
            params=QUICK,
        )
        for name, run in RUNS.items()
    ]
