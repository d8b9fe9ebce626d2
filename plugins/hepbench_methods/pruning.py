"""Choose the smallest weights of a network and mask them, for all methods that prune weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from hepbench import Network


def count(ratio: float, n: int) -> int:
    """Return the number of n weights to prune, to the nearest whole number."""
    return math.floor(ratio * n + 0.5)


def prunable(network: Network) -> dict[str, Tensor]:
    """Return the weights of a network that may be pruned: matrices and filters only."""
    return {
        name: parameter.detach()
        for name, parameter in network.named_parameters()
        if parameter.ndim > 1 and _is_weight(network, name)
    }


def _is_weight(network: Network, name: str) -> bool:
    """Return whether a matrix multiplies inputs; those of recurrent layers have names of their own."""
    owner, _, leaf = name.rpartition(".")
    recurrent = isinstance(network.get_submodule(owner), (nn.RNNBase, nn.RNNCellBase))
    return recurrent or leaf.endswith("weight")


def smallest(network: Network, ratio: float, scope: str) -> dict[str, Tensor]:
    """Return masks that set exactly a fraction of the weights, the smallest ones, to zero.

    Masked weights come first, and the first of equal ones: a larger ratio prunes all the weights
    that a smaller one prunes.

    Args:
        network: its masks are those of earlier steps.
        ratio: fraction of all prunable weights, or of those of each layer.
        scope: ``global`` or ``layer``.
    """
    sizes = {name: _size(network, name, weight) for name, weight in prunable(network).items()}
    if scope == "layer":
        return {name: _largest(size, ratio) for name, size in sizes.items()}
    kept = _largest(torch.cat([size.flatten() for size in sizes.values()]), ratio)
    parts = kept.split([size.numel() for size in sizes.values()])
    return {n: part.view_as(size) for (n, size), part in zip(sizes.items(), parts, strict=True)}


def apply_masks(network: Network, masks: Mapping[str, Tensor]) -> None:
    """Store masks in a network, and set its masked weights to zero."""
    network.masks = dict(masks)
    network.apply_masks()


def _size(network: Network, name: str, weight: Tensor) -> Tensor:
    mask = network.masks.get(name)
    return weight.abs() if mask is None else weight.abs().masked_fill(~mask.to(weight.device), -1)


def _largest(sizes: Tensor, ratio: float) -> Tensor:
    """Return a mask that is False for the smallest weights, exactly a fraction ``ratio``."""
    order = sizes.flatten().argsort(stable=True)
    mask = torch.ones(sizes.numel(), dtype=torch.bool, device=sizes.device)
    mask[order[: count(ratio, sizes.numel())]] = False
    return mask.view_as(sizes)
