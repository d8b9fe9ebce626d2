"""The method stage: train a model with one method of a chain, and score all parts of the data."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hepbench.data import event_weights, splits
from hepbench.data.stored_parts import load_part
from hepbench.specs.errors import DataError
from hepbench.specs.training_data import Examples, TrainingData
from hepbench.storage import machine
from hepbench.storage.workspace import stage
from hepbench.training import seeds
from hepbench.training.estimator_runs import run_estimator
from hepbench.training.messages import MethodResult, MethodTask
from hepbench.training.score_checks import check_stored, score_parts

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hepbench.storage.workspace import Workspace
    from hepbench.training.score_checks import MethodOutput


@stage(MethodTask)
def method(task: MethodTask, workspace: Workspace) -> MethodResult:
    """Run one method of a chain; if it makes a classifier, score all parts of the data."""
    source, *before = workspace.parents
    data, labelled = training_data(task, source)
    seed = seeds.derive(task.seed, *task.steps)
    output = _run_method(task, data, before, seed, workspace)
    warnings = list(output.trained.warnings)
    if task.makes == "classifier":
        # read again: a method may have changed the arrays that it was given
        parts = {part: load_part(source, part) for part in splits.PARTS}
        warnings += score_parts(task, output, parts, workspace.folder, labelled=labelled)
    peak = machine.peak_memory_mb()
    check_stored(task, output, load_part(source, "validation").inputs)
    return MethodResult(
        trained=output.trained, examples=len(data.train), peak_memory_mb=peak, warnings=warnings
    )


def training_data(task: MethodTask, source: Path) -> tuple[TrainingData, NDArray[np.int64] | None]:
    """Return the method's training data, and the training rows whose labels it sees (None: all)."""
    train, unlabelled = load_part(source, "train"), source / "unlabelled"
    seen = _seen_rows(train, task)
    data = TrainingData(
        train=train if seen is None else train[seen],
        validation=load_part(source, "validation"),
        # a training size counts all examples that a method sees
        unlabelled=load_part(source, "unlabelled")
        if seen is None and unlabelled.exists()
        else None,
        classes=task.classes,
    )
    if not task.labels:
        return data.without_labels(), seen
    if task.label_fraction == 1:
        return _weighted(data, task), seen
    labelled = _labelled_rows(data.train, task)
    rows = labelled if seen is None else seen[labelled]
    return _weighted(data.with_labels_of(labelled), task), rows


def _seen_rows(train: Examples, task: MethodTask) -> NDArray[np.int64] | None:
    """Return the training rows that the methods of a chain see, the same for all; None: all rows.

    Raises:
        DataError: there are fewer than the task asks for, or fewer are asked for than classes.
    """
    size = task.training_size
    if size is None:
        return None
    if not task.classes <= size <= len(train):
        msg = (
            f"dataset.training_size is {size:,}; there are {len(train):,} training examples of "
            f"{task.classes} classes, so {task.classes} to {len(train):,} are allowed"
        )
        raise DataError(msg)
    seed = seeds.derive(task.seed, "training size")
    return splits.subset(np.asarray(train.labels), train.ids, size=size, seed=seed)


def _weighted(data: TrainingData, task: MethodTask) -> TrainingData:
    """Return training data with weights of mean 1 by the dataset's rule, or without weights."""
    rule = task.training_weights
    event_weights.refuse_negative(rule, data.train, data.validation)
    event_weights.refuse_weightless(rule, data.train)
    train, validation = (
        replace(part, weights=event_weights.of_training(rule, part.labels, part.weights))
        for part in (data.train, data.validation)
    )
    return replace(data, train=train, validation=validation)


def _labelled_rows(train: Examples, task: MethodTask) -> NDArray[np.int64]:
    """Return the training rows whose labels methods may see, the same for every method."""
    seed = seeds.derive(task.seed, "label fraction")
    labels = np.asarray(train.labels)
    return splits.stratified(labels, train.ids, fraction=task.label_fraction, seed=seed)


def _run_method(
    task: MethodTask, data: TrainingData, before: list[Path], seed: int, workspace: Workspace
) -> MethodOutput:
    if task.network is None:
        return run_estimator(task, data, before, seed, workspace)
    # it imports torch, which estimators do without
    from hepbench.training.network_runs import run_network

    return run_network(task, data, before, seed, workspace)
