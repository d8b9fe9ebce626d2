"""ParticleNet: edge convolutions of particles, whose neighbours are found anew in each block.

Qu and Gouskos, Phys. Rev. D 101, 056019 (2020), arXiv:1902.08570. The code is our own, tested against
the authors' implementation in weaver-core (benchmarks/weaver_core.py). The preset ``paper`` has the sizes
of "ParticleNet" in the paper (three blocks of three layers: 64, 128, 256 channels, then 256 units), the
default those of "ParticleNet-Lite" (two blocks: 32, 64; then 128), with as many neighbours in each block
as the dataset's graph has: 16 and 7 there.

In the first block neighbours are those of the dataset, the nearest in eta and phi; in later blocks the
nearest in the features of the block before. The first layer of a block is linear in a particle and in the
difference to its neighbour, so it is computed once for each particle and not for each edge: the same
function, with fewer operations than the authors' form.

Departures: padding is no neighbour (there it fills up jets with fewer than k + 1 particles), and
statistics of batch normalisation are those of real particles and edges (there with padding). With
enough particles, scores are the same.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn

from hepbench_models.particles import ParticleNorm, mean_of_real

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor


class ParticleNet(nn.Module):
    """An encoder of ``cloud``, ``mask`` and ``neighbours``: to (N, hidden).

    Args:
        shapes: of one example; ``cloud`` is (particles, features), ``neighbours`` (particles, k).
        widths: channels of each block.
        layers: of each block.
        hidden: units of the layer after the mean over particles.
        dropout: fraction of these units.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        widths: Sequence[int],
        layers: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.k = shapes["neighbours"][1]
        sizes = [shapes["cloud"][1], *widths]
        self.features = ParticleNorm(sizes[0])
        self.blocks = nn.ModuleList(EdgeConvolution(n, m, layers) for n, m in pairwise(sizes))
        self.jet = nn.Sequential(nn.Linear(sizes[-1], hidden), nn.ReLU(), nn.Dropout(dropout))

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the units of the last layer."""
        mask, near = inputs["mask"], inputs["neighbours"]
        real = mask[..., None].to(inputs["cloud"].dtype)
        x = self.features(inputs["cloud"], mask) * real
        own = torch.arange(mask.shape[1], device=mask.device)[:, None]
        # a particle's own index stands for none
        edges = (near != own) & mask[..., None]
        for i, block in enumerate(self.blocks):
            if i:
                near, edges = nearest(x, mask, self.k)
            x = block(x, mask, near, edges) * real
        return self.jet(mean_of_real(x, mask, 1))


class EdgeConvolution(nn.Module):
    """The mean over neighbours of a perceptron of (particle, neighbour - particle), plus a shortcut.

    Args:
        n: features of a particle.
        width: channels of each layer.
        layers: of the perceptron.
    """

    def __init__(self, n: int, width: int, layers: int) -> None:
        super().__init__()
        self.own, self.other = _first_layer(n, width)
        self.layers = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(layers - 1))
        self.norms = nn.ModuleList(ParticleNorm(width) for _ in range(layers))
        self.shortcut = nn.Linear(n, width, bias=False) if n != width else None
        self.shortcut_norm = ParticleNorm(width) if n != width else None

    def forward(self, x: Tensor, mask: Tensor, near: Tensor, edges: Tensor) -> Tensor:
        """Return (N, particles, width).

        Args:
            x: (N, particles, n).
            mask: (N, particles), True for a real particle.
            near: (N, particles, k), indices of neighbours.
            edges: (N, particles, k), True where there is such a neighbour.
        """
        edge = self.own(x)[:, :, None] + _at(self.other(x), near)
        edge = self.norms[0](edge, edges).relu()
        for layer, norm in zip(self.layers, self.norms[1:], strict=True):
            edge = norm(layer(edge), edges).relu()
        if self.shortcut is not None and self.shortcut_norm is not None:
            x = self.shortcut_norm(self.shortcut(x), mask)
        return (x + mean_of_real(edge, edges, 2)).relu()


def nearest(x: Tensor, mask: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k nearest other particles by their features, and which of them exist.

    Args:
        x: (N, particles, features).
        mask: (N, particles), True for a real particle.
        k: number of neighbours; fewer if a cloud has no room for as many.

    Returns:
        Indices (N, particles, k) and, for each, whether both are real particles.
    """
    particles = mask.shape[1]
    x = x.detach()
    lengths = x.square().sum(2)
    distances = lengths[:, :, None] + lengths[:, None] - 2 * (x @ x.transpose(1, 2))
    index = torch.arange(particles, device=x.device)
    apart = distances.masked_fill((index == index[:, None]) | ~mask[:, None], torch.inf)
    found, near = apart.topk(min(k, particles), dim=2, largest=False)
    return near, (found < torch.inf) & mask[..., None]


def _at(x: Tensor, near: Tensor) -> Tensor:
    """Return the features (N, P, k, C) of neighbours, from those of particles (N, P, C)."""
    clouds = torch.arange(near.shape[0], device=x.device)[:, None, None] * near.shape[1]
    return x.flatten(0, 1).index_select(0, (near + clouds).flatten()).view(*near.shape, -1)


def _first_layer(n: int, width: int) -> tuple[nn.Linear, nn.Linear]:
    """Return two layers, of a particle and of its neighbour.

    Together they are one layer of (particle, neighbour - particle), drawn as torch draws it.
    """
    both = nn.Linear(2 * n, width, bias=False).weight.detach()
    own, other = nn.Linear(n, width, bias=False), nn.Linear(n, width, bias=False)
    with torch.no_grad():
        own.weight.copy_(both[:, :n] - both[:, n:])
        other.weight.copy_(both[:, n:])
    return own, other
