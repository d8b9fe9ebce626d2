"""Masked autoencoder of images: a vision transformer that sees some patches and predicts the others.

After a write-up ("Masked Auto-Encoder for Efficient E2E Particle Reconstruction", specific task 3d;
R7 of docs/systems.md); He et al. (2022), arXiv:2111.06377. The preset ``paper`` is the write-up's:
patches of 5 x 5, an encoder of width 768 with 8 blocks and one head, a decoder of width 512 with 4
blocks. The blocks, the patch embedding, their initialisation and the positions are timm's.

Our choice, where the write-up says nothing: three quarters of the patches are hidden, and positions
are fixed sines and cosines, as in He et al.; the latents are the mean over the tokens of all
patches (its list of modules shows no class token, and to the code of He et al. both are options).
In eval mode the same patches of every image are hidden.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hepbench_models.timm_import import import_timm

if TYPE_CHECKING:
    from collections.abc import Mapping

timm_layers = import_timm("timm.layers")
vision_transformer = import_timm("timm.models.vision_transformer")


class Encoder(nn.Module):
    """(N, channels, height, width) images to (N, patches, width) tokens, of all or some patches."""

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        patch: int,
        width: int,
        layers: int,
        heads: int,
        mlp_ratio: float,
    ) -> None:
        super().__init__()
        channels, *size = shape
        self.patch_embed = timm_layers.PatchEmbed(tuple(size), patch, channels, width)
        self.register_buffer("positions", positions(self.patch_embed.grid_size, width))
        self.blocks = stack(layers, width, heads, mlp_ratio)
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, image: Tensor, visible: Tensor | None = None) -> Tensor:
        """Return the tokens of the visible patches, (N, V) indices; None: of all patches."""
        tokens = self.patch_embed(image) + self.positions
        if visible is not None:
            tokens = tokens.gather(1, visible[:, :, None].expand(-1, -1, tokens.shape[2]))
        return self.norm(self.blocks(tokens))


class Decoder(nn.Module):
    """(N, V, width) tokens of visible patches to (N, patches, values) predictions of all patches."""

    def __init__(
        self,
        grid: tuple[int, int],
        *,
        width: int,
        decoder_width: int,
        layers: int,
        heads: int,
        mlp_ratio: float,
        values: int,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(width, decoder_width)
        self.masked = nn.Parameter(0.02 * torch.randn(decoder_width))
        self.register_buffer("positions", positions(grid, decoder_width))
        self.blocks = stack(layers, decoder_width, heads, mlp_ratio)
        self.norm = nn.LayerNorm(decoder_width, eps=1e-6)
        self.predict = nn.Linear(decoder_width, values)

    def forward(self, tokens: Tensor, order: Tensor) -> Tensor:
        """Return the predictions; ``order`` (N, patches) begins with the visible patches."""
        n, patches = order.shape
        seen = self.embed(tokens)
        unseen = self.masked.expand(n, patches - seen.shape[1], -1)
        # position in the order of each patch
        places = order.argsort(1)[:, :, None].expand(-1, -1, seen.shape[2])
        whole = torch.cat([seen, unseen], 1).gather(1, places) + self.positions
        return self.predict(self.norm(self.blocks(whole)))


class MaskedAutoencoder(nn.Module):
    """An encoder of ``image``: (N, channels, height, width) to (N, width).

    Args:
        shapes: of one example; ``image`` is (channels, height, width), multiples of ``patch``.
        patch: height and width of a patch.
        width: of a token.
        layers: number of blocks of the encoder.
        decoder_width, decoder_layers: the same of the decoder.
        heads: of each attention, in both; they divide both widths, and so does 4.
        mlp_ratio: hidden units of a block, divided by the width.
        masked_fraction: fraction of the patches that pretraining hides and predicts.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        patch: int,
        width: int,
        layers: int,
        decoder_width: int,
        decoder_layers: int,
        heads: int,
        mlp_ratio: float,
        masked_fraction: float,
    ) -> None:
        super().__init__()
        shape = shapes["image"]
        both = {"heads": heads, "mlp_ratio": mlp_ratio}
        self.encoder = Encoder(shape, patch=patch, width=width, layers=layers, **both)
        self.grid = self.encoder.patch_embed.grid_size
        self.decoder = Decoder(
            self.grid,
            width=width,
            decoder_width=decoder_width,
            layers=decoder_layers,
            values=shape[0] * patch**2,
            **both,
        )
        self.patch = patch
        n = self.grid[0] * self.grid[1]
        self.kept = min(max(n - round(masked_fraction * n), 1), n - 1)
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("order", torch.randperm(n, generator=generator))
        self.apply(vision_transformer.init_weights_vit_timm)

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the mean over the tokens of all patches, none hidden."""
        return self.encoder(inputs["image"]).mean(1)

    def pretraining_terms(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the mean squared error of the hidden patches.

        They are drawn again for each image of a batch in training.
        """
        image = inputs["image"]
        order = self._order(image)
        error = (self._predict(image, order) - self.patches(image)).square().mean(2)
        return {"reconstruction": error.gather(1, order[:, self.kept :]).mean(1)}

    def reconstruct(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the images with their hidden patches as predicted, the visible ones as they are."""
        image = inputs["image"]
        order = self._order(image)
        hidden = order.argsort(1)[:, :, None] >= self.kept
        predicted = self._predict(image, order)
        return {"image": self.image(torch.where(hidden, predicted, self.patches(image)))}

    def visible(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the images that ``reconstruct`` starts from: 0 in hidden patches."""
        patches = self.patches(inputs["image"])
        hidden = self._order(inputs["image"]).argsort(1)[:, :, None] >= self.kept
        return {"image": self.image(patches.masked_fill(hidden, 0))}

    def patches(self, image: Tensor) -> Tensor:
        """Return (N, patches, channels x patch x patch) of (N, channels, height, width) images."""
        rows, columns = self.grid
        split = image.unflatten(3, (columns, self.patch)).unflatten(2, (rows, self.patch))
        return split.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)

    def image(self, patches: Tensor) -> Tensor:
        """Return the images that ``patches`` were made of."""
        split = patches.unflatten(2, (-1, self.patch, self.patch)).unflatten(1, self.grid)
        return split.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)

    def _order(self, image: Tensor) -> Tensor:
        """Return (N, patches), the patches of each image, the visible ones first."""
        if self.training:
            return torch.rand(len(image), len(self.order), device=image.device).argsort(1)
        return self.order.expand(len(image), -1)

    def _predict(self, image: Tensor, order: Tensor) -> Tensor:
        return self.decoder(self.encoder(image, order[:, : self.kept]), order)


def positions(grid: tuple[int, int], width: int) -> Tensor:
    """Return (patches, width): sines and cosines of the row and the column of each patch."""
    return timm_layers.build_sincos2d_pos_embed(list(grid), width)


def stack(layers: int, width: int, heads: int, mlp_ratio: float) -> nn.Sequential:
    """Return transformer blocks with normalisation before attention and perceptron."""
    norm = partial(nn.LayerNorm, eps=1e-6)
    block = partial(
        vision_transformer.Block, width, heads, mlp_ratio, qkv_bias=True, norm_layer=norm
    )
    return nn.Sequential(*(block() for _ in range(layers)))
