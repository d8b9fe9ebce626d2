"""A plugin for tests: networks and methods for networks, each with one fault, named by the spec.

Models without a fault are ``sound-net`` (a table), ``sound-cloud`` (particles), ``sound-image`` and
``strided-image``, which needs images as large as those of dataset ``large``; ``fits-large`` says so.
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

KEPT_IN_MODULE = []
ALL_OFFERS = frozenset({"encode", "pretrain", "reconstruct"})


# --- models


class Net(nn.Module):
    """A small autoencoder of a table, with one fault."""

    def __init__(self, shapes, *, fault, width=8):
        super().__init__()
        if fault == "paper-cannot-be-built" and width > 8:
            raise PluginError(f"a width of {width} is not allowed")
        if fault == "seeds-itself":
            torch.manual_seed(0)
        if fault == "seeds-from-clock":
            torch.seed()
        n = shapes["table"][0]
        self.fault = fault
        self.first = nn.Sequential(nn.Linear(n, width), nn.ReLU(), nn.Dropout(0.1))
        self.last = nn.Linear(width, width)
        self.decoder = nn.Linear(width, n)
        if fault == "unused-parameter":
            self.spare = nn.Linear(n, width)
        if fault == "tensor-left-behind":
            self.scale = torch.full((width,), 2.0)
        if fault == "counts-calls":
            self.register_buffer("seen", torch.zeros(()))
        self.calls = 0

    def encode(self, inputs):
        x = inputs["table"]
        match self.fault:
            case "writes-inputs":
                x -= 1
            case "adds-inputs":
                inputs["squares"] = x.square()
            case "stays-in-training":
                self.first[2].training = True
            case "remembers-calls":
                self.calls += 1
                # too small a change to be seen in the loss of an epoch
                x = x + 1e-6 * self.calls * (not self.training)
            case "counts-calls":
                self.seen += 1
            case "centres-batch" if len(x) > 1:
                x = x - x.mean(0)
            case "counts-rows":
                x = x + torch.arange(len(x), device=x.device)[:, None] % 2
            case "skips-when-traced" if torch.jit.is_tracing():
                return self.first(x)
            case "cut-when-traced" if torch.jit.is_tracing() or torch.compiler.is_exporting():
                return self.last(self.first(x)[:, :1].expand(-1, self.last.in_features))
            case "batch-baked-in":
                x = x + torch.stack([row[:1] * 0 for row in x])
            case "unseeded-training" if self.training:
                x = x + torch.tensor(np.random.default_rng().normal(size=x.shape)).float()
        latents = self.last(self.first(x))
        match self.fault:
            case "latents-one-axis":
                return latents.sum(1)
            case "latents-float64":
                return latents.double()
            case "latents-not-finite":
                return latents / 0.0
            case "tensor-left-behind":
                return latents * self.scale
            case "uses-decoder":
                return latents + self.decoder.weight.detach().sum()
        return latents

    def head(self, classes):
        if self.fault == "always-two-classes":
            return nn.Linear(self.last.out_features, 2)
        return nn.Linear(self.last.out_features, classes)

    def pretraining_terms(self, inputs):
        error = self.decoder(self.encode(inputs)) - inputs["table"]
        match self.fault:
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
        match self.fault:
            case "weights-unknown-term":
                return {"kl": 1.0}
            case "weights-negative":
                return {"reconstruction": progress - 0.5}
            case "weights-end-at-zero":
                return {"reconstruction": 1 - progress}
            case "weights-count-calls":
                self.calls += 1
                return {"reconstruction": float(self.calls)}
        return {}

    def reconstruct(self, inputs):
        reconstruction = self.decoder(self.encode(inputs))
        match self.fault:
            case "reconstructs-too-wide":
                return {"table": reconstruction.repeat(1, 2)}
            case "reconstructs-unknown-input":
                return {"tables": reconstruction}
        return {"table": reconstruction}


class KeepsAttribute(Net):
    """Keeps a number in a plain attribute, which is not saved."""

    seen = 0.0

    def encode(self, inputs):
        if self.training and not self.seen:
            self.seen = float(self.last.weight.detach().sum())
        return super().encode(inputs) * (1 + self.seen)


class KeepsStateInModule(Net):
    """Keeps a number in its module, which a fresh process does not have."""

    def encode(self, inputs):
        if self.training and not KEPT_IN_MODULE:
            KEPT_IN_MODULE.append(float(self.last.weight.detach().sum()))
        return super().encode(inputs) * (1 + sum(KEPT_IN_MODULE[-1:]))


class Cloud(nn.Module):
    """A sum over features of particles."""

    def __init__(self, shapes, *, fault):
        super().__init__()
        particles, features = shapes["cloud"]
        self.fault = fault
        self.each = nn.Sequential(nn.Linear(features, 8), nn.ReLU())
        self.last = nn.Linear(8, 4)
        self.positions = nn.Parameter(torch.zeros(particles, 8))

    def encode(self, inputs):
        mask = inputs["mask"][..., None]
        features = self.each(inputs["cloud"])
        if self.fault == "depends-on-particle-order":
            weights = torch.linspace(0, 1, features.shape[1], device=features.device)[:, None]
            return self.last((features * mask * weights).sum(1))
        if self.fault == "counts-padding":
            return self.last(features.mean(1))
        return self.last((features * mask).sum(1))


class Momenta(nn.Module):
    """A mean over particles of pt, or of the energy, which a boost changes."""

    def __init__(self, shapes, *, fault):
        super().__init__()
        self.fault = fault
        self.each = nn.Sequential(nn.Linear(1, 8), nn.ReLU())
        self.last = nn.Linear(8, 4)
        names = {"no-symmetry": (), "unknown-symmetry": ("boosts",)}
        self.symmetries = names.get(fault, ("boosts-along-beam",))

    def encode(self, inputs):
        momenta, mask = inputs["momenta"], inputs["mask"][..., None]
        pt, energy = momenta[..., :2].square().sum(2, keepdim=True), momenta[..., 3:]
        features = self.each(energy if self.fault == "sees-energy" else pt)
        return self.last((features * mask).sum(1) / mask.sum(1).clamp_min(1))


class SoundCloud(Cloud):
    def __init__(self, shapes, *, fault):
        super().__init__(shapes, fault=fault)
        del self.positions


class Image(nn.Module):
    """Convolutions, each of which halves the image."""

    def __init__(self, shapes, *, halvings):
        super().__init__()
        channels = shapes["image"][0]
        layers = [nn.Conv2d(channels if i == 0 else 3, 3, 2, 2) for i in range(halvings)]
        self.layers = nn.Sequential(*layers)

    def encode(self, inputs):
        return self.layers(inputs["image"]).flatten(1)


def any_image(shapes, **_params):
    return ""


def large_images(shapes, *, halvings, **_params):
    _, height, width = shapes["image"]
    return "" if min(height, width) >= 2**halvings else f"its images are below {2**halvings}"


def two_lines(shapes, **_params):
    return "too\nsmall"


def fails(shapes, **_params):
    return shapes["cloud"]


def nothing(shapes, **_params):
    return None


def net(name, build="Net", offers=ALL_OFFERS, **changes):
    settings = {
        "summary": "a small autoencoder",
        "inputs": ("table",),
        "offers": offers,
        "preprocess": ("standardise",),
        "params": {"fault": name, "width": 8},
    }
    return Model(name=name, build=f"faulty_networks:{build}", **{**settings, **changes})


def cloud(name, build="Cloud"):
    inputs, params = ("cloud", "mask"), {"fault": name}
    return net(name, build, frozenset({"encode"}), inputs=inputs, params=params)


def momenta(name):
    inputs, params = ("momenta", "mask"), {"fault": name}
    offers = frozenset({"encode"})
    return net(name, "Momenta", offers, inputs=inputs, params=params, preprocess=())


def image(name, halvings, fits=""):
    inputs, params = ("image",), {"halvings": halvings}
    fits = f"faulty_networks:{fits}" if fits else ""
    return net(name, "Image", frozenset({"encode"}), inputs=inputs, params=params, fits=fits)


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
            "unseeded-training",
            "latents-one-axis",
            "latents-float64",
            "latents-not-finite",
        ),
        *("tensor-left-behind", "uses-decoder", "always-two-classes", "term-of-batch"),
        *("term-not-finite", "term-across-batch", "term-random", "weights-unknown-term"),
        *("weights-negative", "weights-end-at-zero", "weights-count-calls"),
        *("reconstructs-too-wide", "reconstructs-unknown-input", "unused-parameter"),
        *("seeds-itself", "seeds-from-clock", "sound-net"),
    )
    paper = {"params": {"fault": "paper-cannot-be-built", "width": Param(8, presets={"paper": 12})}}
    return [
        *(net(name) for name in faults),
        net("paper-cannot-be-built", **paper),
        net("builds-nothing", "nothing"),
        net("offers-missing-pretraining", "Image", ALL_OFFERS, inputs=("image",),
            params={"halvings": 2}),
        net("keeps-an-attribute", "KeepsAttribute"),
        net("keeps-state-in-module", "KeepsStateInModule"),
        cloud("sound-cloud", "SoundCloud"),
        cloud("depends-on-particle-order", "SoundCloud"),
        cloud("counts-padding", "SoundCloud"),
        cloud("unused-positions"),
        *map(momenta, ("sound-momenta", "no-symmetry", "sees-energy", "unknown-symmetry")),
        image("sound-image", 3),
        image("strided-image", 6),
        image("too-many-halvings", 7),
        image("fits-large", 6, "large_images"),
        image("fits-wrongly", 3, "any_image"),
        image("fits-in-two-lines", 3, "two_lines"),
        image("fits-fails", 3, "fails"),
    ]  # fmt: skip


# --- methods


def scratch(start, data, context, *, learning_rate, **training):
    objective = Objective(classification, {"encoder": learning_rate, "head": learning_rate})
    return context.fit(context.with_head(start), data, objective, **training)


def pretrain(start, data, context, *, learning_rate, **training):
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


def changes_encoder(start, data, context, *, learning_rate, **training):
    network = probe(start, data, context, learning_rate=learning_rate, **training)
    with torch.no_grad():
        next(network.encoder.parameters()).add_(1e-6)
    return network


def writes_batches(start, data, context, *, learning_rate, **training):
    network = scratch(start, data, context, learning_rate=learning_rate, **training)
    for batch in context.batches(network, data.train):
        batch.inputs["table"].add_(0.01)
    return network


def unseeded_method(start, data, context, *, learning_rate, **training):
    network = scratch(start, data, context, learning_rate=learning_rate, **training)
    with torch.no_grad():
        for parameter in network.head.parameters():
            parameter.add_(torch.tensor(np.random.default_rng().normal() * 1e-3))
    return network


def keeps_state_in_hook(start, data, context, *, learning_rate, **training):
    network = scratch(start, data, context, learning_rate=learning_rate, **training)
    network.head.register_forward_hook(lambda module, args, out: out * 2)
    return network


def drops_masks(start, data, context, *, learning_rate, **training):
    network = context.with_head(start)
    network.masks = {}
    return scratch(network, data, context, learning_rate=learning_rate, **training)


def swaps_columns(start, data, context, *, learning_rate, **training):
    network = scratch(start, data, context, learning_rate=learning_rate, **training)
    with torch.no_grad():
        network.head.weight.copy_(network.head.weight.flip(0))
        network.head.bias.copy_(network.head.bias.flip(0))
    return network


def paper_preset_fails(start, data, context, *, learning_rate, **training):
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
    unknown_need = {"needs": frozenset({"encode", "unknown-feature"})}
    learning_rate = Param(0.01, presets={"paper": 1.0})
    with_paper = {"params": {**training_params({}), "learning_rate": learning_rate}}
    return [
        method(no_head),
        method(no_network),
        method(scratch, "sound-training"),
        method(pretrain, "sound-pretraining", **unlabelled),
        method(probe, "sound-probe", **frozen),
        method(probe, "sound-follower", after=("sound-pretraining",)),
        method(scratch, "uses-hidden-labels", labels=False),
        method(scratch, "needs-unknown-feature", **unknown_need),
        method(changes_encoder, **frozen),
        method(writes_batches),
        method(unseeded_method, "unseeded-method"),
        method(keeps_state_in_hook),
        method(drops_masks, **later),
        method(refuses_masks, **later),
        method(swaps_columns),
        method(paper_preset_fails, **with_paper),
    ]
