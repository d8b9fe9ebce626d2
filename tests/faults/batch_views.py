"""Point 3: datasets whose view uses statistics of the chunk that it gets.

A view is called on chunks of each part, including the test part, so the statistics depend on test
examples. ``scaled`` standardises each chunk; ``ranked`` replaces each value by its rank.
"""

from __future__ import annotations

import numpy as np

from hepbench import Dataset, Examples, Input, Sample, View, hookimpl


def sample():
    rng = np.random.default_rng(1)
    table = rng.exponential(size=(1000, 2)).astype(np.float32)
    labels = (table[:, 0] + rng.normal(size=1000) > 1).astype(np.int64)
    yield "labelled", Examples(inputs={"table": table}, ids=np.arange(1000), labels=labels)


def scaled(inputs):
    table = inputs["table"]
    return {"table": (table - table.mean(0)) / table.std(0)}


def ranked(inputs):
    table = inputs["table"]
    return {"table": (table.argsort(0).argsort(0) / len(table)).astype(np.float32)}


@hookimpl
def hepbench_datasets():
    return [
        Dataset(
            name=name,
            summary="two exponential numbers",
            classes=("background", "signal"),
            inputs={"table": Input(shape=(2,))},
            sample=Sample("batch_views:sample"),
            views={"table": View(f"batch_views:{name}")},
        )
        for name in ("scaled", "ranked")
    ]
