"""A plugin for tests: tiny networks, some of which misbehave, and methods that train them.

``blobs``: two classes of six numbers; ``dense``: batch norm and dropout; ``vae``: an annealed,
sampled term; ``mixing``: attends across the batch; ``unsettled``: batch norm left in training mode.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from hepbench import (
    Dataset,
    Examples,
    Input,
    Method,
    Model,
    Objective,
    Sample,
    classification,
    hookimpl,
    pretraining,
    training_params,
)

FEATURES = 6


def sample(n):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, n)
    table = (3 + 5 * rng.normal(size=(n, FEATURES)) + 4 * labels[:, None]).astype(np.float32)
    yield "labelled", Examples(inputs={"table": table}, ids=np.arange(n), labels=labels)


def flipped(inputs):
    """Augment: one sign for every number of an example."""
    table = inputs["table"]
    return {"table": table * torch.where(torch.rand(len(table), 1) < 0.5, -1.0, 1.0)}


class Dense(nn.Module):
    """Two hidden layers, with batch norm and dropout."""

    def __init__(self, shapes, *, width=8, dropout=0.1):
        super().__init__()
        self.blocks = nn.Sequential(
            nn.Linear(shapes["table"][0], width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.ReLU(),
        )

    def encode(self, inputs):
        return self.blocks(inputs["table"])


class Autoencoder(nn.Module):
    """A variational autoencoder; its second term grows until half of the training is over."""

    def __init__(self, shapes, *, width=4, kl_warmup=0.5):
        super().__init__()
        n = shapes["table"][0]
        self.kl_warmup = kl_warmup
        self.hidden = nn.Sequential(nn.Linear(n, 8), nn.ReLU())
        self.mean, self.spread = nn.Linear(8, width), nn.Linear(8, width)
        self.decoder = nn.Sequential(nn.Linear(width, 8), nn.BatchNorm1d(8), nn.Linear(8, n))

    def encode(self, inputs):
        return self.mean(self.hidden(inputs["table"]))

    def head(self, classes):
        return nn.Sequential(nn.Linear(self.mean.out_features, 5), nn.ReLU(), nn.Linear(5, classes))

    def pretraining_terms(self, inputs):
        hidden = self.hidden(inputs["table"])
        mean, spread = self.mean(hidden), self.spread(hidden)
        code = mean + torch.randn_like(mean) * spread.exp() if self.training else mean
        distance = (self.decoder(code) - inputs["table"]).square().mean(1)
        kl = 0.5 * (mean.square() + (2 * spread).exp() - 1 - 2 * spread).sum(1)
        return {"reconstruction": distance, "kl": kl}

    def term_weights(self, progress):
        return {"kl": min(1.0, progress / self.kl_warmup) if self.kl_warmup else 1.0}


class Mixing(nn.Module):
    """Attends across the batch, as a known write-up did."""

    def __init__(self, shapes):
        super().__init__()
        self.attention = nn.MultiheadAttention(shapes["table"][0], 2)

    def encode(self, inputs):
        x = inputs["table"]
        return x + self.attention(x, x, x, need_weights=False)[0]


class Unsettled(Dense):
    """Keeps batch norm in training mode, whatever it is told."""

    def encode(self, inputs):
        self.blocks[1].training = True
        return super().encode(inputs)


class Shift(nn.Module):
    """A step of preprocessing: subtracts the largest value of the training inputs."""

    def __init__(self, shapes):
        super().__init__()
        self.register_buffer("largest", torch.zeros(shapes["table"]))

    def fit(self, batches):
        self.largest.copy_(torch.stack([b["table"].amax(0) for b in batches]).amax(0))

    def forward(self, inputs):
        return {**inputs, "table": inputs["table"] - self.largest}


def narrow(width, classes, *, hidden=3):
    return nn.Sequential(
        nn.BatchNorm1d(width), nn.Linear(width, hidden), nn.Linear(hidden, classes)
    )


def scratch(start, data, context, *, learning_rate, **training):
    objective = Objective(classification, {"encoder": learning_rate, "head": learning_rate})
    return context.fit(context.with_head(start), data, objective, **training)


def pretrain(start, data, context, *, learning_rate, **training):
    assert data.train.labels is None
    return context.fit(
        context.with_head(start),
        data,
        Objective(pretraining, {"encoder": learning_rate}),
        **training,
    )


def probe(start, data, context, *, learning_rate, hidden, cheats, **training):
    network = context.with_head(start, hidden=hidden)
    if cheats == "encoder":
        with torch.no_grad():
            next(network.encoder.parameters()).add_(1e-6)
    if cheats == "mode":
        network.encoder.train()
        for batch in context.batches(network, data.train):
            network(batch.inputs)
    return context.fit(
        network, data, Objective(classification, {"head": learning_rate}), **training
    )


def joint(start, data, context, *, learning_rate, **training):
    objectives = (
        Objective(pretraining, {"encoder": learning_rate}),
        Objective(classification, {"encoder": learning_rate, "head": learning_rate}),
    )
    return context.fit(context.with_head(start), data, *objectives, **training)


def prune(start, data, context, *, learning_rate, forgets, **training):
    network = start.trim()
    name, weight = next((n, p) for n, p in network.named_parameters() if p.ndim > 1)
    network.masks = {name: weight.detach().abs() > weight.detach().abs().median()}
    objective = Objective(classification, {"encoder": learning_rate, "head": learning_rate})
    network = context.fit(network, data, objective, **training)
    if forgets:
        weight.data.add_(1.0)
    return network


QUICK = {**training_params({"epochs": 2, "batch_size": 100}), "learning_rate": 0.01}


@hookimpl
def hepbench_datasets():
    return [
        Dataset(
            name="blobs",
            summary="six Gaussian numbers",
            classes=("background", "signal"),
            inputs={"table": Input(shape=(FEATURES,))},
            sample=Sample("nets:sample"),
            params={"n": 1000},
            read_params=frozenset({"n"}),
            augmentations={"flips": "nets:flipped"},
        )
    ]


def _model(name, build, offers=frozenset({"encode"}), **params):
    return Model(
        name=name,
        summary=name,
        inputs=("table",),
        build=f"nets:{build}",
        offers=offers,
        preprocess=("standardise",),
        params=params,
    )


@hookimpl
def hepbench_models():
    both = frozenset({"encode", "pretrain"})
    return [
        _model("dense", "Dense", width=8, dropout=0.1),
        _model("vae", "Autoencoder", both, width=4, kl_warmup=0.5),
        _model("mixing", "Mixing"),
        _model("unsettled", "Unsettled"),
    ]


@hookimpl
def hepbench_methods():
    unlabelled = {"labels": False, "makes": "encoder", "needs": frozenset({"encode", "pretrain"})}
    return [
        Method(name="scratch-net", summary="trains", run="nets:scratch", params=QUICK),
        Method(name="pre", summary="pretrains", run="nets:pretrain", params=QUICK, **unlabelled),
        Method(
            name="probe",
            summary="trains a head",
            run="nets:probe",
            after=("pre", "encoder", "fresh"),
            freezes=frozenset({"encoder"}),
            head="nets:narrow",
            params={**QUICK, "hidden": 3, "cheats": ""},
        ),
        Method(
            name="both",
            summary="two objectives",
            run="nets:joint",
            needs=frozenset({"encode", "pretrain"}),
            params=QUICK,
        ),
        Method(
            name="prune",
            summary="masks half of the first weights",
            run="nets:prune",
            after=("scratch-net", "classifier"),
            params={**QUICK, "forgets": False},
        ),
    ]
