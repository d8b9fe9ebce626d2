"""Graph networks of point clouds: four kinds of graph convolutions, one network around them.

After a write-up ("GNN based Quark-Gluon Classification", R5 of docs/systems.md), which names the
convolutions and nothing else: GCN, Kipf and Welling (2017), arXiv:1609.02907; GAT, Veličković et
al. (2018), arXiv:1710.10903; GIN, Xu et al. (2019), arXiv:1810.00826; GraphSAGE, Hamilton et al.
(2017), arXiv:1706.02216. The convolutions are torch-geometric's, in their dense form, on padded
clouds and a matrix of edges: of 64 or 256 points a training step takes a half to a seventh of the
time of the form with lists of edges (of ``gat`` 1.6 to 2.8 times as long), has only deterministic
operations, and becomes an ONNX graph of matrix products. Its operations grow with the square of the
number of points and do not depend on k; what is counted and timed is this form.

Our choice, where the write-up says nothing: a point receives messages from its k nearest points;
layer normalisation and ReLU after each convolution; the mean and the maximum over points are the
latents. Departures: the write-up's points have no position, ours have; its images were resized,
ours are not.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from hepbench_models.torch_geometric_import import import_torch_geometric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    # hepbench also reads here that results depend on the version of torch-geometric
    from torch_geometric.nn import dense
else:
    dense = import_torch_geometric("torch_geometric.nn.dense")


class GraphNetwork(nn.Module):
    """An encoder of ``cloud``, ``mask`` and ``neighbours``: to (N, 2 x width).

    Args:
        shapes: of one example; ``cloud`` is (points, features).
        width: features of a point after each convolution.
        layers: number of convolutions.
        more: arguments of the convolutions.
    """

    loops: ClassVar[Mapping[str, bool]] = {}
    """``{"add_loop": False}`` for convolutions that take loops from the matrix of edges."""

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], *, width: int, layers: int, **more: int
    ) -> None:
        super().__init__()
        sizes = [shapes["cloud"][1], *[width] * layers]
        self.layers = nn.ModuleList(self.convolution(n, m, **more) for n, m in pairwise(sizes))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))

    def convolution(self, n: int, m: int) -> nn.Module:
        """Return a convolution of points with n features to points with m."""
        raise NotImplementedError

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the mean and the maximum over points; 0 for a cloud without points."""
        points, mask = inputs["cloud"], inputs["mask"]
        adjacency = edges(inputs["neighbours"], mask, loops=bool(self.loops))
        real = mask[:, :, None].to(points.dtype)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            # padding stays 0, below all real points after ReLU
            points = norm(layer(points, adjacency, **self.loops)).relu() * real
        mean = points.sum(1) / real.sum(1).clamp_min(1)
        return torch.cat([mean, points.amax(1)], 1)


def edges(neighbours: Tensor, mask: Tensor, *, loops: bool) -> Tensor:
    """Return (N, P, P) float32: 1 in row i and column j if point i receives from point j.

    Args:
        neighbours: (N, P, k) indices; a point's own index stands for none.
        mask: (N, P) bool, True for a point.
        loops: whether every point, and padding, receives from itself.
    """
    n, points = mask.shape
    own = torch.eye(points, device=mask.device)
    near = torch.zeros((n, points, points), device=mask.device).scatter(2, neighbours, 1.0)
    others = near * (1 - own) * mask[:, :, None]
    return others + own if loops else others


class GCN(GraphNetwork):
    """Means of a point and its neighbours, weighted by their numbers of neighbours."""

    loops: ClassVar[Mapping[str, bool]] = {"add_loop": False}

    def convolution(self, n: int, m: int) -> nn.Module:
        """Return a convolution."""
        return _plain(dense.DenseGCNConv(n, m))


class GAT(GraphNetwork):
    """Means of a point and its neighbours, weighted by attention of several heads."""

    loops: ClassVar[Mapping[str, bool]] = {"add_loop": False}

    def convolution(self, n: int, m: int, *, heads: int) -> nn.Module:
        """Return a convolution; the heads divide m."""
        return _plain(dense.DenseGATConv(n, m // heads, heads=heads))


class GIN(GraphNetwork):
    """Sums of a point and its neighbours, then a perceptron."""

    def convolution(self, n: int, m: int) -> nn.Module:
        """Return a convolution."""
        return dense.DenseGINConv(nn.Sequential(nn.Linear(n, m), nn.ReLU(), nn.Linear(m, m)))


class GraphSAGE(GraphNetwork):
    """A point beside the mean of its neighbours."""

    def convolution(self, n: int, m: int) -> nn.Module:
        """Return a convolution."""
        return dense.DenseSAGEConv(n, m)


def _plain(layer: nn.Module) -> nn.Module:
    """Replace torch-geometric's linear layer by torch's, with the same weights.

    Structured pruning knows torch's only.
    """
    plain = nn.Linear(layer.lin.in_channels, layer.lin.out_channels, bias=False)
    plain.weight = layer.lin.weight
    layer.lin = plain
    return layer
