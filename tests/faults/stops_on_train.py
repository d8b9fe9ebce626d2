"""Point 2: a method that passes training examples as validation, so early stopping uses them."""

from __future__ import annotations

from hepbench import Method, TrainingData, hookimpl


def run(start, data, context):
    start.fit(TrainingData(train=data.train, validation=data.train), seed=context.seed)
    return start


@hookimpl
def hepbench_methods():
    return [
        Method(
            name="stop-on-train",
            summary="stops on training examples",
            run="stops_on_train:run",
            needs=frozenset({"estimate"}),
        )
    ]
