"""Sparse autoencoder of images: a convolutional autoencoder with an L1 penalty on its latents.

After a write-up ("End-to-End event classification with sparse autoencoders", bonus task; R4 of
docs/systems.md): ``conv_vae`` with a deterministic encoder. The code is our own.

Where the write-up says nothing: the penalty is the sum of the absolute values of the latents. It makes
no latent exactly zero; how many are nearly zero is measured, not assumed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from hepbench_models.convolutions import Down, Up, draw, head, squared_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor


class SparseAutoencoder(nn.Module):
    """An encoder of ``image``: (N, channels, height, width) to (N, latent_dim).

    Args:
        shapes: of one example; ``image`` is (channels, height, width), of any size.
        widths: channels after each halving.
        hidden: units between the convolutions and the latents.
        latent_dim: number of latents.
        slope: of the LeakyReLU, below zero.
        dropout: fraction of the hidden units.
        output: last activation of the decoder: sigmoid, tanh or linear.
        sparsity_weight: weight of the L1 norm of the latents, the write-up's lambda.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        widths: Sequence[int],
        hidden: int,
        latent_dim: int,
        slope: float,
        dropout: float,
        output: str,
        sparsity_weight: float,
    ) -> None:
        super().__init__()
        shape = shapes["image"]
        self.down = Down(shape, widths=widths, hidden=hidden, slope=slope, dropout=dropout)
        self.latents = nn.Linear(hidden, latent_dim)
        self.up = Up(
            shape, widths=widths, hidden=hidden, slope=slope, latent_dim=latent_dim, output=output
        )
        self.sparsity_weight = sparsity_weight
        draw(self.latents, slope)

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the latents."""
        return self.latents(self.down(inputs["image"]))

    def head(self, classes: int) -> nn.Module:
        """Return the classifier of ``conv_vae``."""
        return head(self.latents.out_features, classes)

    def reconstruct(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the images decoded from their own latents."""
        return self.decode(self.encode(inputs))

    def decode(self, latents: Tensor) -> dict[str, Tensor]:
        """Return the images decoded from latents."""
        return {"image": self.up(latents)}

    def pretraining_terms(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the squared error summed over the image, and the L1 norm of the latents."""
        latents = self.encode(inputs)
        error = squared_error(self.up(latents), inputs["image"])
        return {"reconstruction": error, "l1": latents.abs().sum(1)}

    def term_weights(self, progress: float) -> dict[str, float]:
        """Return the weight of the L1 norm, which is constant."""
        del progress
        return {"l1": self.sparsity_weight}
