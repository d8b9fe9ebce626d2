"""The network that methods are tried on: a tiny autoencoder, with all that makes one delicate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hepbench.registry.plugins import Entry, Plugin
from hepbench.specs.model import Model

if TYPE_CHECKING:
    from collections.abc import Mapping


class Tiny(nn.Module):
    """Encodes all its inputs, flattened, and decodes them; batch norm, dropout, a sampled code.

    Args:
        shapes: of one example.
        width: of the hidden layer.
        code: width of a code.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], *, width: int = 12, code: int = 6
    ) -> None:
        super().__init__()
        self.shapes = {name: shape for name, shape in shapes.items() if name != "mask"}
        n = sum(map(math.prod, self.shapes.values()))
        self.blocks = nn.Sequential(
            nn.Linear(n, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.1)
        )
        self.mean, self.spread = nn.Linear(width, code), nn.Linear(width, code)
        self.decoder = nn.Sequential(nn.Linear(code, width), nn.ReLU(), nn.Linear(width, n))

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the mean of the code."""
        code: Tensor = self.mean(self.blocks(self._flat(inputs)))
        return code

    def pretraining_terms(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return squared errors of the decoded inputs, and how far codes are from a Gaussian."""
        x = self._flat(inputs)
        hidden = self.blocks(x)
        mean, spread = self.mean(hidden), self.spread(hidden)
        code = mean + torch.randn_like(mean) * spread.exp() if self.training else mean
        squares = (self.decoder(code) - x).square().mean(1)
        kl = (mean.square() + (2 * spread).exp() - 1 - 2 * spread).sum(1) / 2
        return {"reconstruction": squares, "kl": kl}

    def term_weights(self, progress: float) -> dict[str, float]:
        """Return weights that grow with the training."""
        return {"kl": 0.1 * progress}

    def reconstruct(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the inputs that codes stand for."""
        flat = self.decoder(self.encode(inputs))
        parts = flat.split([math.prod(shape) for shape in self.shapes.values()], 1)
        shaped = zip(self.shapes.items(), parts, strict=True)
        return {name: part.unflatten(1, shape) for (name, shape), part in shaped}

    def _flat(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([inputs[name].flatten(1) for name in self.shapes], 1)


TINY = Entry(
    Model(
        name="tiny",
        summary="a small variational autoencoder",
        inputs=("table",),
        build="hepbench.conformance.tiny:Tiny",
        offers=frozenset({"encode", "pretrain", "reconstruct"}),
        preprocess=("standardise",),
    ),
    Plugin("testing", "hepbench.conformance.tiny", "hepbench", ""),
)
