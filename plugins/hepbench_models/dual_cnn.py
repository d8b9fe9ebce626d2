"""Convolutional network with a branch of its own for each of the two channels of an image.

After a write-up ("ml4sci-evaluation-test", task 1 with TensorFlow; R8 of docs/systems.md), in which
energy and time go into two inputs. Its layers are in a picture that was not kept, so these are our
choice: two branches of ``cnn`` with weights of their own, joined by a linear layer with ReLU and
dropout. The code is our own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from hepbench_models.cnn import Branch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor


class DualCNN(nn.Module):
    """An encoder of ``image``: (N, 2, height, width) to (N, hidden).

    Args:
        shapes: of one example; ``image`` is (2, height, width), of any size.
        widths: channels after each convolution of a branch.
        hidden: units of each branch's linear layer, and of that which joins them.
        dropout: fraction of these units.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        widths: Sequence[int],
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        channels, *size = shapes["image"]
        self.branches = nn.ModuleList(
            Branch((1, *size), widths=widths, kernel=3, pool=2, hidden=hidden, dropout=dropout)
            for _ in range(channels)
        )
        self.join = nn.Sequential(
            nn.Linear(channels * hidden, hidden), nn.ReLU(), nn.Dropout(dropout)
        )

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the units of the layer that joins the branches."""
        channels = inputs["image"].split(1, 1)
        parts = [branch(one) for branch, one in zip(self.branches, channels, strict=True)]
        return self.join(torch.cat(parts, 1))
