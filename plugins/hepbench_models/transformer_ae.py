"""Transformer autoencoder whose tokens are the features of a table.

After a write-up ("Event Classification With Masked Transformer Autoencoders", R6 of
docs/systems.md): three encoder and three decoder layers of torch's TransformerEncoderLayer form
(normalisation after each residual, ReLU), d_model 21, 3 heads, feed-forward 2048, dropout .1, a
bottleneck of 64. The features become tokens as in Gorishniy et al. (2021), arXiv:2106.11959. The
code is our own.

Departures: the write-up hands (N, 21) to layers that take a sequence first, so that it attends
across the N examples of a batch; here attention runs over the features of one example. An example
is 21 tokens then, and the bottleneck takes all of them (21 x width to 64; there 21 to 64). The
decoder sees the latents alone: the write-up's cross-attention to the encoder's output would bypass
the bottleneck. Its title names masks but its numbers come without: ``masked_fraction`` is 0, or the
fraction of the features that pretraining hides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping


class Attention(nn.Module):
    """Self-attention among the tokens of each example: (N, tokens, width) to the same.

    Plain matrix products, so that every counter and exporter sees it.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            msg = f"transformer-ae: width {width} is no multiple of heads {heads}"
            raise ValueError(msg)
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return a weighted mean of the tokens' values for each token."""
        # (3, N, heads, tokens, width / heads)
        parts = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = parts.unbind()
        weights = (q * q.shape[-1] ** -0.5 @ k.transpose(2, 3)).softmax(3)
        return self.out((self.dropout(weights) @ v).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Attention, then a feed-forward net; each is added to its input, and normalised."""

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads, dropout)
        self.widen, self.narrow = nn.Linear(width, feed_forward), nn.Linear(feed_forward, width)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, tokens, width)."""
        x = self.norms[0](x + self.dropout(self.attention(x)))
        hidden = self.dropout(functional.relu(self.widen(x)))
        return self.norms[1](x + self.dropout(self.narrow(hidden)))


class TransformerAutoencoder(nn.Module):
    """An encoder of ``table``: (N, features) to (N, latent_dim).

    Args:
        shapes: of one example; ``table`` is (features,).
        width: of a token (d_model).
        heads: of each attention; they divide the width.
        layers: of the encoder, and of the decoder.
        feed_forward: hidden units of a layer.
        dropout: in attention, after it and twice in the feed-forward net.
        latent_dim: number of latents, the width of the bottleneck.
        masked_fraction: fraction of the features that pretraining hides and predicts.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        width: int,
        heads: int,
        layers: int,
        feed_forward: int,
        dropout: float,
        latent_dim: int,
        masked_fraction: float,
    ) -> None:
        super().__init__()
        (n,) = shapes["table"]
        sizes = (width, heads, feed_forward, dropout)
        self.weight = nn.Parameter(nn.init.normal_(torch.empty(n, width)))
        self.bias = nn.Parameter(nn.init.normal_(torch.empty(n, width)))
        self.encoder = nn.Sequential(*(Layer(*sizes) for _ in range(layers)))
        self.bottleneck = nn.Linear(n * width, latent_dim)
        self.expand = nn.Linear(latent_dim, n * width)
        self.decoder = nn.Sequential(*(Layer(*sizes) for _ in range(layers)))
        self.value = nn.Linear(width, 1)
        self.hidden = round(masked_fraction * n)
        if masked_fraction:
            self.hidden = min(max(self.hidden, 1), n - 1)
            self.masked = nn.Parameter(torch.zeros(width))
            self.register_buffer("groups", _groups(n, self.hidden))

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the latents of all features, none hidden."""
        return self._latents(self._tokens(inputs["table"]))

    def reconstruct(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tables decoded from their own latents."""
        return {"table": self._decode(self.encode(inputs))}

    def pretraining_terms(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return mean squared errors of the visible and of the hidden features.

        Hidden features are drawn again for each batch in training; in eval mode each feature is
        hidden once, in fixed passes.
        """
        x = inputs["table"]
        if not self.hidden:
            error = self._decode(self._latents(self._tokens(x))) - x
            return {"reconstruction": error.square().mean(1)}
        if self.training:
            hides = torch.rand_like(x).argsort(1) < self.hidden
            return self._errors(x, hides)
        passes = [self._errors(x, group.expand_as(x)) for group in self.groups]
        return {name: torch.stack([p[name] for p in passes]).mean(0) for name in passes[0]}

    def _tokens(self, x: Tensor) -> Tensor:
        return x[..., None] * self.weight + self.bias

    def _latents(self, tokens: Tensor) -> Tensor:
        return self.bottleneck(self.encoder(tokens).flatten(1))

    def _decode(self, latents: Tensor) -> Tensor:
        # with the bias the decoder knows again which feature a token stands for
        tokens = self.expand(latents).unflatten(1, self.bias.shape) + self.bias
        return self.value(self.decoder(tokens))[..., 0]

    def _errors(self, x: Tensor, hides: Tensor) -> dict[str, Tensor]:
        tokens = torch.where(hides[..., None], self.masked + self.bias, self._tokens(x))
        error = (self._decode(self._latents(tokens)) - x).square()
        seen = (error * ~hides).sum(1) / (~hides).sum(1)
        return {"reconstruction": seen, "masked": (error * hides).sum(1) / hides.sum(1)}


def _groups(n: int, hidden: int) -> Tensor:
    """Return (passes, n) bool that hide each of n features once, about ``hidden`` a pass."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    passes = max(round(n / hidden), 2)
    return order % passes == torch.arange(passes)[:, None]
