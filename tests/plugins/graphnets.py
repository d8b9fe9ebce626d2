"""A plugin for tests: a graph network that depends on the order of points, and a small CNN."""

from __future__ import annotations

from torch import nn

from hepbench import Model, hookimpl


class Places(nn.Module):
    """The mean over points, times the place in the cloud of a neighbour: no graph network may do so."""

    def __init__(self, shapes, *, width=6):
        super().__init__()
        self.points = nn.Linear(shapes["cloud"][1], width)

    def encode(self, inputs):
        real = inputs["mask"][:, :, None]
        mean = (self.points(inputs["cloud"]) * real).sum(1) / real.sum(1).clamp_min(1)
        return mean * inputs["neighbours"][:, :1, 0].float()


class Pixels(nn.Module):
    """One convolution, and the mean over pixels."""

    def __init__(self, shapes, *, width=6):
        super().__init__()
        self.convolution = nn.Conv2d(shapes["image"][0], width, 3, stride=2)

    def encode(self, inputs):
        return self.convolution(inputs["image"]).relu().mean((2, 3))


@hookimpl
def hepbench_models():
    return [
        Model(
            name="places",
            summary="depends on the order of points",
            inputs=("cloud", "mask", "neighbours"),
            build="graphnets:Places",
            preprocess=("signed-log", "standardise"),
            params={"width": 6},
        ),
        Model(
            name="pixels",
            summary="one convolution",
            inputs=("image",),
            build="graphnets:Pixels",
            preprocess=("signed-log",),
            params={"width": 6},
        ),
    ]
