"""Any BasicGNN of torch-geometric by its name, on the graphs of point clouds.

Fey and Lenssen (2019), arXiv:1903.02428. A point receives messages from its k nearest points; the mean
and the maximum over points are the latents. Linear layers of torch-geometric are replaced by torch's,
with the same weights, because structured pruning knows torch's only.

In training, points and edges that exist are taken out of the padded clouds, so that statistics of
normalisations are theirs. For scoring all points are computed, so that operations and exported graph
do not depend on the example: padding has no edges, and edges that do not exist join one more point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hepbench import PluginError
from hepbench_models.torch_geometric_import import import_torch_geometric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    # hepbench also reads here that results depend on the version of torch-geometric
    from torch_geometric.nn import dense
    from torch_geometric.nn.models import basic_gnn
else:
    basic_gnn = import_torch_geometric("torch_geometric.nn.models.basic_gnn")
    dense = import_torch_geometric("torch_geometric.nn.dense")

PNA = {
    "aggregators": ["mean", "min", "max", "std"],
    "scalers": ["identity", "amplification", "attenuation"],
}
"""Arguments of PNA that its paper chooses, arXiv:2004.05718, and torch-geometric leaves open."""


class GNNBackbone(nn.Module):
    """An encoder of ``cloud``, ``mask`` and ``neighbours``: to (N, 2 x width).

    Args:
        shapes: of one example; ``cloud`` is (points, features), ``neighbours`` (points, k).
        name: of the class in torch-geometric.
        width: features of a point after each convolution.
        layers: number of convolutions.
        arguments: of the class.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        name: str,
        width: int,
        layers: int,
        arguments: Mapping[str, Any],
    ) -> None:
        super().__init__()
        given = {**(_pna(shapes["neighbours"][1]) if name == "PNA" else {}), **arguments}
        try:
            network = getattr(basic_gnn, name)(shapes["cloud"][1], width, layers, **given)
        # whatever an architecture raises about its arguments
        except Exception as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())
            msg = f"torch-geometric: {name} cannot be built with {dict(given)}: {why}"
            raise PluginError(msg) from error
        _use_plain_layers(network)
        self.network = network

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the mean and the maximum over points; 0 for a cloud without points."""
        points, mask = inputs["cloud"], inputs["mask"]
        source, target, exists = edges(inputs["neighbours"], mask)
        if self.training:
            real = mask.flatten()
            place = real.cumsum(0) - 1
            joined = torch.stack([place[source[exists]], place[target[exists]]])
            found = self.network(points[mask], joined)
            features = found.new_zeros(*mask.shape, found.shape[1]).masked_scatter(
                mask[..., None], found
            )
        else:
            nodes = torch.cat([points.flatten(0, 1), points[0, :1] * 0])
            last = torch.full_like(source, 1) * mask.numel()
            joined = torch.stack([torch.where(exists, end, last) for end in (source, target)])
            features = self.network(nodes, joined)[:-1].view(*mask.shape, -1)
        return pooled(features, mask)


def edges(near: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return sources and targets of edges among the points of a batch, and which edges exist.

    Args:
        near: (N, P, k) indices of neighbours; a point's own index stands for none.
        mask: (N, P) bool, True for a point.
    """
    own = torch.arange(near.shape[1], device=near.device)[:, None].expand_as(near)
    first = torch.arange(near.shape[0], device=near.device)[:, None, None] * near.shape[1]
    exists = (near != own) & mask[..., None]
    return (near + first).flatten(), (own + first).flatten(), exists.flatten()


def pooled(features: Tensor, mask: Tensor) -> Tensor:
    """Return the mean and the maximum over points, 0 for clouds without any."""
    real = mask[..., None]
    count = real.sum(1).to(features.dtype)
    mean = (features * real).sum(1) / count.clamp_min(1)
    largest = features.masked_fill(~real, torch.finfo(features.dtype).min).amax(1)
    return torch.cat([mean, torch.where(count > 0, largest, torch.zeros_like(largest))], 1)


def _pna(k: int) -> dict[str, Any]:
    """Return PNA's arguments for graphs whose points have k neighbours."""
    degrees = torch.zeros(k + 1, dtype=torch.long)
    degrees[k] = 1
    return {**PNA, "deg": degrees}


def _use_plain_layers(network: nn.Module) -> None:
    for module in list(network.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, dense.Linear):
                plain = nn.Linear(
                    layer.in_channels, layer.out_channels, bias=layer.bias is not None
                )
                plain.weight, plain.bias = layer.weight, layer.bias
                setattr(module, name, plain)
