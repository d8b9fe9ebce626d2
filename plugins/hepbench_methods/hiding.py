"""Hide particles of clouds: encoders then see clouds that never had them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


def some_of(mask: Tensor, fraction: float) -> Tensor:
    """Draw particles to hide, (N, P) bool: a fraction of the real particles of each cloud.

    At least one is hidden and one is left, where a cloud has two or more; of others none is hidden.

    Args:
        mask: (N, P), True for a real particle.
        fraction: between 0 and 1.
    """
    counts = mask.sum(1, keepdim=True)
    n = (fraction * counts).round().clamp_min(1)
    n = torch.minimum(n, counts - 1)
    order = torch.rand(mask.shape, device=mask.device).masked_fill(~mask, 2.0).argsort(1)
    return mask & (order.argsort(1) < n)


def without(inputs: Mapping[str, Tensor], hidden: Tensor) -> dict[str, Tensor]:
    """Return clouds without hidden particles: these become padding, and neighbours of no particle.

    Args:
        inputs: ``cloud`` and ``mask``, perhaps ``momenta`` and ``neighbours``; others stay.
        hidden: (N, P), True for particles to hide.
    """
    found = dict(inputs)
    found["mask"] = inputs["mask"] & ~hidden
    for name in {"cloud", "momenta"} & inputs.keys():
        found[name] = inputs[name].masked_fill(hidden[..., None], 0.0)
    if "neighbours" in inputs:
        near = inputs["neighbours"]
        gone = hidden.gather(1, near.flatten(1)).view_as(near) | hidden[..., None]
        # a particle's own index stands for no neighbour
        own = torch.arange(near.shape[1], device=near.device)[:, None]
        found["neighbours"] = torch.where(gone, own, near)
    return found
