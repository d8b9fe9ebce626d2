"""The cost stage: measure the cost of scoring with a trained model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from hepbench.cost import measure
from hepbench.cost.estimator_export import offered
from hepbench.cost.messages import CostResult, CostTask
from hepbench.data.stored_parts import load_part
from hepbench.storage.workspace import stage
from hepbench.training import stored_estimators
from hepbench.training.estimator_runs import built

if TYPE_CHECKING:
    from collections.abc import Callable

    from hepbench.cost.report import Share
    from hepbench.specs.types import Inputs, Json
    from hepbench.storage.workspace import Workspace


MAX_MB = 32
"""Size of the examples that calls are timed with; at least the large batch."""


@stage(CostTask)
def cost(task: CostTask, workspace: Workspace) -> CostResult:
    """Measure the cost of scoring with the trained network or estimator of a cell."""
    method = task.method
    inputs_folder, method_folder = workspace.parents
    inputs = load_part(inputs_folder, "validation").inputs
    examples = _first_examples(inputs)
    if method.network is None:
        estimator = stored_estimators.load(built(method, inputs), method_folder)
        with workspace.alone():
            return measure.measure(
                estimator,
                examples,
                folder=workspace.folder,
                threads=method.threads,
                make_graph=offered(estimator, task.onnx),
            )
    from hepbench.cost.preprocessed_network import form, load_preprocessed

    network, tensors = load_preprocessed(method, method_folder, examples)
    equal = {"form": form(network, method_folder), "inputs": inputs_folder.name, **task.conditions}
    return measure.measure(
        network,
        tensors,
        folder=workspace.folder,
        threads=method.threads,
        device=method.network.device,
        share=_sharing(workspace, equal),
    )


def _sharing(workspace: Workspace, equal: dict[str, Json]) -> Share:
    """Return a function that measures one network of all that are equal in form and conditions."""
    _, method_folder = workspace.parents

    def share(graph: str | None, compute: Callable[[], CostResult]) -> CostResult:
        def measured() -> CostResult:
            return msgspec.structs.replace(compute(), measured_on=method_folder.name)

        return workspace.shared({**equal, "graph": graph}, measured, CostResult)

    return share


def _first_examples(inputs: Inputs) -> Inputs:
    """Return examples for timing: as many as fit into MAX_MB, at least those of the large batch."""
    size = sum(4 * math.prod(array.shape[1:]) for array in inputs.values())
    n = max(measure.LARGE, MAX_MB * 1_000_000 // max(size, 1))
    return {name: array[:n] for name, array in inputs.items()}
