"""Convolutional network of an image and scalars: a branch for the image and one for each scalar.

After a write-up ("ml4sci-evaluation-test", task 2; R8 of docs/systems.md): an image of a jet, its
pt and its mass m0 go into three inputs; kernels and pools are 5x5, because the image is sparse. Its
other settings are in a picture that was not kept, so these are our choice: the branch of ``cnn``
for the image, a linear layer with ReLU for each scalar, one more that joins them, dropout. The code
is our own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from hepbench_models.cnn import Branch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor


class MultiInputCNN(nn.Module):
    """An encoder of ``image`` and ``scalars`` (N, scalars) to (N, hidden).

    Args:
        shapes: of one example; ``image`` is (channels, height, width), of any size; ``scalars`` is
            (scalars,), of any number.
        widths: channels after each convolution.
        hidden: units of the image's linear layer, and of that which joins the branches.
        scalar_hidden: units of the linear layer of each scalar.
        dropout: fraction of the hidden units.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        widths: Sequence[int],
        hidden: int,
        scalar_hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        (scalars,) = shapes["scalars"]
        self.image = Branch(
            shapes["image"], widths=widths, kernel=5, pool=5, hidden=hidden, dropout=dropout
        )
        self.scalars = nn.ModuleList(
            nn.Sequential(nn.Linear(1, scalar_hidden), nn.ReLU()) for _ in range(scalars)
        )
        width = hidden + scalars * scalar_hidden
        self.join = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout))

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the units of the layer that joins the branches."""
        each = inputs["scalars"].split(1, 1)
        parts = [branch(one) for branch, one in zip(self.scalars, each, strict=True)]
        return self.join(torch.cat([self.image(inputs["image"]), *parts], 1))
