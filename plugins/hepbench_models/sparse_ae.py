"""Sparse autoencoder of images: the convolutional autoencoder with an L1 penalty on its code.

After a write-up ("End-to-End event classification with sparse autoencoders", bonus task; R4 of
REFERENCE.md): ``conv_vae`` without what is variational. The code is our own.

Where the write-up is silent: the penalty is the sum of the code's absolute values. Nothing makes
such a code exactly zero; how many of its entries are nearly so is measured, not assumed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from hepbench_models.convolutions import Down, Up, draw, head, squared_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor


class SparseAutoencoder(nn.Module):
    """An encoder of ``image``: (N, channels, height, width) to (N, code).

    Args:
        shapes: of one example; ``image`` is (channels, height, width), of any size.
        widths: channels after each halving.
        hidden: units between the convolutions and the code.
        code: its width.
        slope: of the LeakyReLU, below zero.
        dropout: share of the hidden units.
        output: what a decoded image ends with: sigmoid, tanh or linear.
        sparsity_weight: of the L1 norm of the code, the write-up's lambda.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        widths: Sequence[int],
        hidden: int,
        code: int,
        slope: float,
        dropout: float,
        output: str,
        sparsity_weight: float,
    ) -> None:
        super().__init__()
        shape = shapes["image"]
        self.down = Down(shape, widths=widths, hidden=hidden, slope=slope, dropout=dropout)
        self.code = nn.Linear(hidden, code)
        self.up = Up(shape, widths=widths, hidden=hidden, slope=slope, code=code, output=output)
        self.sparsity_weight = sparsity_weight
        draw(self.code, slope)

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the code."""
        return self.code(self.down(inputs["image"]))

    def head(self, classes: int) -> nn.Module:
        """Return the classifier of ``conv_vae``."""
        return head(self.code.out_features, classes)

    def reconstruct(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the image that the code stands for."""
        return self.decode(self.encode(inputs))

    def decode(self, codes: Tensor) -> dict[str, Tensor]:
        """Return the images that codes stand for."""
        return {"image": self.up(codes)}

    def pretraining_terms(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the squared error summed over the image, and the L1 norm of the code."""
        code = self.encode(inputs)
        error = squared_error(self.up(code), inputs["image"])
        return {"reconstruction": error, "l1": code.abs().sum(1)}

    def term_weights(self, progress: float) -> dict[str, float]:
        """Return the weight of the L1 norm, the same at any time."""
        del progress
        return {"l1": self.sparsity_weight}
