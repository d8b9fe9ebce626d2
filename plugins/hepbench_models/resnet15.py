"""ResNet-15 of images: a residual network of thirteen 3x3 convolutions, for small images.

After a write-up ("End-to-End event classification with sparse autoencoders", common task 1; R1 of
docs/systems.md); He, Zhang, Ren and Sun (2016), arXiv:1512.03385. One convolution 3x3 of stride 1
without pooling, three stages of two basic blocks with 1, 2 and 4 times the width, the second and
third stage of stride 2, batch normalisation after each convolution, the mean over pixels. The code
is our own. The name counts the convolutions of the stages' shortcuts too.

Where the write-up says nothing: a shortcut that changes the shape is a convolution 1x1 with batch
normalisation; convolutions are Kaiming-normal by their output, without biases.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn

from hepbench_models.image_layout import channels_last

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


class Block(nn.Module):
    """Two convolutions 3x3, added to the input or to its projection.

    Args:
        channels: of the input.
        width: channels of the output.
        stride: of the first convolution, and of the projection.
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(channels, width, 3, stride)
        self.second = _convolution(width, width, 3, 1)
        changes = stride > 1 or channels != width
        self.shortcut = _convolution(channels, width, 1, stride) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, width, rows, columns), with rows and columns divided by the stride."""
        return (self.second(self.first(x).relu()) + self.shortcut(x)).relu()


class ResNet15(nn.Module):
    """An encoder of ``image``: (N, channels, height, width) to (N, 4 width).

    Args:
        shapes: of one example; ``image`` is (channels, height, width), of any size.
        width: channels of the first convolution and stage.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], *, width: int) -> None:
        super().__init__()
        channels = shapes["image"][0]
        self.first = _convolution(channels, width, 3, 1)
        widths = [width, width, 2 * width, 4 * width]
        blocks = [
            block
            for stride, (n, m) in zip((1, 2, 2), pairwise(widths), strict=True)
            for block in (Block(n, m, stride), Block(m, m, 1))
        ]
        self.blocks = nn.Sequential(*blocks)

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the means of the last channels over the image."""
        image = channels_last(inputs["image"])
        return self.blocks(self.first(image).relu()).mean((2, 3))


def _convolution(n: int, m: int, kernel: int, stride: int) -> nn.Module:
    """Return a convolution of n to m channels with batch normalisation."""
    convolution = nn.Conv2d(n, m, kernel, stride=stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(m))
