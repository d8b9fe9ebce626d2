"""Load the network whose cost is measured, together with its preprocessing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import torch
from torch import Tensor, nn

from hepbench.training.network_runs import trusted_code
from hepbench.training.networks import batches, stored_networks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hepbench.specs.types import Inputs, Json
    from hepbench.training.messages import MethodTask
    from hepbench.training.networks.network import Network


class PreprocessedNetwork(nn.Module):
    """A network that also runs its preprocessing, whose cost is measured too."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (N, classes) logits of dense inputs, not yet preprocessed."""
        logits: Tensor = self.network(self.network.preprocess(inputs))
        return logits


def form(network: PreprocessedNetwork, folder: Path) -> dict[str, Json]:
    """Return all that the operations of a network follow from, apart from the values of its weights.

    Args:
        network: as it was loaded.
        folder: from which it was loaded.
    """
    tensors = network.state_dict().items()
    return {
        "recipe": msgspec.to_builtins(stored_networks.recipe(folder)),
        "tensors": {name: [str(tensor.dtype), *tensor.shape] for name, tensor in tensors},
    }


def load_preprocessed(
    task: MethodTask, folder: Path, inputs: Inputs
) -> tuple[PreprocessedNetwork, dict[str, Tensor]]:
    """Load the network whose cost is measured; return it with preprocessing, and dense inputs."""
    cpu = torch.device("cpu")
    network = PreprocessedNetwork(stored_networks.load(folder, trusted_code(task)))
    return network, {name: batches.dense(name, array, cpu) for name, array in inputs.items()}
