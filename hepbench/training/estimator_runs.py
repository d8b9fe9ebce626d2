"""Run one method on an estimator: build or load it, fit it, store it."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.registry.resolve import resolve
from hepbench.specs.errors import PluginError
from hepbench.specs.model import Estimator
from hepbench.storage import machine
from hepbench.training import stored_estimators
from hepbench.training.messages import MethodTask, Trained
from hepbench.training.score_checks import MethodOutput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hepbench.specs.training_data import TrainingData
    from hepbench.specs.types import Inputs
    from hepbench.storage.workspace import Workspace


@dataclass(frozen=True)
class EstimatorContext:
    """The services that a method for estimators may use: see ``specs.Context``."""

    seed: int
    threads: int


def run_estimator(
    task: MethodTask, data: TrainingData, before: Sequence[Path], seed: int, workspace: Workspace
) -> MethodOutput:
    """Run a method on an estimator and store the fitted estimator.

    Raises:
        PluginError: it returns another type than it was given.
    """
    start = _starting_estimator(task, data, seed, before)
    _seed_global(seed)
    context = EstimatorContext(seed, task.threads)
    began, cpu_before = time.perf_counter(), machine.cpu_seconds()
    result = resolve(task.run)(start, data, context, **task.params)
    took = {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": machine.cpu_seconds() - cpu_before,
    }
    # the state is put back into what build returns, so a wrapper would lose what it adds
    if type(result) is not type(start):
        found, expected = type(result).__name__, type(start).__name__
        msg = f"{task.method} returned {found}; it was given {expected} and must return the same"
        raise PluginError(msg)
    stored_estimators.save(result, workspace.folder)

    def score_stored(inputs: Inputs) -> Any:
        return stored_estimators.load(built(task, inputs), workspace.folder).scores(inputs)

    trained = _reported_facts(task, result, took)
    return MethodOutput(trained, result.scores, result.scores, score_stored)


def _starting_estimator(
    task: MethodTask, data: TrainingData, seed: int, before: Sequence[Path]
) -> Estimator:
    _seed_global(seed)
    fresh = built(task, data.train.inputs)
    return stored_estimators.load(fresh, before[0]) if before else fresh


def built(task: MethodTask, inputs: Inputs) -> Estimator:
    """Return an unfitted estimator that a model builds for inputs of these shapes.

    Raises:
        PluginError: what the model builds is no Estimator.
    """
    shapes = {name: tuple(array.shape[1:]) for name, array in inputs.items()}
    made = resolve(task.build)(shapes, **task.model_params)
    if not isinstance(made, Estimator):
        msg = f"{task.model}: build returned {type(made).__name__}; an Estimator is expected"
        raise PluginError(msg)
    return made


def _seed_global(seed: int) -> None:
    """Seed the global random generators, for estimators that have none of their own."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002


def _reported_facts(task: MethodTask, result: Estimator, took: Mapping[str, Any]) -> Trained:
    """Return what a fitted estimator reports: parameters, history, best epoch.

    Raises:
        PluginError: its history holds a value that is not finite.
    """
    history = [
        {name: float(value) for name, value in row.items()}
        for row in getattr(result, "history", None) or ()
    ]
    for i, row in enumerate(history):
        if wrong := [name for name, value in row.items() if not math.isfinite(value)]:
            msg = (
                f"{task.model}: '{wrong[0]}' is {row[wrong[0]]} in row {i} of the estimator's "
                "history; finite numbers are expected"
            )
            raise PluginError(msg)
    return Trained(
        **took,
        parameters=_integer_attribute(result, "parameters"),
        best_epoch=_integer_attribute(result, "best_epoch"),
        history=history or None,
    )


def _integer_attribute(result: Estimator, name: str) -> int | None:
    value = getattr(result, name, None)
    return None if value is None else int(value)
