"""Prepare a network for tracing, which counting and export need: inputs, mode, plain kernels.

A network takes a dict of named inputs, with the batch on the first axis, and returns (N, classes)
logits.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from hepbench.training.networks.determinism import eval_mode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


Tensors: TypeAlias = "Mapping[str, Tensor]"


class Positional(nn.Module):
    """A network with positional inputs, which tracers need, in place of inputs by name."""

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names = network, tuple(names)

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the network's logits for inputs in the order of ``names``."""
        logits: Tensor = self.network(dict(zip(self.names, tensors, strict=True)))
        return logits


@contextmanager
def eval_without_gradients(network: nn.Module) -> Iterator[None]:
    """Set a network to eval mode without gradients; afterwards restore the mode of each module."""
    with eval_mode(network), torch.no_grad():
        yield


@contextmanager
def traceable(network: nn.Module) -> Iterator[None]:
    """Make every operator of a network visible to a tracer: no fused attention, no fast paths."""
    fast = torch.backends.mha.get_fastpath_enabled()
    # fvcore leaves its hooks in place if a trace fails
    pairs = [(m._forward_hooks, m._forward_pre_hooks) for m in network.modules()]
    hooks = [(current, current.copy()) for pair in pairs for current in pair]
    torch.backends.mha.set_fastpath_enabled(False)
    # torch's counter fails on a view of a parameter that requires a gradient
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    network.requires_grad_(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # oneDNN runs a recurrent layer as one opaque operator
            with (
                eval_without_gradients(network),
                sdpa_kernel(SDPBackend.MATH),
                torch.backends.mkldnn.flags(enabled=False),
            ):
                yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for parameter in trained:
            parameter.requires_grad_(True)
        for current, saved in hooks:
            current.clear()
            current.update(saved)


def batch(inputs: Mapping[str, Any], n: int) -> dict[str, Tensor]:
    """Return the first n examples as tensors; if there are fewer, they are repeated.

    Args:
        inputs: arrays or tensors, with the examples on the first axis.
        n: number of examples.
    """
    return {name: _rows(values, n) for name, values in inputs.items()}


def _rows(values: Any, n: int) -> Tensor:
    if isinstance(values, Tensor):
        return values[torch.arange(n) % len(values)]
    # copied, because torch does not respect that mapped arrays are read-only
    return torch.as_tensor(np.array(values[np.arange(n) % len(values)]))
