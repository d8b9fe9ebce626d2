"""Vision transformer of images.

After a write-up ("ml4sci-evaluation-test", task 3; R8 of docs/systems.md), which follows an example
of Keras ("Image classification with Vision Transformer") without dropout, because the data are
sparse; Dosovitskiy et al. (2021), arXiv:2010.11929. Blocks, patches and initialisation are those of
timm's VisionTransformer. The preset ``paper`` has the sizes of that example: width 64, 8 blocks, 4
heads, 128 hidden units.

Departures: that example enlarges its images, to 144 patches; here an image stays as it is. Its
heads are as wide as the tokens; here they share the width, as in the paper. It flattens all tokens
for a classifier of 2048 and 1024 units; here the tokens' mean is classified by a linear layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from hepbench_models.timm_import import import_timm

if TYPE_CHECKING:
    from collections.abc import Mapping

    # hepbench also reads here that results depend on the version of timm
    from timm.models.vision_transformer import VisionTransformer
    from torch import Tensor

vision_transformer = import_timm("timm.models.vision_transformer")


class ViT(nn.Module):
    """An encoder of ``image``: (N, channels, height, width) to (N, width).

    Args:
        shapes: of one example; ``image`` is (channels, height, width), of any size that the patch
            divides.
        patch: side of a patch in pixels.
        width: of a token.
        layers: number of blocks.
        heads: of each attention; they divide the width.
        feed_forward: hidden units of a block.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        patch: int,
        width: int,
        layers: int,
        heads: int,
        feed_forward: int,
    ) -> None:
        super().__init__()
        channels, *size = shapes["image"]
        self.transformer: VisionTransformer = vision_transformer.VisionTransformer(
            img_size=tuple(size),
            patch_size=patch,
            in_chans=channels,
            num_classes=0,
            global_pool="avg",
            class_token=False,
            embed_dim=width,
            depth=layers,
            num_heads=heads,
            mlp_ratio=feed_forward / width,
        )

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the mean of the tokens, normalised."""
        return self.transformer(inputs["image"])
