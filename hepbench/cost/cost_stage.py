"""The cost stage: measures what scoring costs, of the model that was scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepbench.data.stored_parts import load_part
from hepbench.training import stored_estimators
from hepbench.training.estimator_runs import built

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepbench.storage.workspace import Workspace
    from hepbench.training.method_stage import Facts


def cost(task: Mapping[str, Any], workspace: Workspace) -> Facts:
    """Measure what scoring costs: of the very network or estimator that was scored."""
    from hepbench.cost import measure as costs

    source, made = workspace.parents
    inputs = load_part(source, "validation").inputs
    few = {name: array[: costs.LARGE] for name, array in inputs.items()}
    if task.get("network"):
        from hepbench.cost.whole_network import whole

        scored, few = whole(task, made, few)
    else:
        scored = stored_estimators.load(built(task, inputs), made)
    return costs.measure(scored, few, folder=workspace.folder, threads=task["threads"])
