"""Convolutional variational autoencoder of images.

After a write-up ("End-to-End event classification with sparse autoencoders", specific task 2c; R2 of
REFERENCE.md); Kingma and Welling, arXiv:1312.6114; the annealed weight of the KL divergence as in
Bowman et al. (2016), arXiv:1511.06349. The preset ``paper`` is the write-up's: 8 -> 16 -> 32 -> 64
-> 128 channels, 256 units, a code of 128, sigmoid. The code is our own.

Where the write-up is silent: the weight of the KL divergence rises evenly from 0 to 1 over the first
fifth of the training; zero padding is not part of the reconstruction that is compared. What the
layers are silent of: ``convolutions``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from hepbench_models.convolutions import Down, Up, draw, head, squared_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor


LIMIT = 20.0
"""Of the log-variance, on both sides: while its divergence weighs nothing it may grow, and its
exponential overflow."""


class ConvVAE(nn.Module):
    """An encoder of ``image``: (N, channels, height, width) to (N, code).

    Args:
        shapes: of one example; ``image`` is (channels, height, width), of any size.
        widths: channels after each halving.
        hidden: units between the convolutions and the code.
        code: width of mean and log-variance.
        slope: of the LeakyReLU, below zero.
        dropout: share of the hidden units.
        output: what a decoded image ends with: sigmoid, tanh or linear.
        beta: final weight of the KL divergence.
        annealed: share of the training during which that weight rises from 0.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        widths: Sequence[int],
        hidden: int,
        code: int,
        slope: float,
        dropout: float,
        output: str,
        beta: float,
        annealed: float,
    ) -> None:
        super().__init__()
        shape = shapes["image"]
        self.down = Down(shape, widths=widths, hidden=hidden, slope=slope, dropout=dropout)
        self.mean, self.log_variance = nn.Linear(hidden, code), nn.Linear(hidden, code)
        self.up = Up(shape, widths=widths, hidden=hidden, slope=slope, code=code, output=output)
        self.beta, self.annealed = beta, annealed
        draw(self.mean, slope)
        draw(self.log_variance, slope)

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the mean of each code."""
        return self.mean(self.down(inputs["image"]))

    def head(self, classes: int) -> nn.Module:
        """Return the write-up's classifier."""
        return head(self.mean.out_features, classes)

    def reconstruct(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the image that the mean code stands for."""
        return self.decode(self.encode(inputs))

    def decode(self, codes: Tensor) -> dict[str, Tensor]:
        """Return the images that codes stand for."""
        return {"image": self.up(codes)}

    def posterior(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of each code."""
        hidden = self.down(inputs["image"])
        return self.mean(hidden), self.log_variance(hidden).clamp(-LIMIT, LIMIT)

    def pretraining_terms(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the squared error summed over the image, and the KL divergence from N(0, 1).

        A code is drawn in training; in eval mode it is the mean.
        """
        image = inputs["image"]
        mean, log_variance = self.posterior(inputs)
        code = mean
        if self.training:
            code = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
        return {"reconstruction": squared_error(self.up(code), image), "kl": divergence}

    def term_weights(self, progress: float) -> dict[str, float]:
        """Return the weight of the KL divergence: it rises from 0 to beta."""
        done = progress / self.annealed if self.annealed else 1.0
        return {"kl": self.beta * min(done, 1.0)}
