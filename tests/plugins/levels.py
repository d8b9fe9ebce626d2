"""A step of preprocessing for tests, in a module of its own: see ``spots``."""

from __future__ import annotations

import torch
from torch import nn


class Level(nn.Module):
    """Divides by the largest value of the training images."""

    def __init__(self, shapes):
        super().__init__()
        self.register_buffer("largest", torch.ones(()))

    def fit(self, batches):
        self.largest.copy_(torch.stack([batch["image"].max() for batch in batches]).max())

    def forward(self, inputs):
        return {**inputs, "image": inputs["image"] / self.largest}
