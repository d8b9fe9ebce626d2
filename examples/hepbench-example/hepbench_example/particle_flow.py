"""A network: a particle flow network of clouds.

Komiske, Metodiev and Thaler, JHEP 01 (2019) 121, arXiv:1810.05165, after the deep sets of Zaheer et
al., arXiv:1703.06114. The latents are a function of the sum over particles of a function of each
particle, so neither the order of particles nor padding changes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


class ParticleFlow(nn.Module):
    """An encoder of ``cloud`` and ``mask``: to (N, latent_dim).

    Args:
        shapes: of one example; ``cloud`` is (particles, features).
        width: units of each hidden layer.
        latent_dim: number of latents.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], *, width: int, latent_dim: int
    ) -> None:
        super().__init__()
        _, features = shapes["cloud"]
        self.particle = nn.Sequential(
            nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.jet = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, latent_dim), nn.ReLU()
        )

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the latents (N, latent_dim) of preprocessed jets."""
        # (N, particles, width), 0 for padding
        particles = self.particle(inputs["cloud"]) * inputs["mask"][..., None]
        return self.jet(particles.sum(1))
