"""Linear probe: a linear head on the latents of a frozen encoder.

The head of He et al. (2022), arXiv:2111.06377, section A.1: batch normalisation without parameters,
so that the scale of the latents does not matter, then a linear layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from hepbench import Objective, classification

if TYPE_CHECKING:
    from hepbench import Context, Network, TrainingData


def head(width: int, classes: int) -> nn.Module:
    """Build the linear head of the probe, from (N, width) latents to (N, classes) logits."""
    return nn.Sequential(nn.BatchNorm1d(width, affine=False), nn.Linear(width, classes))


def linear_probe(
    start: Network, data: TrainingData, context: Context, *, learning_rate: float, **training: Any
) -> Network:
    """Train a linear head on the latents of a frozen encoder."""
    return context.fit(
        context.with_head(start),
        data,
        Objective(classification, {"head": learning_rate}),
        **training,
    )
