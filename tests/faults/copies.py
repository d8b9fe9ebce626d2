"""Point 4: datasets that hold examples more than once.

``doubled``: every row appears twice, with two ids, so that copies are in different parts;
``repeated``: two rows have the same id; ``unsealed``: all labelled rows are among the unlabelled
ones too; ``borrowed``: all rows of the official test file are among the training rows too.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hepbench import Dataset, Examples, Input, Sample, hookimpl


def rows(n, *, first=0):
    rng = np.random.default_rng(5)
    table = rng.normal(size=(n, 2)).astype(np.float32)
    labels = (table[:, 0] + rng.normal(size=n) > 0).astype(np.int64)
    return Examples(inputs={"table": table}, ids=np.arange(first, first + n), labels=labels)


def doubled():
    yield "labelled", rows(1000)
    yield "labelled", rows(1000, first=1000)


def repeated():
    examples = rows(1000)
    yield "labelled", replace(examples, ids=np.where(examples.ids == 777, 123, examples.ids))


def unsealed():
    yield "labelled", rows(1000)
    yield "unlabelled", replace(rows(1000, first=1000), labels=None)


def borrowed():
    yield "labelled", rows(1000)
    yield "test", replace(rows(1000)[:200], ids=np.arange(5000, 5200))


@hookimpl
def hepbench_datasets():
    return [
        Dataset(
            name=name,
            summary="two Gaussian numbers",
            classes=("background", "signal"),
            inputs={"table": Input(shape=(2,))},
            sample=Sample(f"copies:{name}"),
        )
        for name in ("doubled", "repeated", "unsealed", "borrowed")
    ]
