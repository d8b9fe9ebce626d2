"""Convolutional network of images: convolutions with pooling, then a linear layer.

After a write-up ("ml4sci-evaluation-test", task 1 with PyTorch; R8 of docs/systems.md), in which
energy and time are two channels of one input. Its layers are in a picture that was not kept, so
these are our choice: convolutions 3x3 with batch normalisation, ReLU and maximum pooling 2x2, a
linear layer with ReLU and dropout. The code is our own.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING

from torch import nn

from hepbench_models.image_layout import channels_last

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor


class Branch(nn.Module):
    """(N, channels, height, width) images to (N, hidden).

    Args:
        shape: of one image: (channels, height, width); any size, since the last window of a pooling
            may be cut off by the edge.
        widths: channels after each convolution.
        kernel: side of the convolutions, odd.
        pool: side and stride of the pooling after each convolution.
        hidden: units of the linear layer.
        dropout: fraction of these units.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        widths: Sequence[int],
        kernel: int,
        pool: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        channels, *size = shape
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(n, m, kernel, padding=kernel // 2),
                    nn.BatchNorm2d(m),
                    nn.ReLU(),
                    nn.MaxPool2d(pool, ceil_mode=True),
                )
                for n, m in pairwise([channels, *widths])
            )
        )
        # each pooling divides a side and rounds up
        pixels = prod(-(-side // pool ** len(widths)) for side in size)
        self.linear = nn.Sequential(
            nn.Linear(widths[-1] * pixels, hidden), nn.ReLU(), nn.Dropout(dropout)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the units of the linear layer."""
        return self.linear(self.layers(channels_last(image)).flatten(1))


class CNN(nn.Module):
    """An encoder of ``image``: (N, channels, height, width) to (N, hidden).

    Args:
        shapes: of one example; ``image`` is (channels, height, width), of any size.
        widths: channels after each convolution.
        hidden: units of the linear layer.
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
        self.branch = Branch(
            shapes["image"], widths=widths, kernel=3, pool=2, hidden=hidden, dropout=dropout
        )

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the units of the linear layer."""
        return self.branch(inputs["image"])
