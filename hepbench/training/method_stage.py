"""Methods, in a worker: ``(task, place) -> facts``. The last of a chain also scores every part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.data import splits
from hepbench.data.stored_parts import load_part
from hepbench.specs.training_data import Examples, TrainingData
from hepbench.storage import machine
from hepbench.training import seeds
from hepbench.training.estimator_runs import run_estimator
from hepbench.training.score_checks import check_stored, score

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from hepbench.storage.workspace import Workspace


Facts = dict[str, Any]


def method(task: Mapping[str, Any], workspace: Workspace) -> Facts:
    """Run one method of a chain; a classifier also scores every part."""
    source, *before = workspace.parents
    data = TrainingData(
        train=load_part(source, "train"),
        validation=load_part(source, "validation"),
        unlabelled=load_part(source, "unlabelled") if (source / "unlabelled").exists() else None,
        classes=task["classes"],
    )
    trained = None
    if not task["labels"]:
        # no name is left that leads to them
        data = data.without_labels()
    elif task["label_fraction"] < 1:
        trained = _share(data.train, task)
        data = data.with_labels_of(trained)
    seed = seeds.derive(task["seed"], *task["steps"])
    if task.get("network"):
        # it imports torch, which estimators do not need
        from hepbench.training.network_runs import run_network as run
    else:
        run = run_estimator
    made = run(task, data, before, seed, workspace)
    facts = {"examples": len(data.train), **made.facts}
    if task["makes"] == "classifier":
        # opened again: a method may have put other inputs into what it was given
        parts = {part: load_part(source, part) for part in splits.PARTS}
        odd = score(task, made, parts, workspace.folder, trained=trained)
        facts["warnings"] = [*facts.get("warnings", []), *odd]
    facts["peak_memory_mb"] = machine.peak_memory_mb()
    check_stored(task, made, load_part(source, "validation").inputs)
    return facts


def _share(train: Examples, task: Mapping[str, Any]) -> NDArray[np.int64]:
    """Return the rows whose labels may be seen: by every method the same."""
    seed = seeds.derive(task["seed"], "label fraction")
    labels = np.asarray(train.labels)
    return splits.stratified(labels, train.ids, fraction=task["label_fraction"], seed=seed)
