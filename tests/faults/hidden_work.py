"""Point 8: networks with work that a counter of FLOPs may miss, each in one place.

``by-numpy``: in numpy; ``own-function``: in an autograd function; ``by-dlpack``: in numpy, through
DLPack, which tracers do not notice; ``in-a-step``: in preprocessing; ``fused``: in a layer that
torch runs as one operator; ``recurrent``: in an LSTM.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from hepbench import Model, hookimpl

WIDTH = 8
MIXED = np.linspace(-1, 1, 6 * WIDTH, dtype=np.float32).reshape(6, WIDTH)


class MatrixProduct(torch.autograd.Function):
    @staticmethod
    def forward(context, values):
        return values @ torch.from_numpy(MIXED)

    @staticmethod
    def backward(context, gradient):
        return gradient @ torch.from_numpy(MIXED).T


class HiddenWork(nn.Module):
    """A linear layer plus hidden work."""

    def __init__(self, shapes):
        super().__init__()
        self.layer = nn.Linear(shapes["table"][0], WIDTH)

    def encode(self, inputs):
        return self.layer(inputs["table"]) + self.hidden_work(inputs["table"])

    def hidden_work(self, values):
        return 0.0


class ByNumpy(HiddenWork):
    def hidden_work(self, values):
        return torch.from_numpy(values.numpy() @ MIXED)


class ByDlpack(HiddenWork):
    def hidden_work(self, values):
        return torch.from_dlpack(np.from_dlpack(values) @ MIXED)


class OwnFunction(HiddenWork):
    def hidden_work(self, values):
        return MatrixProduct.apply(values)


class FusedLayer(HiddenWork):
    def __init__(self, shapes):
        super().__init__(shapes)
        self.block = nn.TransformerEncoderLayer(WIDTH, 2, 16, dropout=0, batch_first=True)

    def hidden_work(self, values):
        return self.block(values[..., None].expand(-1, -1, WIDTH)).mean(1)


class RecurrentLayer(HiddenWork):
    def __init__(self, shapes):
        super().__init__(shapes)
        self.recurrent = nn.LSTM(1, WIDTH, batch_first=True)

    def hidden_work(self, values):
        return self.recurrent(values[..., None])[0][:, -1]


class MixingStep(nn.Module):
    """A preprocessing step with a matrix product."""

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
    "in-a-step": HiddenWork,
    "fused": FusedLayer,
    "recurrent": RecurrentLayer,
}


@hookimpl
def hepbench_models():
    return [
        Model(
            name=name,
            summary="hidden work",
            inputs=("table",),
            build=f"hidden_work:{build.__name__}",
            preprocess=(
                "standardise",
                *(["hidden_work:MixingStep"] if name == "in-a-step" else []),
            ),
        )
        for name, build in BUILDS.items()
    ]
