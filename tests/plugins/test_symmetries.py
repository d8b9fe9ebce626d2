"""Symmetries of images: each image of a batch is changed independently, with all its channels."""

from __future__ import annotations

import numpy as np
import torch
from hepbench_datasets import symmetries

IMAGE = np.random.default_rng(0).random((1, 3, 9, 9), np.float32)


def seen(function):
    """Return the different images that 64 calls of an augmentation make from one image."""
    torch.manual_seed(0)
    batch = {"image": torch.tensor(IMAGE).repeat(64, 1, 1, 1), "scalars": torch.arange(64)}
    before = batch["image"].clone()
    made = function(batch)
    assert torch.equal(batch["image"], before)
    assert torch.equal(made["scalars"], batch["scalars"])
    return {one.numpy().tobytes() for one in made["image"]}


def test_flips_mirror_whole_images_in_all_four_ways():
    """Other inputs of the batch stay the same, and the batch is not changed in place."""
    ways = [IMAGE[:, :, ::i, ::j] for i in (1, -1) for j in (1, -1)]
    assert seen(symmetries.flips) == {np.ascontiguousarray(way).tobytes() for way in ways}


def test_transposition_exchanges_eta_and_phi_or_keeps_the_image():
    """All channels together."""
    turned = np.ascontiguousarray(IMAGE.transpose(0, 1, 3, 2))
    assert seen(symmetries.transpose) == {IMAGE.tobytes(), turned.tobytes()}
