"""Compare prunings of one trained network at one ratio: PyTorch, torch-pruning and hepbench.

    .venv/bin/python benchmarks/pruning.py --ratio 0.8

A network is trained on the bundled sample, and pruned with PyTorch's masks (``torch.nn.utils.prune``)
as in its tutorial, with torch-pruning as in its documentation, and with hepbench's methods. Rows
"trained on" were all trained for the same number of epochs after pruning. AUC is measured on test
examples; latencies are for one example in ONNX Runtime, measured alternately.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tabulate import tabulate
from torch import nn
from torch.nn.utils import prune

from hepbench import Examples, Objective, Predictions, TrainingData, classification
from hepbench.cost import counting, export, onnx_runtime, tracing
from hepbench.cost.timing import time_calls
from hepbench.cost.varied_inputs import VariedInputs
from hepbench.evaluation import metrics
from hepbench.registry.plugins import installed
from hepbench.registry.resolve import resolve
from hepbench.specs.parameters import defaults
from hepbench.training import network_runs
from hepbench.training.context import NetworkContext
from hepbench.training.messages import MethodTask, NetworkTask
from hepbench.training.networks import scoring

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hepbench.training.networks.network import Network

DATASET, MODEL, SIZE = "boosted-jets", "conv-vae", 64
LAYERS = (nn.Linear, nn.modules.conv._ConvNd)


def main() -> None:
    """Print a table with one line for each pruning, mean over seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ratio", type=float, default=0.8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12, help="epochs before pruning")
    parser.add_argument("--more", type=int, default=9, help="epochs after pruning")
    parser.add_argument("--examples", type=int, default=2000, help="number of training examples")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = [rows(seed, given) for seed in range(given.seeds)]
    names = list(found[0])
    lines = [line(name, [one[name] for one in found], found) for name in names]
    print(f"{DATASET}, {MODEL}, ratio {given.ratio}, {given.seeds} seeds")
    heads = (
        "network",
        "AUC",
        "± seeds",
        "± test",
        "spread",
        "MACs",
        "zeros",
        "latency (ms)",
        "latency / dense",
    )
    print(
        tabulate(
            lines, heads, floatfmt=("", ".4f", ".4f", ".4f", ".4f", ",.0f", ".2f", ".3f", ".2f")
        )
    )


def line(name: str, rows: list[dict[str, float]], found: list[dict[str, Any]]) -> list[Any]:
    """Return means over seeds."""
    mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    dense = np.mean([one["dense"]["latency"] for one in found])
    spread = float(np.std([row["auc"] for row in rows], ddof=1)) if len(rows) > 1 else float("nan")
    return [
        name,
        mean["auc"],
        spread,
        *(mean[key] for key in ("stderr", "spread", "macs", "zeros", "latency")),
        mean["latency"] / dense,
    ]


def rows(seed: int, given: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return the results of every pruning of one network."""
    data, test = parts(seed, given.examples)
    context = NetworkContext(seed=seed)
    torch.manual_seed(seed)
    network = fresh(data)
    more = partial(train, context, data, epochs=given.more, learning_rate=1e-3)
    train(context, data, network, epochs=given.epochs, learning_rate=3e-3)
    made: dict[str, Network] = {"dense": network, "dense, trained on": more(copy.deepcopy(network))}
    for name, shrink in prunings(given.ratio, data, context).items():
        made[name] = shrink(copy.deepcopy(network).trim())
        if name.startswith(("torch-pruning", "ours: channels removed")):
            made[f"{name}, trained on"] = more(copy.deepcopy(made[name]))
    results = {name: scored(one, test) for name, one in made.items()}
    for name, latency in latencies(made, test).items():
        results[name]["latency"] = latency
    return results


def prunings(
    ratio: float, data: TrainingData, context: NetworkContext
) -> Mapping[str, Callable[[Network], Network]]:
    """Return every way to prune a network."""

    def ours(method: str, **params: Any) -> Callable[[Network], Network]:
        spec = installed().entry("method", method).spec
        settings = {**defaults(spec.params), "ratio": ratio, **params}
        return lambda network: resolve(spec.run)(network, data, context, **settings)

    structured = partial(ours, "prune-structured")
    return {
        "torch: weights masked": partial(torch_weights, ratio=ratio),
        "ours: weights masked": ours("prune-unstructured"),
        "torch: filters masked": partial(torch_filters, ratio=ratio),
        "ours: filters masked": structured(remove=False, after="nothing"),
        "torch-pruning: channels removed": partial(torch_pruning, ratio=ratio),
        "ours: channels removed": structured(after="nothing"),
        "ours: recalibrated": structured(after="recalibrate"),
    }


def torch_weights(network: Network, *, ratio: float) -> Network:
    """Mask the smallest weights of all layers, as in PyTorch's tutorial."""
    layers = [(m, "weight") for m in network.modules() if isinstance(m, LAYERS)]
    prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=ratio)
    for layer, name in layers:
        prune.remove(layer, name)
    return network


def torch_filters(network: Network, *, ratio: float) -> Network:
    """Mask the filters with the smallest L1 norm in each layer but the last, as in PyTorch's tutorial."""
    *layers, _ = (m for m in network.modules() if isinstance(m, LAYERS))
    for layer in layers:
        prune.ln_structured(layer, "weight", amount=ratio, n=1, dim=0)
        prune.remove(layer, "weight")
    return network


def torch_pruning(network: Network, *, ratio: float) -> Network:
    """Remove groups of small magnitude, not in the last layer, as in torch-pruning's documentation."""
    import torch_pruning as tp

    *_, last = (m for m in network.modules() if isinstance(m, nn.Linear))
    tp.pruner.BasePruner(
        network,
        [network.example_inputs()],
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=ratio,
        ignored_layers=[last],
    ).step()
    return network


# --- training and scoring


def parts(seed: int, n: int) -> tuple[TrainingData, Examples]:
    """Return training, validation and test examples of the sample, shuffled with this seed."""
    spec = installed().entry("dataset", DATASET).spec
    params = {**defaults(spec.params), "size": SIZE}
    settings = {name: params[name] for name in spec.read_params}
    found = [part for role, part in resolve(spec.sample.read)(**settings) if role == "labelled"]
    image, labels = [], []
    for part in found:
        made = resolve(spec.views["image"].run)(part.inputs, **params)["image"]
        image.append(np.asarray(made[:], np.float32))
        labels.append(part.labels)
    images, truth = np.concatenate(image), np.concatenate(labels)
    order = np.random.default_rng(seed).permutation(len(images))
    n = min(n, len(images) * 3 // 5)
    cuts = np.split(order, [n, n + (len(order) - n) // 3])
    train, validation, test = (
        Examples(inputs={"image": images[rows]}, ids=rows, labels=truth[rows]) for rows in cuts
    )
    return TrainingData(train=train, validation=validation), test


def fresh(data: TrainingData) -> Network:
    """Return an untrained network with its head."""
    spec = installed().entry("model", MODEL).spec
    params = defaults(spec.all_params)
    preprocess = params.pop("preprocess")
    task = MethodTask(
        method="",
        run="",
        params={},
        model=MODEL,
        build=spec.build,
        model_params=params,
        makes="classifier",
        classes=2,
        steps=[],
        seed=0,
        network=NetworkTask(preprocess=list(preprocess)),
    )
    return network_runs.fresh(task, data.train.inputs, classes=2).with_head()


def train(
    context: NetworkContext,
    data: TrainingData,
    network: Network,
    *,
    epochs: int,
    learning_rate: float,
) -> Network:
    """Train with labels."""
    settings = {"epochs": epochs, "schedule": {"name": "CosineAnnealingLR"}}
    return context.fit(network, data, Objective(classification, {"": learning_rate}), **settings)


def scored(network: Network, test: Examples) -> dict[str, float]:
    """Return AUC, its error, the spread of scores, MACs and the fraction of zero weights."""
    scores = scoring.scores(network.eval(), test.inputs).astype(float)
    auc = metrics.auc(Predictions(labels=test.labels, scores=scores))
    counted = counting.count(network, tracing.batch(test.inputs, 1))
    used = [p for name, p in network.named_parameters() if name in network.scoring_parameters()]
    total = sum(p.numel() for p in used)
    return {
        "auc": auc.value,
        "stderr": auc.stderr or float("nan"),
        "spread": float(scores[:, 1].std()),
        "macs": counted.macs or float("nan"),
        "zeros": 1 - sum(int(p.count_nonzero()) for p in used) / total,
    }


def latencies(made: Mapping[str, Network], test: Examples) -> dict[str, float]:
    """Return median latencies in ms for one example in ONNX Runtime, measured alternately."""
    with tempfile.TemporaryDirectory() as folder:
        calls = {}
        for i, (name, network) in enumerate(made.items()):
            path = Path(folder) / f"{i}.onnx"
            export.export(network, test.inputs, path)
            session = onnx_runtime.session(path)
            calls[name] = onnx_runtime.calls(session, VariedInputs(test.inputs, 1))
        return {name: timed.median for name, timed in time_calls(calls).items()}


if __name__ == "__main__":
    main()
