"""A plugin for tests: networks and methods for networks, each with one fault, which its name tells.

``sound-net`` encodes a table, ``sound-cloud`` particles, ``sound-image`` an image; ``strided-image``
takes no image smaller than that of ``large``.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from hepbench import (
    DataError,
    Dataset,
    Input,
    Method,
    Model,
    Objective,
    Param,
    PluginError,
    classification,
    hookimpl,
    pretraining,
    training_params,
)

SEEN = []
EVERYTHING = frozenset({"encode", "pretrain", "reconstruct"})


# --- models


class Net(nn.Module):
    """A small autoencoder of a table; ``does`` says what goes wrong."""

    def __init__(self, shapes, *, does, width=8):
        super().__init__()
        if does == "paper-cannot-be-built" and width > 8:
            raise PluginError(f"a width of {width} is not allowed")
        if does == "seeds-itself":
            torch.manual_seed(0)
        if does == "draws-by-the-clock":
            torch.seed()
        n = shapes["table"][0]
        self.does = does
        self.first = nn.Sequential(nn.Linear(n, width), nn.ReLU(), nn.Dropout(0.1))
        self.last = nn.Linear(width, width)
        self.decoder = nn.Linear(width, n)
        if does == "parameter-in-vain":
            self.spare = nn.Linear(n, width)
        if does == "tensor-left-behind":
            self.scale = torch.full((width,), 2.0)
        if does == "counts-calls":
            self.register_buffer("seen", torch.zeros(()))
        self.calls = 0

    def encode(self, inputs):
        x = inputs["table"]
        match self.does:
            case "writes-inputs":
                x -= 1
            case "adds-inputs":
                inputs["squares"] = x.square()
            case "stays-in-training":
                self.first[2].training = True
            case "remembers-calls":
                self.calls += 1
                # so little that no loss of an epoch notices
                x = x + 1e-6 * self.calls * (not self.training)
            case "counts-calls":
                self.seen += 1
            case "centres-batch" if len(x) > 1:
                x = x - x.mean(0)
            case "counts-rows":
                x = x + torch.arange(len(x), device=x.device)[:, None] % 2
            case "skips-when-traced" if torch.jit.is_tracing():
                return self.first(x)
            case "cut-when-traced" if torch.jit.is_tracing():
                return self.last(self.first(x)[:, :1].expand(-1, self.last.in_features))
            case "batch-baked-in":
                x = x + torch.zeros(int(x.shape[0]), 1, device=x.device)
            case "draws-in-training" if self.training:
                x = x + torch.tensor(np.random.default_rng().normal(size=x.shape)).float()
        code = self.last(self.first(x))
        match self.does:
            case "codes-of-one-axis":
                return code.sum(1)
            case "codes-double":
                return code.double()
            case "codes-not-finite":
                return code / 0.0
            case "tensor-left-behind":
                return code * self.scale
            case "borrows-from-decoder":
                return code + self.decoder.weight.detach().sum()
        return code

    def head(self, classes):
        if self.does == "always-two-classes":
            return nn.Linear(self.last.out_features, 2)
        return nn.Linear(self.last.out_features, classes)

    def pretraining_terms(self, inputs):
        error = self.decoder(self.encode(inputs)) - inputs["table"]
        match self.does:
            case "term-of-batch":
                return {"reconstruction": error.square().mean()}
            case "term-not-finite":
                return {"reconstruction": error.mean(1).log() * float("nan")}
            case "term-across-batch":
                return {"reconstruction": (error - error.mean(0)).square().mean(1)}
            case "term-random" if not self.training:
                return {"reconstruction": (error + torch.randn_like(error)).square().mean(1)}
        return {"reconstruction": error.square().mean(1)}

    def term_weights(self, progress):
        match self.does:
            case "weighs-strangers":
                return {"kl": 1.0}
            case "weighs-negatively":
                return {"reconstruction": progress - 0.5}
            case "weighs-nothing-at-last":
                return {"reconstruction": 1 - progress}
            case "weighs-by-counting":
                self.calls += 1
                return {"reconstruction": float(self.calls)}
        return {}

    def reconstruct(self, inputs):
        made = self.decoder(self.encode(inputs))
        match self.does:
            case "reconstructs-too-much":
                return {"table": made.repeat(1, 2)}
            case "reconstructs-strangers":
                return {"tables": made}
        return {"table": made}


class Kept(Net):
    """What it takes from its first batch is a plain attribute, and so is not saved."""

    seen = 0.0

    def encode(self, inputs):
        if self.training and not self.seen:
            self.seen = float(self.last.weight.detach().sum())
        return super().encode(inputs) * (1 + self.seen)


class Elsewhere(Net):
    """What it takes from its first batch is kept by its module: another process does not see it."""

    def encode(self, inputs):
        if self.training and not SEEN:
            SEEN.append(float(self.last.weight.detach().sum()))
        return super().encode(inputs) * (1 + sum(SEEN[-1:]))


class Cloud(nn.Module):
    """Adds up what each particle says."""

    def __init__(self, shapes, *, does):
        super().__init__()
        particles, features = shapes["cloud"]
        self.does = does
        self.each = nn.Sequential(nn.Linear(features, 8), nn.ReLU())
        self.last = nn.Linear(8, 4)
        self.places = nn.Parameter(torch.zeros(particles, 8))

    def encode(self, inputs):
        mask = inputs["mask"][..., None]
        found = self.each(inputs["cloud"])
        if self.does == "knows-places":
            weights = torch.linspace(0, 1, found.shape[1], device=found.device)[:, None]
            return self.last((found * mask * weights).sum(1))
        if self.does == "counts-padding":
            return self.last(found.mean(1))
        return self.last((found * mask).sum(1))


class SoundCloud(Cloud):
    def __init__(self, shapes, *, does):
        super().__init__(shapes, does=does)
        del self.places


class Image(nn.Module):
    """Convolutions that halve an image, ``halvings`` times."""

    def __init__(self, shapes, *, halvings):
        super().__init__()
        channels = shapes["image"][0]
        layers = [nn.Conv2d(channels if i == 0 else 3, 3, 2, 2) for i in range(halvings)]
        self.layers = nn.Sequential(*layers)

    def encode(self, inputs):
        return self.layers(inputs["image"]).flatten(1)


def nothing(shapes, **_params):
    return None


def net(name, build="Net", offers=EVERYTHING, **changes):
    settings = {
        "summary": "a small autoencoder",
        "inputs": ("table",),
        "offers": offers,
        "preprocess": ("standardise",),
        "params": {"does": name, "width": 8},
    }
    return Model(name=name, build=f"faulty_networks:{build}", **{**settings, **changes})


def cloud(name, build="Cloud"):
    inputs, params = ("cloud", "mask"), {"does": name}
    return net(name, build, frozenset({"encode"}), inputs=inputs, params=params)


def image(name, halvings):
    inputs, params = ("image",), {"halvings": halvings}
    return net(name, "Image", frozenset({"encode"}), inputs=inputs, params=params)


@hookimpl
def hepbench_datasets():
    return [
        Dataset(
            name="large",
            summary="large images",
            classes=("background", "signal"),
            inputs={"image": Input(shape=(1, 64, 64))},
        )
    ]


@hookimpl
def hepbench_models():
    faults = (
        *("writes-inputs", "adds-inputs", "stays-in-training", "remembers-calls"),
        *("counts-calls", "centres-batch", "counts-rows", "skips-when-traced", "cut-when-traced"),
        *(
            "batch-baked-in",
            "draws-in-training",
            "codes-of-one-axis",
            "codes-double",
            "codes-not-finite",
        ),
        *("tensor-left-behind", "borrows-from-decoder", "always-two-classes", "term-of-batch"),
        *("term-not-finite", "term-across-batch", "term-random", "weighs-strangers"),
        *("weighs-negatively", "weighs-nothing-at-last", "weighs-by-counting"),
        *("reconstructs-too-much", "reconstructs-strangers", "parameter-in-vain"),
        *("seeds-itself", "draws-by-the-clock", "sound-net"),
    )
    paper = {"params": {"does": "paper-cannot-be-built", "width": Param(8, presets={"paper": 12})}}
    return [
        *(net(name) for name in faults),
        net("paper-cannot-be-built", **paper),
        net("builds-nothing", "nothing"),
        net("boasts-of-pretraining", "Image", EVERYTHING, inputs=("image",),
            params={"halvings": 2}),
        net("keeps-an-attribute", "Kept"),
        net("keeps-it-elsewhere", "Elsewhere"),
        cloud("sound-cloud", "SoundCloud"),
        cloud("knows-places", "SoundCloud"),
        cloud("counts-padding", "SoundCloud"),
        cloud("places-in-vain"),
        image("sound-image", 3),
        image("strided-image", 6),
        image("halves-too-often", 7),
    ]  # fmt: skip


# --- methods


def scratch(start, data, context, *, learning_rate, **training):
    objective = Objective(classification, {"encoder": learning_rate, "head": learning_rate})
    return context.fit(context.with_head(start), data, objective, **training)


def own(start, data, context, *, learning_rate, **training):
    return context.fit(start, data, Objective(pretraining, {"encoder": learning_rate}), **training)


def probe(start, data, context, *, learning_rate, **training):
    return context.fit(
        context.with_head(start),
        data,
        Objective(classification, {"head": learning_rate}),
        **training,
    )


def no_head(start, data, context, **_params):
    return start


def no_network(start, data, context, **_params):
    return start.encoder


def nudges_encoder(start, data, context, *, learning_rate, **training):
    network = probe(start, data, context, learning_rate=learning_rate, **training)
    with torch.no_grad():
        next(network.encoder.parameters()).add_(1e-6)
    return network


def writes_batches(start, data, context, *, learning_rate, **training):
    network = scratch(start, data, context, learning_rate=learning_rate, **training)
    for batch in context.batches(network, data.train):
        batch.inputs["table"].add_(0.01)
    return network


def draws(start, data, context, *, learning_rate, **training):
    network = scratch(start, data, context, learning_rate=learning_rate, **training)
    with torch.no_grad():
        for parameter in network.head.parameters():
            parameter.add_(torch.tensor(np.random.default_rng().normal() * 1e-3))
    return network


def keeps_elsewhere(start, data, context, *, learning_rate, **training):
    network = scratch(start, data, context, learning_rate=learning_rate, **training)
    network.head.register_forward_hook(lambda module, args, out: out * 2)
    return network


def frees_pruned(start, data, context, *, learning_rate, **training):
    network = context.with_head(start)
    network.masks = {}
    return scratch(network, data, context, learning_rate=learning_rate, **training)


def swaps_columns(start, data, context, *, learning_rate, **training):
    network = scratch(start, data, context, learning_rate=learning_rate, **training)
    with torch.no_grad():
        network.head.weight.copy_(network.head.weight.flip(0))
        network.head.bias.copy_(network.head.bias.flip(0))
    return network


def refuses_paper(start, data, context, *, learning_rate, **training):
    if learning_rate > 0.1:
        raise DataError("a learning rate above .1 is not allowed")
    return scratch(start, data, context, learning_rate=learning_rate, **training)


def refuses_masks(start, data, context, *, learning_rate, **training):
    if start.masks:
        raise DataError("a masked network is not allowed")
    return scratch(start, data, context, learning_rate=learning_rate, **training)


def method(function, name="", **changes):
    settings = {"summary": "trains", "params": {**training_params({}), "learning_rate": 0.01}}
    name = name or function.__name__.replace("_", "-")
    return Method(name=name, run=f"faulty_networks:{function.__name__}", **{**settings, **changes})


@hookimpl
def hepbench_methods():
    later = {"after": ("encoder", "classifier")}
    unlabelled = {"labels": False, "makes": "encoder", "needs": frozenset({"encode", "pretrain"})}
    frozen = {"after": ("encoder",), "freezes": frozenset({"encoder"})}
    needy = {"needs": frozenset({"encode", "moon"})}
    learning_rate = Param(0.01, presets={"paper": 1.0})
    strict = {"params": {**training_params({}), "learning_rate": learning_rate}}
    return [
        method(no_head),
        method(no_network),
        method(scratch, "sound-training"),
        method(own, "sound-pretraining", **unlabelled),
        method(probe, "sound-probe", **frozen),
        method(probe, "sound-follower", after=("sound-pretraining",)),
        method(scratch, "labels-though-blind", labels=False),
        method(scratch, "needs-a-moon", **needy),
        method(nudges_encoder, **frozen),
        method(writes_batches),
        method(draws, "draws-for-itself"),
        method(keeps_elsewhere),
        method(frees_pruned, **later),
        method(refuses_masks, **later),
        method(swaps_columns),
        method(refuses_paper, **strict),
    ]
