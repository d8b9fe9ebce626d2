"""Point 8: a pruning method that claims to save FLOPs by a mask.

The masked weights are zero but are still multiplied. hepbench ignores numbers that a network
claims.
"""

from __future__ import annotations

from hepbench import Method, Objective, classification, hookimpl, training_params

KEPT = 0.25


def run(start, data, context, **training):
    for name, weight in start.named_parameters():
        if weight.ndim > 1:
            smallest = weight.detach().abs().quantile(1 - KEPT)
            start.masks[name] = weight.detach().abs() > smallest
    objective = Objective(classification, {"encoder": 0.01, "head": 0.01})
    network = context.fit(start, data, objective, **training)
    network.macs = network.encoder.macs = 1
    network.flops = network.encoder.flops = 2
    network.encoder.cost = lambda: {"macs": 1}
    return network


@hookimpl
def hepbench_methods():
    return [
        Method(
            name="claim-flops",
            summary="a mask, with claimed FLOPs",
            run="claims_flops:run",
            after=("classifier",),
            params=training_params({"epochs": 2, "batch_size": 100}),
        )
    ]
