"""Point 3: preprocessing steps with one fault each.

``batch-scaled``: standardises each batch by itself; ``refitted``: refits itself at each call, in
the end on the test part; ``unregistered``: is fitted once, but keeps its constants in plain
attributes, which are not stored with the network.
"""

from __future__ import annotations

import torch
from torch import nn

from hepbench import Model, hookimpl


class BatchScaled(nn.Module):
    def __init__(self, shapes):
        super().__init__()

    def fit(self, batches):
        pass

    def forward(self, inputs):
        table = inputs["table"]
        return {**inputs, "table": (table - table.mean(0)) / table.std(0).clamp_min(1e-6)}


class Refitted(nn.Module):
    def __init__(self, shapes):
        super().__init__()
        self.register_buffer("mean", torch.zeros(shapes["table"]))

    def fit(self, batches):
        self.mean.copy_(torch.cat([batch["table"] for batch in batches]).mean(0))

    def forward(self, inputs):
        self.fit([inputs])
        return {**inputs, "table": inputs["table"] - self.mean}


class Unregistered(nn.Module):
    def __init__(self, shapes):
        super().__init__()
        self.mean = 0.0

    def fit(self, batches):
        self.mean = torch.cat([batch["table"] for batch in batches]).mean(0)

    def forward(self, inputs):
        return {**inputs, "table": inputs["table"] - self.mean}


class Dense(nn.Module):
    def __init__(self, shapes):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(shapes["table"][0], 8), nn.ReLU())

    def encode(self, inputs):
        return self.layers(inputs["table"])


STEPS = {"batch-scaled": BatchScaled, "refitted": Refitted, "unregistered": Unregistered}


@hookimpl
def hepbench_models():
    return [
        Model(
            name=name,
            summary="a dense layer after a preprocessing step",
            inputs=("table",),
            build="leaky_steps:Dense",
            preprocess=(f"leaky_steps:{step.__name__}",),
        )
        for name, step in STEPS.items()
    ]
