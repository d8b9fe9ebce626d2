"""Networks in the method stage: built, trained by a method, checked, stored and scored.

What ``estimators`` is for models that fit themselves; imported where a model encodes, for it
imports torch.
"""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from hepbench import batches, objectives, promises, reproducible, weights
from hepbench.errors import PluginError
from hepbench.examples import Examples
from hepbench.network import Network, build
from hepbench.recipes import Known, Recipe
from hepbench.reproducible import evaluating
from hepbench.resolve import resolve
from hepbench.validation import softmax
from hepbench.work import NetworkWork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from hepbench.examples import TrainingData
    from hepbench.specs import Inputs

Facts = dict[str, Any]

SCORED = 1000
"""Examples a batch when a part is scored."""

ZERO = 0.01
"""Relative to the largest entry of the same code, in size: what is no larger counts as zero."""

RESCORED = 16
"""Examples a batch when some are scored again: in other company they must score the same."""


def run(
    task: Mapping[str, Any],
    data: TrainingData,
    *,
    before: Sequence[Path],
    seed: int,
    tell: Callable[[str], None],
) -> tuple[Network, NetworkWork]:
    """Run one method of a chain and check what it returns.

    Raises:
        PluginError: it returns no network, or no classifier where it makes one.
        ProtocolError: what is declared frozen changed, or a pruned weight is not zero.
    """
    reproducible.settle(task["threads"])
    reproducible.seed(seed)
    device = torch.device(task["device"])
    with memory_errors():
        network = _start(task, data, before).to(device)
        held = promises.frozen(task["method"], network, task["freezes"])
        start = promises.zeros(network)
        reproducible.seed(seed)
        work = NetworkWork(
            seed=seed,
            threads=task["threads"],
            device=device,
            head=task["method"] if task["method"] in task["heads"] else None,
            targets=task["augmentations"],
            tell=tell,
        )
        began = time.perf_counter()
        result = resolve(task["run"])(network, data, work, **task["params"])
        work.seconds = time.perf_counter() - began
    if not isinstance(result, Network):
        msg = f"{task['method']} returned {type(result).__name__}; a Network is expected"
        raise PluginError(msg)
    if task["makes"] == "encoder":
        result.drop_head()
    elif result.head is None:
        msg = f"{task['method']} makes a classifier and returned a network without a head"
        raise PluginError(msg)
    promises.check(task["method"], result, held)
    if before:
        replaced = () if result.head is network.head else ("head.",)
        work.began.append({n: z for n, z in start.items() if not n.startswith(replaced)})
    work.warnings += promises.filled(work.began, {} if before else start, result)
    return result.eval(), work


def known(task: Mapping[str, Any]) -> Known:
    """Return the code that recipes of this chain may name."""
    return Known(
        models={task["model"]: task["build"]},
        heads=task["heads"],
        steps=frozenset(task["preprocess"]),
    )


def _start(task: Mapping[str, Any], data: TrainingData, before: Sequence[Path]) -> Network:
    if before:
        return weights.load(before[0], known(task))
    # with or without label: preprocessing is the same for every method
    pieces = [p.inputs for p in (data.train, data.unlabelled) if p is not None]
    return fresh(task, *pieces, classes=data.classes)


def fresh(task: Mapping[str, Any], inputs: Inputs, *more: Inputs, classes: int) -> Network:
    """Return a network as built, its preprocessing fitted on training inputs, which may come in
    pieces; drawn by torch's generator.
    """
    recipe = Recipe(
        model=task["model"],
        params=dict(task["model_params"]),
        preprocess=list(task["preprocess"]),
        shapes={name: [int(n) for n in array.shape[1:]] for name, array in inputs.items()},
        classes=classes,
    )
    network = build(recipe, known(task))
    network.preprocess.fit(lambda: chain.from_iterable(map(_raw, (inputs, *more))))
    # what a step does in training mode, such as following its batches, belongs to its fit
    network.preprocess.eval()
    return network


def _raw(inputs: Inputs) -> Iterator[Mapping[str, Tensor]]:
    return map(batches.Raw(inputs, torch.device("cpu")), batches.chunks(inputs))


@contextmanager
def memory_errors() -> Iterator[None]:
    """Call torch's way of running out of memory by its name."""
    try:
        yield
    except RuntimeError as error:
        if "can't allocate memory" in str(error) or "out of memory" in str(error):
            raise MemoryError(str(error)) from error
        raise


# --- the network as it is costed


class Whole(nn.Module):
    """A network behind its preprocessing: work that hides in a step costs like any other."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (N, classes) logits of inputs as they were laid out, dense."""
        logits: Tensor = self.network(self.network.preprocess(inputs))
        return logits


def whole(task: Mapping[str, Any], folder: Path, inputs: Inputs) -> tuple[Whole, dict[str, Tensor]]:
    """Return the network in a folder with its preprocessing, and dense inputs for it."""
    cpu = torch.device("cpu")
    network = Whole(weights.load(folder, known(task)))
    return network, {name: batches.dense(name, array, cpu) for name, array in inputs.items()}


# --- facts and scores


def facts(network: Network, work: NetworkWork) -> Facts:
    """Return what is told of a trained network; parameters are those that a score depends on."""
    used = network.scoring()
    parameters = [p for name, p in network.named_parameters() if name in used]
    found: Facts = {
        "seconds": work.seconds,
        "parameters": sum(p.numel() for p in parameters),
        "nonzero_parameters": sum(int(p.count_nonzero()) for p in parameters),
    }
    if work.history:
        found["history"] = [{n: float(v) for n, v in row.items()} for row in work.history]
    if work.warnings:
        found["warnings"] = list(work.warnings)
    if work.best is not None:
        found["best_epoch"] = work.best
    return found


def scores(network: Network, inputs: Inputs, *, batch_size: int = SCORED) -> NDArray[np.float32]:
    """Return (N, classes) float32: softmax of the logits in float64."""
    with memory_errors():
        found = [softmax(network(b.inputs)) for b in _batches(network, inputs, batch_size)]
    return np.concatenate(found)


def values(network: Network, inputs: Inputs) -> dict[str, NDArray[np.float32]]:
    """Return (N,) float32 of each example, in eval mode: what its encoder's own loss makes of it.

    They are the terms of that loss, unweighted; where one of them is ``kl``, ``elbo``, their sum at
    the final weights, which is the negative of the evidence lower bound; and ``code_zeros``, the
    share of the code's entries that are no larger than ZERO times the largest.

    Raises:
        PluginError: a term has not one value for each example.
    """
    encoder, found = network.encoder, defaultdict[str, list["Tensor"]](list)
    weigh = getattr(encoder, "term_weights", None)
    final = weigh(1.0) if weigh else {}
    with memory_errors():
        for batch in _batches(network, inputs, SCORED):
            terms = encoder.pretraining_terms(batch.inputs)
            objectives.check(terms, len(batch))
            for name, term in terms.items():
                found[name].append(term)
            if "kl" in terms:
                found["elbo"].append(sum(final.get(n, 1.0) * t for n, t in terms.items()))
            size = encoder.encode(batch.inputs).abs()
            zeros = size <= ZERO * size.amax(1, keepdim=True)
            found["code_zeros"].append(zeros.float().mean(1))
    return {name: torch.cat(pieces).float().cpu().numpy() for name, pieces in found.items()}


def codes(network: Network, inputs: Inputs) -> NDArray[np.float32]:
    """Return the (N, D) codes of a network without a head."""
    made = [network(b.inputs) for b in _batches(network, inputs, SCORED)]
    found: NDArray[np.float32] = torch.cat(made).cpu().numpy()
    return found


def _batches(network: Network, inputs: Inputs, size: int) -> Iterator[Examples]:
    n = len(next(iter(inputs.values())))
    plain = Examples(inputs=inputs, ids=np.arange(n))
    source = batches.source(plain, network.preprocess, device=network.device, limit=0)
    size = max(1, min(size, batches.CHUNK_BYTES // max(batches.row_bytes(inputs), 1)))
    with evaluating(network), torch.no_grad():
        for rows in batches.spans(n, size):
            yield source.batch(rows)
