"""A plugin for tests: images of two classes, and autoencoders that decode, sample and walk.

``spots``: one or two bright spots on an empty image of two channels; ``spot-vae``: variational;
``spot-ae``: not, and with a step of its own. Methods: those of ``nets``.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from hepbench import Dataset, Examples, Input, Model, Sample, hookimpl

SIDE = 8


def sample(n, side=SIDE):
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, n)
    grid = np.arange(side)
    image = np.zeros((n, 2, side, side), np.float32)
    for spot in range(2):
        x, y = rng.integers(1, side - 1, (2, n))
        bright = rng.exponential(1.0, n) * ((labels == 1) | (spot == 0))
        near = (abs(grid[None, :, None] - y[:, None, None]) <= 1) & (
            abs(grid[None, None] - x[:, None, None]) <= 1
        )
        image[:, spot % 2] += (near * bright[:, None, None]).astype(np.float32)
    yield "labelled", Examples(inputs={"image": image}, ids=np.arange(n), labels=labels)


class Autoencoder(nn.Module):
    """Plain layers, a few latents."""

    def __init__(self, shapes, *, latent_dim=4):
        super().__init__()
        self.shape = shapes["image"]
        n = int(np.prod(self.shape))
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(n, 16), nn.ReLU())
        self.mean = nn.Linear(16, latent_dim)
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, 16), nn.ReLU(), nn.Linear(16, n), nn.Softplus()
        )

    def encode(self, inputs):
        return self.mean(self.hidden(inputs["image"]))

    def decode(self, latents):
        return {"image": self.decoder(latents).unflatten(1, self.shape)}

    def reconstruct(self, inputs):
        return self.decode(self.encode(inputs))

    def pretraining_terms(self, inputs):
        error = self.reconstruct(inputs)["image"] - inputs["image"]
        return {"reconstruction": error.square().flatten(1).sum(1)}


class Variational(Autoencoder):
    """The same with a variance of each latent."""

    def __init__(self, shapes, *, latent_dim=4):
        super().__init__(shapes, latent_dim=latent_dim)
        self.log_variance = nn.Linear(16, latent_dim)

    def posterior(self, inputs):
        hidden = self.hidden(inputs["image"])
        return self.mean(hidden), self.log_variance(hidden)

    def pretraining_terms(self, inputs):
        mean, logs = self.posterior(inputs)
        code = mean + torch.randn_like(mean) * (logs / 2).exp() if self.training else mean
        error = self.decode(code)["image"] - inputs["image"]
        kl = 0.5 * (mean.square() + logs.exp() - 1 - logs).sum(1)
        return {"reconstruction": error.square().flatten(1).sum(1), "kl": kl}


@hookimpl
def hepbench_datasets():
    return [
        Dataset(
            name="spots",
            summary="one or two spots",
            classes=("one", "two"),
            inputs={"image": Input(shape=(2, SIDE, SIDE), sparse=True)},
            sample=Sample("spots:sample"),
            params={"n": 1000},
            read_params=frozenset({"n"}),
        )
    ]


@hookimpl
def hepbench_models():
    builds = {"spot-vae": "Variational", "spot-ae": "Autoencoder"}
    return [
        Model(
            name=name,
            summary=name,
            inputs=("image",),
            build=f"spots:{build}",
            offers=frozenset({"encode", "pretrain", "reconstruct"}),
            preprocess=("levels:Level",) if name == "spot-ae" else (),
            params={"latent_dim": 4},
        )
        for name, build in builds.items()
    ]
