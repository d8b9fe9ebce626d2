"""The cost stage: measures what scoring costs, of the model that was scored."""

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
    """Measure what scoring costs, of the very network or estimator that was scored."""
    from hepbench.cost import measure

    method = task.method
    source, stored = workspace.parents
    inputs = load_part(source, "validation").inputs
    few = {name: array[: measure.LARGE] for name, array in inputs.items()}
    if method.network is None:
        estimator = stored_estimators.load(built(method, inputs), stored)
        return measure.measure(estimator, few, folder=workspace.folder, threads=method.threads)
    from hepbench.cost.whole_network import whole

    network, tensors = whole(method, stored, few)
    return measure.measure(
        network,
        tensors,
        folder=workspace.folder,
        threads=method.threads,
        device=method.network.device,
    )
