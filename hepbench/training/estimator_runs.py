"""One method applied to an estimator: built or loaded, fitted, stored."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.registry.resolve import resolve
from hepbench.specs.errors import PluginError
from hepbench.specs.model import Estimator
from hepbench.training import stored_estimators
from hepbench.training.score_checks import MethodOutput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hepbench.specs.training_data import TrainingData
    from hepbench.specs.types import Inputs
    from hepbench.storage.workspace import Workspace
    from hepbench.training.method_stage import Facts


@dataclass(frozen=True)
class EstimatorContext:
    """What a method is lent: see ``specs.Context``."""

    seed: int
    threads: int


def run_estimator(
    task: Mapping[str, Any],
    data: TrainingData,
    before: Sequence[Path],
    seed: int,
    workspace: Workspace,
) -> MethodOutput:
    start = _start(task, data, seed, before)
    _seed_global(seed)
    context = EstimatorContext(seed, task["threads"])
    began = time.perf_counter()
    result = resolve(task["run"])(start, data, context, **task["params"])
    seconds = time.perf_counter() - began
    # state is put back into what build returns, so a wrapper would lose what it adds
    if type(result) is not type(start):
        kinds = type(result).__name__, type(start).__name__
        msg = (
            f"{task['method']} returned {kinds[0]}; the kind of its start, {kinds[1]}, is expected"
        )
        raise PluginError(msg)
    stored_estimators.save(result, workspace.folder)

    def stored(inputs: Inputs) -> Any:
        return stored_estimators.load(built(task, inputs), workspace.folder).scores(inputs)

    return MethodOutput(
        {"seconds": seconds, **_fitted(result)}, result.scores, result.scores, stored
    )


def _start(
    task: Mapping[str, Any], data: TrainingData, seed: int, before: Sequence[Path]
) -> Estimator:
    _seed_global(seed)
    fresh = built(task, data.train.inputs)
    return stored_estimators.load(fresh, before[0]) if before else fresh


def built(task: Mapping[str, Any], inputs: Inputs) -> Estimator:
    shapes = {name: tuple(array.shape[1:]) for name, array in inputs.items()}
    made = resolve(task["build"])(shapes, **task["model_params"])
    if not isinstance(made, Estimator):
        msg = f"{task['model']}: build returned {type(made).__name__}; an Estimator is expected"
        raise PluginError(msg)
    return made


def _seed_global(seed: int) -> None:
    """Seed what takes no generator of its own."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002


def _fitted(result: Estimator) -> Facts:
    """Return what an estimator may say of itself."""
    facts: Facts = {}
    for name in ("parameters", "best_epoch"):
        if (value := getattr(result, name, None)) is not None:
            facts[name] = int(value)
    if history := getattr(result, "history", None):
        facts["history"] = [{k: float(v) for k, v in epoch.items()} for epoch in history]
    return facts
