"""Run one method on a network: build or load it, train it, check and store the result."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch

from hepbench.registry.resolve import resolve
from hepbench.specs.errors import PluginError
from hepbench.storage import machine
from hepbench.training import promises
from hepbench.training.context import NetworkContext
from hepbench.training.messages import MethodTask, NetworkTask, Trained
from hepbench.training.networks import batches, determinism, memory, scoring, stored_networks
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


def run_network(
    task: MethodTask, data: TrainingData, before: Sequence[Path], seed: int, workspace: Workspace
) -> MethodOutput:
    """Run a method on a network and store the trained network."""
    network, context = run(
        task, data, before=before, seed=seed, report_progress=workspace.report_progress
    )
    stored_networks.save(network, workspace.folder)
    score: Any = scoring.latents if network.head is None else scoring.scores

    def score_stored(inputs: Inputs) -> Any:
        stored = stored_networks.load(workspace.folder, trusted_code(task))
        return score(stored.to(network.device), inputs)

    return MethodOutput(
        trained(network, context),
        scores=partial(score, network),
        rescores=partial(scoring.scores, network, batch_size=scoring.RESCORING_BATCH_SIZE),
        score_stored=score_stored,
        values=partial(scoring.values, network) if task.own_loss else None,
    )


def run(
    task: MethodTask,
    data: TrainingData,
    *,
    before: Sequence[Path],
    seed: int,
    report_progress: Callable[[str], None],
) -> tuple[Network, NetworkContext]:
    """Run one method of a chain on a network, and check the network that it returns.

    Raises:
        PluginError: it returns no network, or no classifier where it makes one.
        ProtocolError: a part that is declared frozen changed, a pruned weight is not zero, or a
            training validates on other examples than the method received for that.
    """
    settings = network_task(task)
    memory.keep_freed_memory()
    determinism.make_deterministic(task.threads)
    determinism.seed(seed)
    with memory_errors():
        network = _starting_network(task, data, before).to(torch.device(settings.device))
        frozen = promises.copy_frozen(task.method, network, settings.freezes)
        zeros = promises.zero_counts(network)
        determinism.seed(seed)
        context = _context(task, settings, seed, report_progress)
        # its own mapping: a method may assign to that of its data
        context.validation = replace(data.validation, inputs=dict(data.validation.inputs))
        began, cpu_before = time.perf_counter(), machine.cpu_seconds()
        result = resolve(task.run)(network, data, context, **task.params)
        context.seconds = time.perf_counter() - began
        context.cpu_seconds = machine.cpu_seconds() - cpu_before
    _check_kind(task, result)
    promises.check(task.method, result, frozen)
    if before:
        replaced = () if result.head is network.head else ("head.",)
        context.zeros_at_start.append(
            {n: z for n, z in zeros.items() if not n.startswith(replaced)}
        )
    first = {} if before else zeros
    context.warnings += promises.revived_weights(context.zeros_at_start, first, result)
    return result.eval(), context


def _context(
    task: MethodTask, settings: NetworkTask, seed: int, report_progress: Callable[[str], None]
) -> NetworkContext:
    return NetworkContext(
        seed=seed,
        threads=task.threads,
        device=torch.device(settings.device),
        head=task.method if task.method in settings.heads else None,
        augmentation_functions=settings.augmentations,
        report_progress=report_progress,
    )


def _check_kind(task: MethodTask, result: Any) -> None:
    """Check that a method returned a network of the promised kind; an encoder loses its head.

    Raises:
        PluginError: what a method returned is no network, or has no head where it needs one.
    """
    if not isinstance(result, Network):
        msg = f"{task.method} returned {type(result).__name__}; a Network is expected"
        raise PluginError(msg)
    if task.makes == "encoder":
        result.drop_head()
    elif result.head is None:
        msg = f"{task.method} returned a network without a head; a classifier needs a head"
        raise PluginError(msg)


def network_task(task: MethodTask) -> NetworkTask:
    """Return the part of a method's task that concerns networks.

    Raises:
        PluginError: the model is an estimator.
    """
    if task.network is None:
        msg = f"{task.model} is an estimator, but a network is needed to apply {task.method}"
        raise PluginError(msg)
    return task.network


def trusted_code(task: MethodTask) -> TrustedCode:
    """Return the functions that stored networks of this chain may name in their recipes."""
    settings = network_task(task)
    return TrustedCode(
        models={task.model: task.build},
        heads=settings.heads,
        steps=frozenset(settings.preprocess),
    )


def _starting_network(task: MethodTask, data: TrainingData, before: Sequence[Path]) -> Network:
    if before:
        return stored_networks.load(before[0], trusted_code(task))
    # unlabelled examples too: preprocessing is the same for every method
    pieces = [p.inputs for p in (data.train, data.unlabelled) if p is not None]
    return fresh(task, *pieces, classes=data.classes)


def fresh(task: MethodTask, inputs: Inputs, *more: Inputs, classes: int) -> Network:
    """Return an untrained network of a model, with preprocessing fitted on training inputs.

    Args:
        task: names the model; torch's generator draws the weights.
        inputs, more: training inputs, which may come in pieces.
        classes: of its head.
    """
    recipe = Recipe(
        model=task.model,
        params=dict(task.model_params),
        preprocess=network_task(task).preprocess,
        shapes={name: [int(n) for n in array.shape[1:]] for name, array in inputs.items()},
        classes=classes,
    )
    network = build(recipe, trusted_code(task))
    network.preprocess.fit(lambda: chain.from_iterable(map(_raw_batches, (inputs, *more))))
    # a step that follows its batches in training mode does so only while it is fitted
    network.preprocess.eval()
    return network


def _raw_batches(inputs: Inputs) -> Iterator[Mapping[str, Tensor]]:
    return map(batches.RawInputs(inputs, torch.device("cpu")), batches.chunks(inputs))


def trained(network: Network, context: NetworkContext) -> Trained:
    """Return facts about a trained network; only parameters that affect scores are counted."""
    used = network.scoring_parameters()
    parameters = [p for name, p in network.named_parameters() if name in used]
    history = [{n: float(v) for n, v in row.items()} for row in context.history]
    return Trained(
        seconds=context.seconds,
        cpu_seconds=context.cpu_seconds,
        processed=context.processed or None,
        parameters=sum(p.numel() for p in parameters),
        nonzero_parameters=sum(int(p.count_nonzero()) for p in parameters),
        history=history or None,
        best_epoch=context.best,
        warnings=list(context.warnings),
    )
