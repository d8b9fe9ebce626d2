"""The cost stage: measure the cost of scoring with a trained model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench.cost.messages import CostResult, CostTask
from hepbench.data.stored_parts import load_part
from hepbench.storage.workspace import stage
from hepbench.training import stored_estimators
from hepbench.training.estimator_runs import built

if TYPE_CHECKING:
    from hepbench.storage.workspace import Workspace


@stage(CostTask)
def cost(task: CostTask, workspace: Workspace) -> CostResult:
    """Measure the cost of scoring with the trained network or estimator of a cell."""
    from hepbench.cost import measure

    method = task.method
    inputs_folder, method_folder = workspace.parents
    inputs = load_part(inputs_folder, "validation").inputs
    examples = {name: array[: measure.LARGE] for name, array in inputs.items()}
    if method.network is None:
        estimator = stored_estimators.load(built(method, inputs), method_folder)
        return measure.measure(estimator, examples, folder=workspace.folder, threads=method.threads)
    from hepbench.cost.preprocessed_network import load_preprocessed

    network, tensors = load_preprocessed(method, method_folder, examples)
    return measure.measure(
        network,
        tensors,
        folder=workspace.folder,
        threads=method.threads,
        device=method.network.device,
    )
