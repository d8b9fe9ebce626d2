"""The network as its cost is measured: with its preprocessing, on dense inputs."""

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


class Whole(nn.Module):
    """A network behind its preprocessing: work that hides in a step costs like any other."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (N, classes) logits of inputs as they were laid out, dense."""
        logits: Tensor = self.network(self.network.preprocess(inputs))
        return logits


def whole(task: MethodTask, folder: Path, inputs: Inputs) -> tuple[Whole, dict[str, Tensor]]:
    """Return the network in a folder with its preprocessing, and dense inputs for it."""
    cpu = torch.device("cpu")
    network = Whole(stored_networks.load(folder, trusted_code(task)))
    return network, {name: batches.dense(name, array, cpu) for name, array in inputs.items()}
