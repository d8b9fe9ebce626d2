"""Layers that all networks of particles share: normalisation of real particles, and their mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


class ParticleNorm(nn.BatchNorm1d):
    """Batch normalisation of the last axis; in training the statistics are those of real particles.

    Also for edges and pairs of particles. Values of padding are not defined afterwards.
    """

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """Return x (..., C), normalised; ``real`` (...) is True for a real particle, edge or pair."""
        if not self.training:
            flat = functional.batch_norm(
                x.flatten(0, -2),
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                eps=self.eps,
            )
            return flat.view(x.shape)
        rows, flat = real.flatten().nonzero().squeeze(1), x.flatten(0, -2)
        # the variance of one value is 0, which torch refuses
        if len(rows) < 2:
            return x * 0
        values = super().forward(flat.index_select(0, rows))
        # rows are copied several times faster than single values
        return torch.zeros_like(flat).index_copy(0, rows, values).view(x.shape)


def mean_of_real(x: Tensor, real: Tensor, axis: int) -> Tensor:
    """Return the mean over an axis of x (..., C), of real entries only; 0 if there are none."""
    weights = real[..., None].to(x.dtype)
    return (x * weights).sum(axis) / weights.sum(axis).clamp_min(1)
