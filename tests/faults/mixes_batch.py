"""Point 6: networks whose scores are not of one example alone, each by a slip of one word.

``attends-across``: attention that was not told ``batch_first``, so that examples are its sequence;
``never-settled``: batch norm that stays in training mode; ``drops-always``: dropout called as a
function, whose default is to drop.
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
        found, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return (tokens + found).mean(1)


class NeverSettled(nn.Module):
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
    "never-settled": NeverSettled,
    "drops-always": DropsAlways,
}


@hookimpl
def hepbench_models():
    return [
        Model(
            name=name,
            summary="scores that are not of one example",
            inputs=("table",),
            build=f"mixes_batch:{build.__name__}",
            preprocess=("standardise",),
        )
        for name, build in BUILDS.items()
    ]
