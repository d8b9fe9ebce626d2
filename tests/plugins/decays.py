"""A plugin for tests: ten decays of a heavy particle, told apart by eight numbers.

``decays``: ten classes, with mass and pt beside the inputs; ``dijets``: its first two classes. The
first number grows with the mass, so classifiers sculpt it.
"""

from __future__ import annotations

import numpy as np

from hepbench import Dataset, Examples, Input, Sample, hookimpl

NAMES = ("qcd", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")


def sample(n, classes=10):
    rng = np.random.default_rng(4)
    labels = rng.integers(0, classes, n)
    centres = 0.7 * np.random.default_rng(5).normal(size=(len(NAMES), 8))
    mass = 60 + rng.exponential(40, n) + 6 * labels
    table = centres[labels] + rng.normal(size=(n, 8))
    table[:, 0] += (mass - 100) / 40
    yield (
        "labelled",
        Examples(
            inputs={"table": table.astype(np.float32)},
            ids=np.arange(n),
            labels=labels,
            spectators={
                "mass": mass.astype(np.float32),
                "pt": rng.uniform(500, 1000, n).astype(np.float32),
            },
        ),
    )


def two(n):
    return sample(n, classes=2)


def _dataset(name, read, classes):
    return Dataset(
        name=name,
        summary="Made up.",
        classes=classes,
        inputs={"table": Input(shape=(8,))},
        spectators={"mass": "GeV", "pt": "GeV"},
        params={"n": 1500},
        read_params=frozenset({"n"}),
        sample=Sample(read=f"decays:{read}"),
    )


@hookimpl
def hepbench_datasets():
    return [_dataset("decays", "sample", NAMES), _dataset("dijets", "two", NAMES[:2])]
