"""Encoder and decoder of convolutional autoencoders: layers that halve an image, and their mirror.

After the write-up in R2 of docs/systems.md: convolutions 3x3 of stride 2 with batch normalisation
and LeakyReLU, a linear layer with dropout; Kaiming-normal convolutions, Xavier-normal linear
layers, biases 0. The mirror has transposed convolutions 3x3 of stride 2. The code is our own.

Where the write-up says nothing: no activation between the linear layers, as its list names none;
only the decoder's last layer has no normalisation; zero padding is spread on both sides.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional

from hepbench_models.image_layout import channels_last

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

OUTPUTS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "linear": nn.Identity}


class Down(nn.Module):
    """(N, channels, height, width) images to (N, hidden).

    Args:
        shape: of one image: (channels, height, width); any size, padded with zeros to the next
            multiple of 2 to the number of layers.
        widths: channels after each convolution.
        hidden: units of the linear layer after them.
        slope: of the LeakyReLU, below zero.
        dropout: fraction of these units.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        widths: Sequence[int],
        hidden: int,
        slope: float,
        dropout: float,
    ) -> None:
        super().__init__()
        channels, *size = shape
        self.grid, self.padding = layout(size, len(widths))
        layers = [_halve(i, o, slope) for i, o in pairwise([channels, *widths])]
        self.layers = nn.Sequential(*layers)
        self.linear = nn.Linear(widths[-1] * prod(self.grid), hidden)
        self.dropout = nn.Dropout(dropout)
        draw(self, slope)

    def forward(self, image: Tensor) -> Tensor:
        """Return the units of the linear layer."""
        if any(self.padding):
            image = functional.pad(image, self.padding)
        return self.dropout(self.linear(self.layers(channels_last(image)).flatten(1)))


class Up(nn.Module):
    """(N, latent_dim) to (N, channels, height, width) images: the layers of ``Down`` in reverse.

    Args:
        shape, widths, hidden, slope: as those of ``Down``.
        latent_dim: number of latents.
        output: last activation: sigmoid, tanh or linear.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        widths: Sequence[int],
        hidden: int,
        slope: float,
        latent_dim: int,
        output: str,
    ) -> None:
        super().__init__()
        channels, *self.size = shape
        self.grid, self.padding = layout(self.size, len(widths))
        self.linear = nn.Sequential(
            nn.Linear(latent_dim, hidden), nn.Linear(hidden, widths[-1] * prod(self.grid))
        )
        layers = [_double(i, o, slope) for i, o in pairwise(widths[::-1])]
        self.layers = nn.Sequential(*layers, _transposed(widths[0], channels), OUTPUTS[output]())
        draw(self, slope)

    def forward(self, latents: Tensor) -> Tensor:
        """Return images of the encoded size, without the padding."""
        hidden = self.linear(latents).unflatten(1, (-1, *self.grid))
        image: Tensor = self.layers(channels_last(hidden))
        left, _, top, _ = self.padding
        height, width = self.size
        return image[:, :, top : top + height, left : left + width]


def layout(size: Sequence[int], layers: int) -> tuple[list[int], list[int]]:
    """Return the size of an image after ``layers`` halvings, and the padding that this needs.

    The padding is (left, right, top, bottom), as torch takes it.
    """
    step = 2**layers
    grid = [-(-n // step) for n in size]
    extra = [step * m - n for m, n in zip(grid, size, strict=True)]
    return grid, [part for n in reversed(extra) for part in (n // 2, n - n // 2)]


def draw(module: nn.Module, slope: float) -> None:
    """Draw weights: Kaiming-normal for convolutions, Xavier-normal for linear layers; biases 0."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight, a=slope)
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
        else:
            continue
        nn.init.zeros_(layer.bias)


def head(width: int, classes: int) -> nn.Module:
    """Return the head of R2: (N, width) latents to (N, classes) logits."""
    return nn.Sequential(
        nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.5), nn.Linear(width, classes)
    )


def squared_error(made: Tensor, image: Tensor) -> Tensor:
    """Return (N,) sums of squared differences over channels and pixels."""
    return (made - image).square().flatten(1).sum(1)


def _halve(n: int, m: int, slope: float) -> nn.Module:
    convolution = nn.Conv2d(n, m, 3, stride=2, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(m), nn.LeakyReLU(slope))


def _double(n: int, m: int, slope: float) -> nn.Module:
    return nn.Sequential(_transposed(n, m), nn.BatchNorm2d(m), nn.LeakyReLU(slope))


def _transposed(n: int, m: int) -> nn.Module:
    return nn.ConvTranspose2d(n, m, 3, stride=2, padding=1, output_padding=1)
