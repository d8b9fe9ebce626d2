"""A network as tracers can follow it: tensors in a row, in eval mode, attention spelt out.

A scored network is any ``nn.Module`` called with a dict of named inputs, the first axis of each the
batch, that returns (N, classes) logits.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


Tensors: TypeAlias = "Mapping[str, Tensor]"


class Positional(nn.Module):
    """A network called with its inputs in a row: what tracers take."""

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names = network, tuple(names)

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the logits of inputs in the order of ``names``."""
        logits: Tensor = self.network(dict(zip(self.names, tensors, strict=True)))
        return logits


@contextmanager
def scoring(network: nn.Module) -> Iterator[None]:
    """Hold a network in eval mode, without gradients; every module's mode is put back."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def traceable(network: nn.Module) -> Iterator[None]:
    """Hold a network so that every operator is seen: fused attention and fast paths are off."""
    fast = torch.backends.mha.get_fastpath_enabled()
    # fvcore leaves its hooks behind where a trace fails
    pairs = [(m._forward_hooks, m._forward_pre_hooks) for m in network.modules()]
    hooks = [(held, held.copy()) for pair in pairs for held in pair]
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # recurrent layers are one opaque operator under oneDNN
            with (
                scoring(network),
                sdpa_kernel(SDPBackend.MATH),
                torch.backends.mkldnn.flags(enabled=False),
            ):
                yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for held, before in hooks:
            held.clear()
            held.update(before)


def batch(inputs: Mapping[str, Any], n: int) -> dict[str, Tensor]:
    """Return n examples as tensors, from the first on, over and over where there are fewer.

    Args:
        inputs: arrays or tensors, the first axis the examples.
        n: how many.
    """
    return {name: _rows(values, n) for name, values in inputs.items()}


def _rows(values: Any, n: int) -> Tensor:
    if isinstance(values, Tensor):
        return values[torch.arange(n) % len(values)]
    # a copy: mapped arrays may not be written, which torch does not know
    return torch.as_tensor(np.array(values[np.arange(n) % len(values)]))
