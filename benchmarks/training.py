"""Measure the CPU time of hepbench's training loop against the same loop in bare PyTorch.

    .venv/bin/python benchmarks/training.py [--turns 21] [--network cnn]

Both take the same steps on the same batches with the same optimiser and validate in the same way
(losses, AUC and accuracy on the whole part after each epoch, best weights kept). hepbench is also
measured without each of its gains, and without all of them; then its final weights are compared bit for
bit with those of the bare loop. All ways run in turn; times are medians. The gains:

- ``masks``: dropout whose random masks are cheaper;
- ``layout``: images with channels last in memory, for convolutions.

A second table has a third one, ``memory``: freed memory is kept in the process. Each of its trainings runs
in a process of its own, since the C library changes its thresholds by what was freed before.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any
from unittest import mock

import hepbench_models
import numpy as np
import torch
from tabulate import tabulate
from torch import nn
from torch.nn import functional

from hepbench import Examples, Model, Objective, Predictions, TrainingData, classification
from hepbench.evaluation import metrics
from hepbench.registry.resolve import resolve
from hepbench.specs.parameters import defaults
from hepbench.training.context import NetworkContext
from hepbench.training.networks import memory
from hepbench.training.networks.network import Network
from hepbench.training.networks.preprocessing import Steps
from hepbench.training.networks.recipes import Recipe, TrustedCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

GAINS = frozenset({"masks", "layout"})
LAID_OUT = ("cnn", "convolutions", "resnet15")
"""Modules of ``hepbench_models`` that change the layout of images."""


class Dense(nn.Module):
    """Fully connected layers, without dropout."""

    def __init__(self, shapes: Mapping[str, Any], *, width: int, depth: int) -> None:
        super().__init__()
        sizes = [*shapes["table"], *[width] * depth]
        layers = [nn.Sequential(nn.Linear(*pair), nn.ReLU()) for pair in pairwise(sizes)]
        self.layers = nn.Sequential(*layers)

    def encode(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the last hidden layer."""
        return self.layers(inputs["table"])


@dataclass(frozen=True)
class Case:
    """A network with its inputs and its training; ``target`` is the largest ratio to the bare loop."""

    name: str
    shape: tuple[int, ...]
    build: Callable[..., nn.Module] | Model
    batch_size: int
    steps: int
    epochs: int = 2
    target: float | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, list[int]]:
        """Shapes of the inputs of one example, by name."""
        return {"table" if len(self.shape) == 1 else "image": list(self.shape)}

    def network(self) -> Network:
        """Return the network, drawn with the same seed each time."""
        torch.manual_seed(0)
        build, params = self.build, dict(self.params)
        if isinstance(build, Model):
            params = {**defaults(build.params), **params}
            build = resolve(build.build)
        encoder = build({n: tuple(s) for n, s in self.shapes.items()}, **params)
        recipe = Recipe(model="", params={}, preprocess=[], shapes=self.shapes, classes=2)
        network = Network(recipe, TrustedCode({}), preprocess=Steps([]), encoder=encoder)
        network.head = nn.Linear(network.width, 2)
        return network


CASES = (
    Case("dense, 4 ms", (28,), Dense, 512, 40, 3, 1.02, {"width": 224, "depth": 3}),
    Case("dense, .4 ms", (28,), Dense, 128, 300, 3, 1.10, {"width": 64, "depth": 2}),
    Case("mlp", (28,), hepbench_models.MLP, 128, 40),
    Case("transformer-ae", (21,), hepbench_models.TRANSFORMER_AE, 128, 10),
    Case("cnn", (2, 32, 32), hepbench_models.CNN, 128, 6),
    Case("resnet15", (2, 32, 32), hepbench_models.RESNET15, 64, 4),
    Case("conv-vae", (8, 64, 64), hepbench_models.CONV_VAE, 32, 10),
    Case("vit", (2, 32, 32), hepbench_models.VIT, 64, 6),
)


def examples(case: Case, n: int, first: int) -> Examples:
    """Return random examples of two classes; a fifth of the pixels of an image are hits."""
    rng = np.random.default_rng(first)
    labels = rng.integers(0, 2, n)
    values = rng.normal(size=(n, *case.shape)) + 0.2 * labels.reshape(n, *[1] * len(case.shape))
    if len(case.shape) > 1:
        values *= rng.random(values.shape) < 0.2
    (name,) = case.shapes
    inputs = {name: values.astype(np.float32)}
    return Examples(inputs=inputs, ids=np.arange(first, first + n), labels=labels)


# --- two loops


def ours(case: Case, data: TrainingData, network: Network) -> None:
    """Train with ``Context.fit``."""
    NetworkContext(seed=0).fit(
        network,
        data,
        Objective(classification, {"encoder": 1e-3, "head": 1e-3}),
        epochs=case.epochs,
        batch_size=case.batch_size,
    )


def bare(case: Case, data: TrainingData, network: Network, *, fused: bool | None = True) -> None:
    """Train with a loop in bare PyTorch."""
    (name,) = case.shapes
    x, y = (torch.tensor(data.train.inputs[name]), torch.tensor(data.train.labels))
    xv, yv = (torch.tensor(data.validation.inputs[name]), torch.tensor(data.validation.labels))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=fused)
    rng = np.random.default_rng(0)
    best, kept = np.inf, {}
    for _ in range(case.epochs):
        network.train()
        for rows in torch.from_numpy(rng.permutation(len(x))).split(case.batch_size):
            logits = network({name: x.index_select(0, rows)})
            loss = functional.cross_entropy(logits, y.index_select(0, rows))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        loss, _ = validated(network, name, xv, yv, case.batch_size)
        if loss < best:
            best, kept = loss, {n: t.clone() for n, t in network.state_dict().items()}
    network.load_state_dict(kept)


@torch.no_grad()
def validated(
    network: nn.Module, name: str, x: torch.Tensor, y: torch.Tensor, size: int
) -> tuple[float, list[float]]:
    """Return loss and metrics on a whole part."""
    network.eval()
    logits = torch.cat([network({name: part}) for part in x.split(size)])
    loss = float(functional.cross_entropy(logits.double(), y))
    scores = torch.softmax(logits.double(), 1).float().numpy()
    predictions = Predictions(labels=y.numpy(), scores=scores)
    return loss, [metrics.auc(predictions).value, metrics.accuracy_at_half(predictions).value]


# --- gains


@contextmanager
def gains(on: frozenset[str]) -> Iterator[None]:
    """Turn the gains that are named on and the others off, for the body."""
    with ExitStack() as stack:
        if "masks" not in on:
            off = mock.patch("hepbench.training.loop.faster_dropout", nullcontext)
            stack.enter_context(off)
        if "layout" not in on:
            for module in LAID_OUT:
                same = mock.patch(f"hepbench_models.{module}.channels_last", lambda image: image)
                stack.enter_context(same)
        yield


Way = tuple["Callable[[Case, TrainingData, Network], None]", frozenset[str]]
WAYS: dict[str, Way] = {
    "hepbench": (ours, GAINS),
    **{f"without {gain}": (ours, GAINS - {gain}) for gain in sorted(GAINS)},
    "without all": (ours, frozenset()),
    "bare": (bare, frozenset()),
    "bare, default kernels": (partial(bare, fused=None), frozenset()),
}


def compare(case: Case, turns: int) -> dict[str, Any]:
    """Return median times per step over turns for each way, and ratios to the bare loop."""
    n = case.steps * case.batch_size
    data = TrainingData(train=examples(case, n, 0), validation=examples(case, n // 4, n))
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    ended = {}
    for turn in range(turns + 1):
        # the order is reversed each turn: the first to run may find the processor cooler
        for name, (train, on) in list(WAYS.items())[:: 1 if turn % 2 else -1]:
            network = case.network()
            with gains(on):
                began = time.process_time()
                train(case, data, network)
                seconds = time.process_time() - began
            if turn:  # the first warms up
                times[name].append(seconds)
            ended[name] = list(network.state_dict().values())
    pairs = zip(ended["without all"], ended["bare"], strict=True)
    ms = {name: median(t) / case.steps / case.epochs * 1000 for name, t in times.items()}
    return {
        "ms per step of": case.name,
        **ms,
        "hepbench / bare": ms["hepbench"] / ms["bare"],
        "without all / bare": ms["without all"] / ms["bare"],
        "target": case.target,
        "same weights": all(torch.equal(a, b) for a, b in pairs),
    }


def ms_per_step(case: Case) -> float:
    """Return the CPU time of a step of the second of two trainings."""
    n = case.steps * case.batch_size
    data = TrainingData(train=examples(case, n, 0), validation=examples(case, n // 4, n))
    for _ in range(2):
        network = case.network()
        began = time.process_time()
        ours(case, data, network)
        seconds = time.process_time() - began
    return seconds / case.steps / case.epochs * 1000


def compare_memory(case: Case, turns: int) -> dict[str, Any]:
    """Return median times per step over turns, with freed memory kept and given back."""
    times: dict[str, list[float]] = {"kept": [], "given back": []}
    for _ in range(turns):
        for name, found in times.items():
            command = [sys.executable, __file__, "--network", case.name, "--freed", name]
            done = subprocess.run(command, capture_output=True, check=True, text=True)
            found.append(float(done.stdout))
    ms = {f"freed memory {name}": median(found) for name, found in times.items()}
    kept, back = ms.values()
    return {"ms per step of": case.name, **ms, "kept / given back": kept / back}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=21)
    parser.add_argument("--network", help="measure only this one")
    parser.add_argument("--freed", choices=["kept", "given back"], help="print one time alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = [case for case in CASES if options.network in {None, case.name}]
    if options.freed:
        if options.freed == "kept":
            memory.keep_freed_memory()
        print(ms_per_step(cases[0]))
        return
    rows = [compare(case, options.turns) for case in cases]
    print(tabulate(rows, headers="keys", floatfmt=".3g"), end="\n\n")
    rows = [compare_memory(case, -(-options.turns // 4)) for case in cases]
    print(tabulate(rows, headers="keys", floatfmt=".3g"))
    print(f"load at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
