"""Convolutional variational autoencoder of images.

After a write-up ("End-to-End event classification with sparse autoencoders", specific task 2c; R2
of docs/systems.md); Kingma and Welling, arXiv:1312.6114; the rising weight of the KL divergence as
in Bowman et al. (2016), arXiv:1511.06349. The preset ``paper`` is the write-up's: 8 -> 16 -> 32 ->
64 -> 128 channels, 256 units, 128 latents, sigmoid. The code is our own.

Where the write-up says nothing: the weight of the KL divergence rises evenly from 0 to 1 over the
first fifth of the training; zero padding is not part of the reconstruction error. For the layers
see ``convolutions``.
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
"""Bound of the log-variance on both sides: without it, exp() may overflow during the warm-up."""


class ConvVAE(nn.Module):
    """An encoder of ``image``: (N, channels, height, width) to (N, latent_dim).

    Args:
        shapes: of one example; ``image`` is (channels, height, width), of any size.
        widths: channels after each halving.
        hidden: units between the convolutions and the latents.
        latent_dim: number of latents.
        slope: of the LeakyReLU, below zero.
        dropout: fraction of the hidden units.
        output: last activation of the decoder: sigmoid, tanh or linear.
        beta: final weight of the KL divergence.
        kl_warmup: fraction of the training during which that weight rises from 0.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        widths: Sequence[int],
        hidden: int,
        latent_dim: int,
        slope: float,
        dropout: float,
        output: str,
        beta: float,
        kl_warmup: float,
    ) -> None:
        super().__init__()
        shape = shapes["image"]
        self.down = Down(shape, widths=widths, hidden=hidden, slope=slope, dropout=dropout)
        self.mean = nn.Linear(hidden, latent_dim)
        self.log_variance = nn.Linear(hidden, latent_dim)
        self.up = Up(
            shape, widths=widths, hidden=hidden, slope=slope, latent_dim=latent_dim, output=output
        )
        self.beta, self.kl_warmup = beta, kl_warmup
        draw(self.mean, slope)
        draw(self.log_variance, slope)

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the means of the latents."""
        return self.mean(self.down(inputs["image"]))

    def head(self, classes: int) -> nn.Module:
        """Return the write-up's classifier."""
        return head(self.mean.out_features, classes)

    def reconstruct(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the images decoded from the means of the latents."""
        return self.decode(self.encode(inputs))

    def decode(self, latents: Tensor) -> dict[str, Tensor]:
        """Return the images decoded from latents."""
        return {"image": self.up(latents)}

    def posterior(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return means and log-variances of the latents."""
        hidden = self.down(inputs["image"])
        return self.mean(hidden), self.log_variance(hidden).clamp(-LIMIT, LIMIT)

    def pretraining_terms(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the squared error summed over the image, and the KL divergence from N(0, 1).

        Latents are drawn in training; in eval mode they are the means.
        """
        image = inputs["image"]
        mean, log_variance = self.posterior(inputs)
        latents = mean
        if self.training:
            latents = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
        return {"reconstruction": squared_error(self.up(latents), image), "kl": divergence}

    def term_weights(self, progress: float) -> dict[str, float]:
        """Return the weight of the KL divergence: it rises from 0 to beta."""
        done = progress / self.kl_warmup if self.kl_warmup else 1.0
        return {"kl": self.beta * min(done, 1.0)}
