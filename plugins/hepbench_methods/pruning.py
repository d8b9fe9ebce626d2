"""What prunings share: how much goes, which weights, and what masks hold them at zero."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from hepbench import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from hepbench import Network

SCOPES = ("global", "layer")


def check_ratio(method: str, ratio: float) -> None:
    """Raise UsageError unless a ratio is in [0, 1)."""
    if not 0 <= ratio < 1:
        msg = f"{method}[ratio]: {ratio}; a share of at least 0 and below 1 is expected"
        raise UsageError(msg)


def check_among(what: str, value: str, known: tuple[str, ...]) -> None:
    """Raise UsageError unless a value is one of those known."""
    if value not in known:
        msg = f"{what}: {value!r}; {', '.join(known)} are known"
        raise UsageError(msg)


def share(ratio: float, n: int) -> int:
    """Return how many of n go, to the nearest whole number."""
    return math.floor(ratio * n + 0.5)


def prunable(network: Network) -> dict[str, Tensor]:
    """Return what may be masked: weights of two axes and more, no offsets, no norms."""
    return {
        name: parameter.detach()
        for name, parameter in network.named_parameters()
        if parameter.ndim > 1 and name.rpartition(".")[2].endswith("weight")
    }


def smallest(network: Network, ratio: float, scope: str) -> dict[str, Tensor]:
    """Return masks that zero exactly this share of the weights, the smallest by magnitude.

    What is masked already goes first, and of equals the first: a larger ratio takes all that a
    smaller one takes.

    Args:
        network: its masks are those of earlier steps.
        ratio: of all weights that may be masked, or of those of each layer.
        scope: ``global`` or ``layer``.
    """
    sizes = {name: _size(network, name, weight) for name, weight in prunable(network).items()}
    if scope == "layer":
        return {name: _largest(size, ratio) for name, size in sizes.items()}
    kept = _largest(torch.cat([size.flatten() for size in sizes.values()]), ratio)
    parts = kept.split([size.numel() for size in sizes.values()])
    return {n: part.view_as(size) for (n, size), part in zip(sizes.items(), parts, strict=True)}


def hold(network: Network, masks: Mapping[str, Tensor]) -> None:
    """Set masks, and the weights that they prune to zero."""
    network.masks = dict(masks)
    network.apply_masks()


def _size(network: Network, name: str, weight: Tensor) -> Tensor:
    mask = network.masks.get(name)
    return weight.abs() if mask is None else weight.abs().masked_fill(~mask.to(weight.device), -1)


def _largest(sizes: Tensor, ratio: float) -> Tensor:
    """Return a mask that is False for exactly this share, the smallest."""
    order = sizes.flatten().argsort(stable=True)
    mask = torch.ones(sizes.numel(), dtype=torch.bool, device=sizes.device)
    mask[order[: share(ratio, sizes.numel())]] = False
    return mask.view_as(sizes)
