"""A plugin for tests: a toy whose events have weights, as HiggsML's do; ``kind`` says which.

Its metrics count events, raise an error, or look at the first rows alone.
"""

from __future__ import annotations

import numpy as np

from hepbench import Dataset, Examples, Input, Metric, Sample, hookimpl

N = 1200


def sample(kind, scale):
    rng = np.random.default_rng(1)
    labels = np.arange(N) % 2
    table = (rng.normal(size=(N, 4)) + 0.6 * labels[:, None]).astype(np.float32)
    # a rare signal: expected events of each simulated one
    weights = scale * rng.lognormal(0, 0.5, N) * np.where(labels == 1, 0.01, 1)
    if kind == "equal":
        weights = np.full(N, scale)
    if kind == "signed":
        weights = np.where(rng.random(N) < 0.2, -weights, weights)
    if kind == "few":
        weights = np.where((labels == 1) & (np.arange(N) % 40 != 1), 0, weights)
    given = {"inputs": {"table": table}, "ids": np.arange(N), "labels": labels}
    whole = Examples(**given, weights=None if kind == "unweighted" else weights)
    if kind != "test":
        yield "labelled", whole
        return
    # background that looks like signal counts a hundredfold, in the official test part
    heavy = np.where((labels == 0) & (table[:, 0] > 0), 100.0, 1.0)
    yield "labelled", Examples(**given)[: N // 2]
    yield "test", Examples(**given, weights=scale * heavy)[N // 2 :]


def signal_events(p):
    """Return the sum of the weights of signal."""
    weights = np.ones(len(p.labels)) if p.weights is None else p.weights
    return float(weights[p.labels == 1].sum())


def broken(p):
    """Raise an error, as a third party's metric may."""
    raise ZeroDivisionError("no events")


def first_rows(p):
    """Return the accuracy of the first two hundred rows."""
    return float(((p.scores[:200, 1] > 0.5) == p.labels[:200]).mean())


def of_three(p):
    """Return another number each time; it is for three classes."""
    return float(np.random.default_rng().normal())


@hookimpl
def hepbench_datasets():
    return [
        Dataset(
            name="weighted",
            summary="four numbers and an event weight",
            classes=("background", "signal"),
            inputs={"table": Input(shape=(4,))},
            sample=Sample("weighted:sample"),
            params={"kind": "physical", "scale": 1.0},
            read_params=frozenset({"kind", "scale"}),
        )
    ]


@hookimpl
def hepbench_metrics():
    metrics = {"signal_events": True, "broken": True, "first_rows": True, "of_three": None}
    return [
        Metric(
            name=name,
            compute=f"weighted:{name}",
            higher_is_better=better,
            physical_weights=name == "signal_events",
            classes=3 if name == "of_three" else None,
        )
        for name, better in metrics.items()
    ]
