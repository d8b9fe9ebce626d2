"""Point 2: methods for networks that stop early on training examples, in a way that ids do not show.

``validates-on-train``: under new ids; ``validates-on-copies``: under the ids of validation examples.
"""

from __future__ import annotations

from dataclasses import replace

from hepbench import Method, Objective, classification, hookimpl


def under_new_ids(start, data, context, **training):
    same = replace(data.train, ids=data.train.ids + 10**7)
    return fitted(start, replace(data, validation=same), context, training)


def under_ids_of_validation(start, data, context, **training):
    same = data.train[: len(data.validation)]
    same = replace(data.validation, inputs=same.inputs, labels=same.labels)
    return fitted(start, replace(data, validation=same), context, training)


def fitted(start, data, context, training):
    network = context.with_head(start)
    return context.fit(network, data, Objective(classification, {"": 3e-3}), **training)


@hookimpl
def hepbench_methods():
    return [
        Method(
            name=name,
            summary="validates on training examples",
            run=f"validates_on_train:{run}",
            params={"epochs": 2, "batch_size": 64},
        )
        for name, run in (
            ("validates-on-train", "under_new_ids"),
            ("validates-on-copies", "under_ids_of_validation"),
        )
    ]
