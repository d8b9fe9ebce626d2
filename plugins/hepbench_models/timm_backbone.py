"""Any backbone of timm by its name, for images of any number of channels and any size.

Wightman, PyTorch Image Models, https://github.com/huggingface/pytorch-image-models. Weights are drawn as
timm draws them; pretrained ones are never fetched. Images are padded with zeros on all sides, not resized,
since jet images are sparse and their pixels mean something. ``img_size`` is given to networks that take
it. The latents are the pooled features before timm's own classifier.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn import functional

from hepbench import PluginError
from hepbench_models.timm_import import import_timm

if TYPE_CHECKING:
    from collections.abc import Mapping

    # hepbench also reads here that results depend on the version of timm
    from timm import models
    from torch import Tensor
else:
    models = import_timm("timm.models")


class TimmBackbone(nn.Module):
    """An encoder of ``image``: (N, channels, height, width) to (N, features of the backbone).

    Args:
        shapes: of one example; ``image`` is (channels, height, width).
        name: of the model in timm.
        multiple: images are padded to the next multiple of it, in height and in width.
        arguments: of timm's function of this name.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        name: str,
        multiple: int,
        arguments: Mapping[str, Any],
    ) -> None:
        super().__init__()
        channels, height, width = shapes["image"]
        missing = [-n % multiple for n in (width, height)]
        self.padding = [side for n in missing for side in (n // 2, n - n // 2)]
        size = (height + missing[1], width + missing[0])
        self.backbone = build(name, size, {"in_chans": channels, **arguments})

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the pooled features."""
        image = inputs["image"]
        return self.backbone(functional.pad(image, self.padding) if any(self.padding) else image)


def build(name: str, size: tuple[int, int], arguments: Mapping[str, Any]) -> nn.Module:
    """Return a backbone of timm without its classifier, as drawn.

    Raises:
        PluginError: timm cannot build it with these arguments.
    """
    given = {**arguments, "pretrained": False, "num_classes": 0}
    try:
        try:
            return models.create_model(name, img_size=size, **given)
        except TypeError as error:
            if "img_size" not in str(error):
                raise
            return models.create_model(name, **given)
    # whatever an architecture raises about its arguments
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        msg = f"timm: {name} cannot be built for images of {size[0]} x {size[1]}: {why}"
        raise PluginError(msg) from error
