"""Augmentations of images (N, C, H, W) with rows along eta and columns along phi.

Each is an exact or approximate symmetry. The dataset's spec or its views say which ones the dataset
has, and why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


def flips(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Mirror each image of a batch at random: in eta, in phi, in both or not at all."""
    images = inputs["image"]
    for axis in (2, 3):
        images = apply_to_half(images, images.flip(axis))
    return {**inputs, "image": images}


def transpose(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Exchange eta and phi of each image of a batch with probability 1/2."""
    images = inputs["image"]
    return {**inputs, "image": apply_to_half(images, images.transpose(2, 3))}


def apply_to_half(images: Tensor, changed: Tensor) -> Tensor:
    """Replace each image of a batch by its changed version with probability 1/2."""
    import torch

    chosen = torch.rand(len(images), device=images.device) < 0.5
    return torch.where(chosen[:, None, None, None], changed, images)
