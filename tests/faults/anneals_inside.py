"""Point 5: autoencoders that anneal a loss term inside the model.

Losses of different epochs can then not be compared, and the first epoch seems best.
``counts-calls`` counts calls in a plain attribute, ``counts-in-buffer`` in a buffer, which is
stored with the weights; ``weighs-by-calls`` uses ``term_weights``, but ignores its argument
``progress``.
"""

from __future__ import annotations

import torch
from torch import nn

from hepbench import Model, hookimpl

WARM_UP = 20


class Autoencoder(nn.Module):
    def __init__(self, shapes):
        super().__init__()
        n = shapes["table"][0]
        self.encoder, self.decoder = nn.Linear(n, 3), nn.Linear(3, n)

    def encode(self, inputs):
        return self.encoder(inputs["table"])

    def terms(self, inputs):
        latents = self.encode(inputs)
        distance = (self.decoder(latents) - inputs["table"]).square().mean(1)
        return {"reconstruction": distance, "size": latents.square().sum(1)}


class CountsCalls(Autoencoder):
    def __init__(self, shapes):
        super().__init__(shapes)
        self.calls = 0

    def pretraining_terms(self, inputs):
        self.calls += self.training
        terms = self.terms(inputs)
        return {**terms, "size": terms["size"] * min(1.0, self.calls / WARM_UP)}


class CountsInBuffer(Autoencoder):
    def __init__(self, shapes):
        super().__init__(shapes)
        self.register_buffer("calls", torch.tensor(0.0))

    def pretraining_terms(self, inputs):
        self.calls += float(self.training)
        terms = self.terms(inputs)
        return {**terms, "size": terms["size"] * (self.calls / WARM_UP).clamp(max=1.0)}


class WeighsByCalls(CountsCalls):
    def pretraining_terms(self, inputs):
        self.calls += self.training
        return self.terms(inputs)

    def term_weights(self, progress):
        return {"size": min(1.0, self.calls / WARM_UP)}


BUILDS = {
    "counts-calls": CountsCalls,
    "counts-in-buffer": CountsInBuffer,
    "weighs-by-calls": WeighsByCalls,
}


@hookimpl
def hepbench_models():
    return [
        Model(
            name=name,
            summary="an autoencoder",
            inputs=("table",),
            build=f"anneals_inside:{build.__name__}",
            offers=frozenset({"encode", "pretrain"}),
            preprocess=("standardise",),
        )
        for name, build in BUILDS.items()
    ]
