"""Particle Transformer: attention among particles, biased by features of each pair.

Qu, Li and Qian (2022), arXiv:2202.03772. The code is our own, tested against the authors'
implementation in weaver-core (benchmarks/weaver_core.py). The preset ``paper`` has the sizes of "ParT", 2.1
million parameters; the default is smaller, for two processor cores.

A particle's features are embedded, those of a pair (``particle_pairs``) become a number for each head that
is added to its attention. In the last blocks a class token alone asks, and all particles answer. Blocks
are normalised before and after attention and inside the feed-forward net, with learned factors for
the heads and for the residual (NormFormer, Shleifer et al., arXiv:2110.09456), as in the authors' code.

Departure: statistics of the batch normalisation of features are those of real particles (there with
padding).
"""

from __future__ import annotations

from itertools import pairwise
from math import sqrt
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from torch.nn import functional

from hepbench_models import particle_pairs
from hepbench_models.particles import ParticleNorm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

EXCLUDED = -1e9
"""The logit of padding; exp of it is 0 beside any real particle, and a cloud of padding is finite."""


class ParticleTransformer(nn.Module):
    """An encoder of ``cloud``, ``momenta`` and ``mask``: to (N, width).

    Args:
        shapes: of one example; ``cloud`` is (particles, features), ``momenta`` (particles, 4).
        width: of a token.
        embedding: units of the layers between a particle's features and its token.
        pair_widths: units of the layers between a pair's features and its heads.
        heads: of each attention; they divide the width.
        layers: number of blocks of particles.
        class_layers: number of blocks of the class token.
        mlp_ratio: hidden units of a block as a multiple of the width.
        dropout: in the blocks of particles: of attention, hidden units and results.
    """

    symmetries: ClassVar[tuple[str, ...]] = ("boosts-along-beam",)

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        width: int,
        embedding: Sequence[int],
        pair_widths: Sequence[int],
        heads: int,
        layers: int,
        class_layers: int,
        mlp_ratio: float,
        dropout: float,
    ) -> None:
        super().__init__()
        hidden = round(mlp_ratio * width)
        self.features = ParticleNorm(shapes["cloud"][1])
        self.embed = nn.Sequential(
            *(
                nn.Sequential(nn.LayerNorm(n), nn.Linear(n, m), nn.GELU())
                for n, m in pairwise([shapes["cloud"][1], *embedding, width])
            )
        )
        self.pairs = PairEmbedding([*pair_widths, heads])
        self.blocks = nn.ModuleList(
            Block(Attention(width, heads, dropout), width, hidden, dropout) for _ in range(layers)
        )
        self.token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, width), std=0.02))
        self.class_blocks = nn.ModuleList(
            Block(ClassAttention(width, heads), width, hidden, 0.0) for _ in range(class_layers)
        )
        self.norm = nn.LayerNorm(width)
        self._draw()

    def _draw(self) -> None:
        """Draw the weights as the authors do."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, (Attention, ClassAttention)):
                module.draw()
        for depth, block in enumerate(self.blocks, 1):
            for layer in (block.attention.out, block.narrow):
                layer.weight.data /= sqrt(2 * depth)
        self.pairs.draw()

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the class token, normalised."""
        mask = inputs["mask"]
        x = self.embed(self.features(inputs["cloud"], mask)) * mask[..., None].to(
            inputs["cloud"].dtype
        )
        absent = EXCLUDED * (~mask)[:, None, None].to(x.dtype)
        bias = self.pairs(inputs["momenta"], mask) + absent
        for block in self.blocks:
            x = block(x, x, bias)
        token = torch.zeros_like(x[:, :1]) + self.token
        # the token is before the particles, and sees itself
        seen = functional.pad(absent, (1, 0))
        for block in self.class_blocks:
            token = block(token, torch.cat([token, x], 1), seen)
        return self.norm(token[:, 0])


class PairEmbedding(nn.Module):
    """Features of each pair of particles to a number for each head."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        sizes = [particle_pairs.FEATURES, *widths]
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in pairwise(sizes))
        self.norms = nn.ModuleList(ParticleNorm(n) for n in sizes)

    def draw(self) -> None:
        """Draw the weights as torch does, which the authors' convolutions keep."""
        for layer in self.layers:
            layer.reset_parameters()

    def forward(self, momenta: Tensor, mask: Tensor) -> Tensor:
        """Return (N, heads, particles, particles)."""
        first, second = particle_pairs.pairs(momenta)
        real = mask.index_select(1, first) & mask.index_select(1, second)
        x = self.norms[0](particle_pairs.features(momenta, first, second), real)
        for layer, norm in zip(self.layers, self.norms[1:], strict=True):
            x = functional.gelu(norm(layer(x), real))
        return particle_pairs.as_matrix(x, mask.shape[1]).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Attention, then a feed-forward net; the result of each is added to what it started from."""

    def __init__(self, attention: nn.Module, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention = attention
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.before_widening, self.after_widening = nn.LayerNorm(width), nn.LayerNorm(hidden)
        self.widen, self.narrow = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.kept = nn.Parameter(torch.ones(width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, asking: Tensor, answering: Tensor, bias: Tensor) -> Tensor:
        """Return (N, tokens, width), like ``asking``.

        Args:
            asking, answering: (N, tokens, width); the same for attention among particles.
            bias: added to the logits of attention.
        """
        found = self.attention(asking, self.before(answering), bias)
        x = asking + self.dropout(self.after(found))
        hidden = self.dropout(functional.gelu(self.widen(self.before_widening(x))))
        return self.kept * x + self.dropout(self.narrow(self.after_widening(hidden)))


class Attention(nn.Module):
    """Attention among particles: (N, particles, width) to the same."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.factors = nn.Parameter(torch.ones(heads))
        self.dropout = nn.Dropout(dropout)

    def draw(self) -> None:
        """Draw queries, keys and values like three layers."""
        _draw_like(self.qkv, *self.out.weight.shape)

    def forward(self, _asking: Tensor, normalised: Tensor, bias: Tensor) -> Tensor:
        """Return a weighted mean of all values for each particle."""
        parts = self.qkv(normalised).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = parts.unbind()
        return _scaled(self.out(attend(q, k, v, bias, self.dropout)), self.factors)


class ClassAttention(nn.Module):
    """Attention of one token to itself and the particles, after Touvron et al., arXiv:2103.17239.

    As in the authors' code, the query is made from the token before normalisation.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.factors = nn.Parameter(torch.ones(heads))

    def draw(self) -> None:
        """Draw queries, keys and values like three layers."""
        _draw_like(self.query, *self.out.weight.shape)
        _draw_like(self.key_value, *self.out.weight.shape)

    def forward(self, token: Tensor, normalised: Tensor, bias: Tensor) -> Tensor:
        """Return a weighted mean of all values for the token."""
        q = self.query(token).unflatten(2, (self.heads, -1)).transpose(1, 2)
        k, v = self.key_value(normalised).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return _scaled(self.out(attend(q, k, v, bias)), self.factors)


def attend(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, dropout: nn.Module | None = None
) -> Tensor:
    """Return weighted means of values, heads side by side: (N, queries, heads x features).

    Plain matrix products, so that every counter and exporter sees them.
    """
    weights = ((q * q.shape[-1] ** -0.5) @ k.transpose(2, 3) + bias).softmax(3)
    return ((dropout(weights) if dropout else weights) @ v).transpose(1, 2).flatten(2)


def _scaled(x: Tensor, factors: Tensor) -> Tensor:
    """Multiply each of as many parts of the last axis as there are factors."""
    return (x.unflatten(-1, (factors.shape[0], -1)) * factors[:, None]).flatten(-2)


def _draw_like(layer: nn.Linear, n: int, m: int) -> None:
    """Draw weights as Xavier and Bengio do for a layer of n inputs and m outputs."""
    bound = sqrt(6 / (n + m))
    nn.init.uniform_(layer.weight, -bound, bound)
