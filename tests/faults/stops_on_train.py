"""Point 2: a method that hands its training examples over as validation, and so stops on them."""

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
            summary="chooses by what it trained on",
            run="stops_on_train:run",
            needs=frozenset({"estimate"}),
        )
    ]
