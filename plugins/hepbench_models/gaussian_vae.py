"""Convolutional variational autoencoder of images with a Gaussian decoder.

After a write-up ("Variational Autoencoder for Jet Image Data", R5 of docs/systems.md): ``conv_vae``
without a layer between the convolutions and the latents, and with the likelihood of a normal
distribution as reconstruction loss. The preset ``paper`` is the write-up's: 3 -> 32 -> 64 -> 128 ->
256 channels, LeakyReLU .2, linear layers between 16384 features and the latents, tanh. The code is
our own.

Where the write-up says nothing: all pixels have one standard deviation, learned, or fixed at its first
value; 128 latents; weights are drawn and the weight of the KL divergence rises as in ``conv_vae``.
"""

from __future__ import annotations

from math import log, pi, prod
from typing import TYPE_CHECKING

import torch
from torch import nn

from hepbench_models.conv_vae import ConvVAE
from hepbench_models.convolutions import draw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor


class GaussianVAE(ConvVAE):
    """An encoder of ``image``: (N, channels, height, width) to (N, latent_dim).

    Args:
        shapes: of one example; ``image`` is (channels, height, width), of any size.
        widths, latent_dim, slope, output, beta, kl_warmup: as those of ``ConvVAE``.
        deviation: standard deviation of a pixel around its reconstruction, at the start.
        learned: whether the standard deviation is a parameter.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        widths: Sequence[int],
        latent_dim: int,
        slope: float,
        output: str,
        beta: float,
        kl_warmup: float,
        deviation: float,
        learned: bool,
    ) -> None:
        super().__init__(
            shapes,
            widths=widths,
            hidden=1,
            latent_dim=latent_dim,
            slope=slope,
            dropout=0.0,
            output=output,
            beta=beta,
            kl_warmup=kl_warmup,
        )
        self._remove_hidden_layers(latent_dim, slope)
        self.values = prod(shapes["image"])
        start = torch.tensor(log(deviation))
        if learned:
            self.log_deviation = nn.Parameter(start)
        else:
            self.register_buffer("log_deviation", start)

    def _remove_hidden_layers(self, latent_dim: int, slope: float) -> None:
        """Connect the features of the last convolution and the latents directly."""
        features = self.down.linear.in_features
        self.down.linear = nn.Identity()
        self.mean = nn.Linear(features, latent_dim)
        self.log_variance = nn.Linear(features, latent_dim)
        self.up.linear = nn.Linear(latent_dim, features)
        for layer in (self.mean, self.log_variance, self.up.linear):
            draw(layer, slope)

    def pretraining_terms(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the terms of ``ConvVAE``, and the Gaussian loss of the image.

        The Gaussian loss is the negative log-likelihood of all pixels. It has the place of the
        squared error, which has no weight.
        """
        terms = super().pretraining_terms(inputs)
        squares = terms["reconstruction"] * (-2 * self.log_deviation).exp()
        constant = self.values * (self.log_deviation + log(2 * pi) / 2)
        return {**terms, "gaussian": squares / 2 + constant}

    def term_weights(self, progress: float) -> dict[str, float]:
        """Return the weight of the KL divergence, which rises from 0 to beta, and 0."""
        return {**super().term_weights(progress), "reconstruction": 0.0}
