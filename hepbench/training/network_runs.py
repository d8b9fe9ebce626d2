"""Networks in the method stage: built, trained by a method, checked, stored and scored.

What ``estimators`` is for models that fit themselves; imported where a model encodes, for it
imports torch.
"""

from __future__ import annotations

import time
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch

from hepbench.registry.resolve import resolve
from hepbench.specs.errors import PluginError
from hepbench.training import promises
from hepbench.training.context import NetworkContext
from hepbench.training.networks import batches, determinism, stored_networks
from hepbench.training.networks.network import Network, build
from hepbench.training.networks.recipes import Recipe, TrustedCode
from hepbench.training.networks.scoring import memory_errors
from hepbench.training.score_checks import MethodOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from hepbench.specs.training_data import TrainingData
    from hepbench.specs.types import Inputs
    from hepbench.storage.workspace import Workspace


Facts = dict[str, Any]


def run(
    task: Mapping[str, Any],
    data: TrainingData,
    *,
    before: Sequence[Path],
    seed: int,
    report_progress: Callable[[str], None],
) -> tuple[Network, NetworkContext]:
    """Run one method of a chain and check what it returns.

    Raises:
        PluginError: it returns no network, or no classifier where it makes one.
        ProtocolError: what is declared frozen changed, or a pruned weight is not zero.
    """
    determinism.make_deterministic(task["threads"])
    determinism.seed(seed)
    device = torch.device(task["device"])
    with memory_errors():
        network = _start(task, data, before).to(device)
        held = promises.frozen(task["method"], network, task["freezes"])
        start = promises.zeros(network)
        determinism.seed(seed)
        context = NetworkContext(
            seed=seed,
            threads=task["threads"],
            device=device,
            head=task["method"] if task["method"] in task["heads"] else None,
            augmentation_functions=task["augmentations"],
            report_progress=report_progress,
        )
        began = time.perf_counter()
        result = resolve(task["run"])(network, data, context, **task["params"])
        context.seconds = time.perf_counter() - began
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
        context.began.append({n: z for n, z in start.items() if not n.startswith(replaced)})
    context.warnings += promises.filled(context.began, {} if before else start, result)
    return result.eval(), context


def known(task: Mapping[str, Any]) -> TrustedCode:
    """Return the code that recipes of this chain may name."""
    return TrustedCode(
        models={task["model"]: task["build"]},
        heads=task["heads"],
        steps=frozenset(task["preprocess"]),
    )


def _start(task: Mapping[str, Any], data: TrainingData, before: Sequence[Path]) -> Network:
    if before:
        return stored_networks.load(before[0], known(task))
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
    return map(batches.RawInputs(inputs, torch.device("cpu")), batches.chunks(inputs))


def facts(network: Network, context: NetworkContext) -> Facts:
    """Return what is told of a trained network; parameters are those that a score depends on."""
    used = network.scoring()
    parameters = [p for name, p in network.named_parameters() if name in used]
    found: Facts = {
        "seconds": context.seconds,
        "parameters": sum(p.numel() for p in parameters),
        "nonzero_parameters": sum(int(p.count_nonzero()) for p in parameters),
    }
    if context.history:
        found["history"] = [{n: float(v) for n, v in row.items()} for row in context.history]
    if context.warnings:
        found["warnings"] = list(context.warnings)
    if context.best is not None:
        found["best_epoch"] = context.best
    return found


def run_network(
    task: Mapping[str, Any],
    data: TrainingData,
    before: Sequence[Path],
    seed: int,
    workspace: Workspace,
) -> MethodOutput:
    from hepbench.training.networks import scoring, stored_networks

    network, context = run(
        task, data, before=before, seed=seed, report_progress=workspace.report_progress
    )
    stored_networks.save(network, workspace.folder)
    score: Any = scoring.codes if network.head is None else scoring.scores

    def stored(inputs: Inputs) -> Any:
        return score(stored_networks.load(workspace.folder, known(task)).to(network.device), inputs)

    return MethodOutput(
        facts(network, context),
        scores=partial(score, network),
        rescores=partial(scoring.scores, network, batch_size=scoring.RESCORED),
        stored=stored,
        values=partial(scoring.values, network) if task.get("values") else None,
    )
