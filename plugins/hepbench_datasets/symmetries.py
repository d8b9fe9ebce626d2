"""Augmentations of images (N, C, H, W), rows along eta and columns along phi: what nearly is a symmetry.

Which of them a dataset has, and why, stands in its spec or in its views.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


def flips(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Mirror each image of a batch in eta, in phi, in both or in none, by chance."""
    images = inputs["image"]
    for axis in (2, 3):
        images = by_chance(images, images.flip(axis))
    return {**inputs, "image": images}


def transpose(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Exchange eta and phi of each image of a batch, by chance."""
    images = inputs["image"]
    return {**inputs, "image": by_chance(images, images.transpose(2, 3))}


def by_chance(images: Tensor, changed: Tensor) -> Tensor:
    """Return each image of a batch as it is or changed, with even odds."""
    import torch

    chosen = torch.rand(len(images), device=images.device) < 0.5
    return torch.where(chosen[:, None, None, None], changed, images)
