"""Point 7: probes that declare a frozen encoder but change it.

``probe-all``: trains the encoder with the same learning rate as the head; ``probe-in-training``:
keeps the encoder in training mode, so its batch norm is updated; ``probe-misspelt``: freezes a part
that no network has.
"""

from __future__ import annotations

from hepbench import Method, Objective, classification, hookimpl, training_params

QUICK = training_params({"epochs": 2, "batch_size": 100})


def train_all(start, data, context, **training):
    return context.fit(
        context.with_head(start), data, Objective(classification, {"": 0.01}), **training
    )


def train_head(start, data, context, **training):
    objective = Objective(classification, {"head": 0.01})
    return context.fit(context.with_head(start), data, objective, **training)


def update_batch_norm(start, data, context, **training):
    network = context.with_head(start).train()
    for batch in context.batches(network, data.train):
        network(batch.inputs)
    return train_head(network, data, context, **training)


def _probe(name, run, frozen="encoder"):
    return Method(
        name=name,
        summary="a head on a frozen encoder",
        run=f"moves_encoder:{run}",
        freezes=frozenset({frozen}),
        params=QUICK,
    )


@hookimpl
def hepbench_methods():
    return [
        _probe("probe-all", "train_all"),
        _probe("probe-in-training", "update_batch_norm"),
        _probe("probe-misspelt", "train_head", "encoders"),
    ]
