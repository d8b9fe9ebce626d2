"""A plugin for tests: a graph network of one edge convolution, and a CNN of one convolution."""

from __future__ import annotations

import torch
from torch import nn

from hepbench import Model, hookimpl


class Edges(nn.Module):
    """What each point and its neighbours are to each other, the largest of it, the mean of all."""

    def __init__(self, shapes, *, width=6):
        super().__init__()
        self.edges = nn.Linear(2 * shapes["cloud"][1], width)

    def encode(self, inputs):
        points, real, near = inputs["cloud"], inputs["mask"], inputs["neighbours"]
        k = near.shape[2]
        places = near.flatten(1)[:, :, None].expand(-1, -1, points.shape[2])
        there = points.gather(1, places).unflatten(1, (-1, k))
        here = points[:, :, None].expand(-1, -1, k, -1)
        made = self.edges(torch.cat([here, there - here], 3)).relu().amax(2)
        return (made * real[:, :, None]).sum(1) / real.sum(1, keepdim=True).clamp_min(1)


class Places(Edges):
    """The same, where a neighbour's place in the cloud counts: what no graph network may do."""

    def encode(self, inputs):
        return super().encode(inputs) * inputs["neighbours"][:, :1, 0].float()


class Pixels(nn.Module):
    """One convolution, and the mean over pixels."""

    def __init__(self, shapes, *, width=6):
        super().__init__()
        self.convolution = nn.Conv2d(shapes["image"][0], width, 3, stride=2)

    def encode(self, inputs):
        return self.convolution(inputs["image"]).relu().mean((2, 3))


@hookimpl
def hepbench_models():
    graphs = [
        Model(
            name=build.lower(),
            summary="one edge convolution",
            inputs=("cloud", "mask", "neighbours"),
            build=f"graphnets:{build}",
            preprocess=("signed-log", "standardise"),
            params={"width": 6},
        )
        for build in ("Edges", "Places")
    ]
    return [
        *graphs,
        Model(
            name="pixels",
            summary="one convolution",
            inputs=("image",),
            build="graphnets:Pixels",
            preprocess=("signed-log",),
            params={"width": 6},
        ),
    ]
