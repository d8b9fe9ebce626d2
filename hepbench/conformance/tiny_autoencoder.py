"""A tiny variational autoencoder, with which methods are tested.

It has batch norm, dropout and random latents, which a method may handle wrongly.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hepbench.registry.plugins import Entry, Plugin
from hepbench.specs.model import Model

if TYPE_CHECKING:
    from collections.abc import Mapping


class TinyAutoencoder(nn.Module):
    """A tiny variational autoencoder to test methods with; inputs are flattened.

    Args:
        shapes: shape of each input of one example.
        width: width of the hidden layer.
        latent_dim: number of latents.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], *, width: int = 12, latent_dim: int = 6
    ) -> None:
        super().__init__()
        self.shapes = {name: shape for name, shape in shapes.items() if name != "mask"}
        n = sum(map(math.prod, self.shapes.values()))
        self.blocks = nn.Sequential(
            nn.Linear(n, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.1)
        )
        self.mean, self.log_std = nn.Linear(width, latent_dim), nn.Linear(width, latent_dim)
        self.decoder = nn.Sequential(nn.Linear(latent_dim, width), nn.ReLU(), nn.Linear(width, n))

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the latents (posterior means) of the tiny autoencoder for tests."""
        latent: Tensor = self.mean(self.blocks(self._flattened(inputs)))
        return latent

    def pretraining_terms(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tiny autoencoder's loss terms: reconstruction error and KL divergence."""
        x = self._flattened(inputs)
        hidden = self.blocks(x)
        mean, log_std = self.mean(hidden), self.log_std(hidden)
        latent = mean + torch.randn_like(mean) * log_std.exp() if self.training else mean
        squares = (self.decoder(latent) - x).square().mean(1)
        kl = (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).sum(1) / 2
        return {"reconstruction": squares, "kl": kl}

    def term_weights(self, progress: float) -> dict[str, float]:
        """Return the weight of the tiny autoencoder's KL term, which grows during training."""
        return {"kl": 0.1 * progress}

    def reconstruct(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the inputs as the tiny autoencoder reconstructs them."""
        flat = self.decoder(self.encode(inputs))
        parts = flat.split([math.prod(shape) for shape in self.shapes.values()], 1)
        shaped = zip(self.shapes.items(), parts, strict=True)
        return {name: part.unflatten(1, shape) for (name, shape), part in shaped}

    def _flattened(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([inputs[name].flatten(1) for name in self.shapes], 1)


TINY_AUTOENCODER = Entry(
    Model(
        name="tiny",
        summary="a small variational autoencoder",
        inputs=("table",),
        build="hepbench.conformance.tiny_autoencoder:TinyAutoencoder",
        offers=frozenset({"encode", "pretrain", "reconstruct"}),
        preprocess=("standardise",),
    ),
    Plugin("testing", "hepbench.conformance.tiny_autoencoder", "hepbench", ""),
)
