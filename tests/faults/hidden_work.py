"""Point 8: networks that work where a counter of FLOPs may not look, one place each.

``by-numpy``: outside of torch; ``own-function``: in a function with a gradient of its own;
``by-dlpack``: outside of torch, through a door that tracers do not watch; ``in-a-step``: in its
preprocessing; ``fused``: in a layer that torch runs as one operator; ``recurrent``: in an LSTM.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from hepbench import Model, hookimpl

WIDTH = 8
MIXED = np.linspace(-1, 1, 6 * WIDTH, dtype=np.float32).reshape(6, WIDTH)


class Own(torch.autograd.Function):
    @staticmethod
    def forward(context, values):
        return values @ torch.from_numpy(MIXED)

    @staticmethod
    def backward(context, gradient):
        return gradient @ torch.from_numpy(MIXED).T


class Hidden(nn.Module):
    """A layer, beside work of some kind."""

    def __init__(self, shapes):
        super().__init__()
        self.layer = nn.Linear(shapes["table"][0], WIDTH)

    def encode(self, inputs):
        return self.layer(inputs["table"]) + self.more(inputs["table"])

    def more(self, values):
        return 0.0


class ByNumpy(Hidden):
    def more(self, values):
        return torch.from_numpy(values.numpy() @ MIXED)


class ByDlpack(Hidden):
    def more(self, values):
        return torch.from_dlpack(np.from_dlpack(values) @ MIXED)


class OwnFunction(Hidden):
    def more(self, values):
        return Own.apply(values)


class Fused(Hidden):
    def __init__(self, shapes):
        super().__init__(shapes)
        self.block = nn.TransformerEncoderLayer(WIDTH, 2, 16, dropout=0, batch_first=True)

    def more(self, values):
        return self.block(values[..., None].expand(-1, -1, WIDTH)).mean(1)


class Recurrent(Hidden):
    def __init__(self, shapes):
        super().__init__(shapes)
        self.recurrent = nn.LSTM(1, WIDTH, batch_first=True)

    def more(self, values):
        return self.recurrent(values[..., None])[0][:, -1]


class Mixes(nn.Module):
    """A step that turns the features: a product of matrices."""

    def __init__(self, shapes):
        super().__init__()
        self.register_buffer("mixing", torch.from_numpy(np.tile(MIXED, 6)[:, :6].copy()))

    def fit(self, batches):
        pass

    def forward(self, inputs):
        return {**inputs, "table": inputs["table"] @ self.mixing}


BUILDS = {
    "by-numpy": ByNumpy,
    "by-dlpack": ByDlpack,
    "own-function": OwnFunction,
    "in-a-step": Hidden,
    "fused": Fused,
    "recurrent": Recurrent,
}


@hookimpl
def hepbench_models():
    return [
        Model(
            name=name,
            summary="work where nobody may look",
            inputs=("table",),
            build=f"hidden_work:{build.__name__}",
            preprocess=("standardise", *(["hidden_work:Mixes"] if name == "in-a-step" else [])),
        )
        for name, build in BUILDS.items()
    ]
