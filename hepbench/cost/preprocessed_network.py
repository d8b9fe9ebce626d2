"""Load the network whose cost is measured, together with its preprocessing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hepbench.training.network_runs import trusted_code
from hepbench.training.networks import batches, stored_networks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hepbench.specs.types import Inputs
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


def load_preprocessed(
    task: MethodTask, folder: Path, inputs: Inputs
) -> tuple[PreprocessedNetwork, dict[str, Tensor]]:
    """Load the network whose cost is measured; return it with preprocessing, and dense inputs."""
    cpu = torch.device("cpu")
    network = PreprocessedNetwork(stored_networks.load(folder, trusted_code(task)))
    return network, {name: batches.dense(name, array, cpu) for name, array in inputs.items()}
