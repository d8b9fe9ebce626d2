"""Deep sets of particles: a perceptron for each particle, a sum or mean, a perceptron for the jet.

Zaheer et al. (2017), arXiv:1703.06114; for jets Komiske, Metodiev and Thaler (2019),
arXiv:1810.05165 ("particle flow network"). The code is our own. The preset ``paper`` has the sizes of
the latter: 100, 100 and 256 units for a particle, a sum, then three layers of 100, without
normalisation; 82 thousand parameters for four features.

Departure: its particles have pt as a fraction of the jet's, and eta and phi relative to the axis; here
the features are those of the dataset. ``norm`` normalises them and each layer of a particle, with
statistics of real particles.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn

from hepbench_models.particles import ParticleNorm, mean_of_real

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor


class DeepSets(nn.Module):
    """An encoder of ``cloud`` and ``mask``: (N, particles, features) to (N, last of jet_widths).

    Args:
        shapes: of one example; ``cloud`` is (particles, features).
        widths: units of each layer for a particle.
        pooling: ``sum`` or ``mean`` over particles.
        jet_widths: units of each layer after the pooling.
        norm: whether features and layers of a particle are normalised.
        dropout: fraction of the units of each layer after the pooling.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        widths: Sequence[int],
        pooling: str,
        jet_widths: Sequence[int],
        norm: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        sizes = [shapes["cloud"][1], *widths]
        self.pooling = pooling
        self.layers = nn.ModuleList(nn.Linear(n, m, bias=not norm) for n, m in pairwise(sizes))
        self.features = ParticleNorm(sizes[0]) if norm else None
        self.norms = nn.ModuleList(ParticleNorm(m) for m in widths if norm)
        self.jet = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(n, m), nn.ReLU(), nn.Dropout(dropout))
                for n, m in pairwise([widths[-1], *jet_widths])
            )
        )

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the units of the last layer."""
        x, mask = inputs["cloud"], inputs["mask"]
        if self.features is not None:
            x = self.features(x, mask)
        for i, layer in enumerate(self.layers):
            x = layer(x)
            x = (self.norms[i](x, mask) if self.norms else x).relu()
        if self.pooling == "sum":
            return self.jet((x * mask[..., None].to(x.dtype)).sum(1))
        return self.jet(mean_of_real(x, mask, 1))
