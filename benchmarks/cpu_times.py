"""Repeat a cost measurement five times, on the machine as it is and beside two busy processes.

    .venv/bin/python benchmarks/cpu_times.py

The busy processes know nothing of the lock that keeps other jobs of hepbench away. Printed are the
medians of wall and CPU time and the range of the five, relative to the median of those before.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import torch
from hepbench_models import GBDT, MLP, gbdt, mlp, onnx_graphs
from tabulate import tabulate
from torch import nn

from hepbench import Examples, TrainingData
from hepbench.cost.measure import measure
from hepbench.specs.parameters import defaults

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hepbench.storage.costs import Latency

BUSY = [sys.executable, "-c", "while True: pass"]


def main() -> None:
    """Print the medians of five repetitions, idle and beside two busy processes."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    data = examples()
    models = {"mlp": network(), "gbdt": trees(data)}
    torch.set_num_threads(1)
    before = {name: five(model, data) for name, model in models.items()}
    with busy(2):
        beside = {name: five(model, data) for name, model in models.items()}
    rows = [
        [name, *key, clock, *compared(before[name][key], beside[name][key], clock)]
        for name in models
        # a large batch may have been halved where the machine was slow
        for key in before[name].keys() & beside[name].keys()
        for clock in ("median_ms", "cpu_ms")
    ]
    heads = [
        "model",
        "runtime",
        "batch",
        "clock",
        "alone, ms",
        "range",
        "range, busy",
        "busy/alone-1",
    ]
    print(tabulate(sorted(rows), heads, floatfmt=".3g"))


def compared(before: list[Latency], beside: list[Latency], clock: str) -> list[float]:
    """Return the median of five, their range, that beside busy processes, and the change."""
    alone, together = ([getattr(each, clock) for each in found] for found in (before, beside))
    ranges = [(max(some) - min(some)) / median(some) for some in (alone, together)]
    return [median(alone), *ranges, median(together) / median(alone) - 1]


def five(model: object, data: TrainingData) -> dict[tuple[str, int], list[Latency]]:
    """Return five latencies of a model, by runtime and batch size."""
    found: dict[tuple[str, int], list[Latency]] = {}
    for _ in range(5):
        with tempfile.TemporaryDirectory() as folder:
            inputs = data.validation.inputs
            result = measure(model, inputs, folder=Path(folder), make_graph=graph_of(model))
        for each in result.cost.latencies:
            found.setdefault((each.runtime, each.batch), []).append(each)
    return found


def graph_of(model: object) -> object:
    """Return a function that makes the ONNX graph of boosted trees; None for a network."""
    trees = isinstance(model, gbdt.GradientBoosting)
    return (lambda: onnx_graphs.boosted_trees(model)) if trees else None


def examples() -> TrainingData:
    """Return two classes of 28 features."""
    rng = np.random.default_rng(0)
    labels = np.arange(4000) % 2
    table = (rng.normal(size=(4000, 28)) + 0.3 * labels[:, None]).astype(np.float32)
    every = Examples(inputs={"table": table}, ids=np.arange(4000), labels=labels)
    return TrainingData(train=every[:3000], validation=every[3000:], classes=2)


class Classifier(nn.Module):
    """The network ``mlp`` with a head, untrained."""

    def __init__(self) -> None:
        super().__init__()
        settings = {n: v for n, v in defaults(MLP.params).items() if n != "preprocess"}
        self.encoder = mlp.MLP({"table": (28,)}, **settings)
        self.head = nn.LazyLinear(2)

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return (N, 2) logits."""
        return self.head(self.encoder.encode(inputs))


def network() -> nn.Module:
    """Return the network that is timed."""
    made = Classifier().eval()
    with torch.no_grad():
        made({"table": torch.zeros(2, 28)})
    return made


def trees(data: TrainingData) -> gbdt.GradientBoosting:
    """Return the boosted trees that are timed."""
    estimator = gbdt.GradientBoosting({"table": (28,)}, **defaults(GBDT.params))
    estimator.fit(data, seed=0)
    return estimator


@contextmanager
def busy(n: int) -> Iterator[None]:
    """Keep n processes busy while the block runs."""
    others = [subprocess.Popen(BUSY) for _ in range(n)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    main()
