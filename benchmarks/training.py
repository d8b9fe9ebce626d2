"""Measure the CPU time of hepbench's training loop against the same loop in bare PyTorch.

    .venv/bin/python benchmarks/training.py

Both take the same steps on the same batches with the same optimiser and validate in the same way
(losses, AUC and accuracy on the whole part after each epoch, best weights kept); their final weights
are compared bit for bit. They run alternately; times are medians. Also shown: the bare loop with
torch's default optimiser kernels.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tabulate import tabulate
from torch import nn
from torch.nn import functional

from hepbench import Examples, Objective, Predictions, TrainingData, classification
from hepbench.evaluation import metrics
from hepbench.training.context import NetworkContext
from hepbench.training.networks.network import Network
from hepbench.training.networks.preprocessing import Steps
from hepbench.training.networks.recipes import Recipe, TrustedCode

if TYPE_CHECKING:
    from collections.abc import Callable

FEATURES = 28
TARGETS = {4.0: 1.02, 0.4: 1.10}


@dataclass(frozen=True)
class Case:
    """A network and its training; a step takes about ``milliseconds`` on one core."""

    milliseconds: float
    width: int
    depth: int
    batch_size: int
    steps: int
    epochs: int = 3


CASES = (
    Case(4.0, width=224, depth=3, batch_size=512, steps=40),
    Case(0.4, width=64, depth=2, batch_size=128, steps=300),
)


class Dense(nn.Module):
    """Fully connected layers."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        sizes = [FEATURES, *[width] * depth]
        layers = [nn.Sequential(nn.Linear(*pair), nn.ReLU()) for pair in pairwise(sizes)]
        self.layers = nn.Sequential(*layers)

    def encode(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the last hidden layer."""
        return self.layers(inputs["table"])


def examples(n: int, first: int) -> Examples:
    """Return random examples of two classes."""
    rng = np.random.default_rng(first)
    labels = rng.integers(0, 2, n)
    table = (rng.normal(size=(n, FEATURES)) + 0.2 * labels[:, None]).astype(np.float32)
    return Examples(inputs={"table": table}, ids=np.arange(first, first + n), labels=labels)


def ours(case: Case, data: TrainingData) -> tuple[float, list[torch.Tensor]]:
    """Train with ``Context.fit``; return CPU seconds and weights."""
    torch.manual_seed(0)
    encoder = Dense(case.width, case.depth)
    recipe = Recipe(model="", params={}, preprocess=[], shapes={"table": [FEATURES]}, classes=2)
    head = nn.Linear(case.width, 2)
    network = Network(recipe, TrustedCode({}), preprocess=Steps([]), encoder=encoder, head=head)
    began = time.process_time()
    NetworkContext(seed=0).fit(
        network,
        data,
        Objective(classification, {"encoder": 1e-3, "head": 1e-3}),
        epochs=case.epochs,
        batch_size=case.batch_size,
    )
    return time.process_time() - began, list(network.state_dict().values())


def bare(
    case: Case, data: TrainingData, *, fused: bool | None = True
) -> tuple[float, list[torch.Tensor]]:
    """Train with a loop in bare PyTorch; return CPU seconds and weights."""
    torch.manual_seed(0)
    network = nn.Sequential(Dense(case.width, case.depth).layers, nn.Linear(case.width, 2))
    began = time.process_time()
    x, y = (torch.tensor(data.train.inputs["table"]), torch.tensor(data.train.labels))
    xv, yv = (torch.tensor(data.validation.inputs["table"]), torch.tensor(data.validation.labels))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=fused)
    rng = np.random.default_rng(0)
    best, kept = np.inf, {}
    for _ in range(case.epochs):
        network.train()
        for rows in torch.from_numpy(rng.permutation(len(x))).split(case.batch_size):
            loss = functional.cross_entropy(
                network(x.index_select(0, rows)), y.index_select(0, rows)
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        loss, _ = validated(network, xv, yv, case.batch_size)
        if loss < best:
            best, kept = loss, {n: t.clone() for n, t in network.state_dict().items()}
    network.load_state_dict(kept)
    return time.process_time() - began, list(network.state_dict().values())


@torch.no_grad()
def validated(
    network: nn.Module, x: torch.Tensor, y: torch.Tensor, size: int
) -> tuple[float, list[float]]:
    """Return loss and metrics on a whole part."""
    network.eval()
    logits = torch.cat([network(part) for part in x.split(size)])
    loss = float(functional.cross_entropy(logits.double(), y))
    scores = torch.softmax(logits.double(), 1).float().numpy()
    predictions = Predictions(labels=y.numpy(), scores=scores)
    return loss, [metrics.auc(predictions).value, metrics.accuracy_at_half(predictions).value]


def compare(case: Case, turns: int) -> dict[str, Any]:
    """Return median times over turns for each loop, and their ratio."""
    n = case.steps * case.batch_size
    data = TrainingData(train=examples(n, 0), validation=examples(n // 4, n))
    ways: dict[str, Callable[[], tuple[float, list[torch.Tensor]]]] = {
        "ours": lambda: ours(case, data),
        "bare": lambda: bare(case, data),
        "bare, default kernels": lambda: bare(case, data, fused=None),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    ended = {}
    for turn in range(turns + 1):
        # the order is reversed each turn: the first to run may find the processor cooler
        for name, train in list(ways.items())[:: 1 if turn % 2 else -1]:
            seconds, ended[name] = train()
            if turn:  # the first warms up
                times[name].append(seconds)
    pairs = zip(ended["ours"], ended["bare"], strict=True)
    steps = case.steps * case.epochs
    return {
        "step": f"{case.milliseconds} ms",
        **{f"{name}, ms per step": median(t) / steps * 1000 for name, t in times.items()},
        "ratio": median(times["ours"]) / median(times["bare"]),
        "ratio of fastest": min(times["ours"]) / min(times["bare"]),
        "target": TARGETS[case.milliseconds],
        "same weights": all(torch.equal(a, b) for a, b in pairs),
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=21)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [compare(case, options.turns) for case in CASES]
    print(tabulate(rows, headers="keys", floatfmt=".3f"))


if __name__ == "__main__":
    main()
