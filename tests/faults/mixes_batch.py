"""Point 6: networks whose scores depend on the batch or on chance, each by a mistake of one word.

``attends-across``: attention without ``batch_first``, which acts across examples;
``always-training``: batch norm that stays in training mode; ``drops-always``: dropout as a
function, which is active by default.
"""

from __future__ import annotations

from torch import nn
from torch.nn import functional

from hepbench import Model, hookimpl

WIDTH = 8


class AttendsAcross(nn.Module):
    def __init__(self, shapes):
        super().__init__()
        self.embed = nn.Linear(1, WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 2)

    def encode(self, inputs):
        tokens = self.embed(inputs["table"][..., None])
        attended, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return (tokens + attended).mean(1)


class AlwaysTraining(nn.Module):
    def __init__(self, shapes):
        super().__init__()
        layers = (nn.Linear(shapes["table"][0], WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU())
        self.layers = nn.Sequential(*layers)

    def train(self, mode=True):
        return super().train()

    def encode(self, inputs):
        return self.layers(inputs["table"])


class DropsAlways(nn.Module):
    def __init__(self, shapes):
        super().__init__()
        self.layer = nn.Linear(shapes["table"][0], WIDTH)

    def encode(self, inputs):
        return functional.dropout(self.layer(inputs["table"]).relu(), 0.5)


BUILDS = {
    "attends-across": AttendsAcross,
    "always-training": AlwaysTraining,
    "drops-always": DropsAlways,
}


@hookimpl
def hepbench_models():
    return [
        Model(
            name=name,
            summary="scores that depend on the batch or on chance",
            inputs=("table",),
            build=f"mixes_batch:{build.__name__}",
            preprocess=("standardise",),
        )
        for name, build in BUILDS.items()
    ]
