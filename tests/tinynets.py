"""Tiny networks and examples for tests: see ``plugins/nets.py``."""

from __future__ import annotations

import nets
import numpy as np
import torch

from hepbench import Examples, TrainingData
from hepbench.training import network_runs
from hepbench.training.context import NetworkContext
from hepbench.training.messages import MethodTask, NetworkTask
from hepbench.training.networks.recipes import TrustedCode

torch.set_num_threads(1)

BUILDS = {"dense": "nets:Dense", "vae": "nets:Autoencoder", "mixing": "nets:Mixing"}
KNOWN = TrustedCode(models=BUILDS, heads={"probe": "nets:narrow"}, steps=frozenset({"nets:Shift"}))


def examples(n, first=0, **columns):
    """Return n labelled examples whose ids begin with ``first``."""
    (_, whole), *_ = nets.sample(n + first)
    part = whole[slice(first, first + n)]
    return Examples(inputs=part.inputs, ids=part.ids, labels=part.labels, **columns)


def data(n=200, **columns):
    """Return training examples and half as many for validation."""
    return TrainingData(train=examples(n, **columns), validation=examples(n // 2, first=n))


def fresh(model="dense", *, steps=("standardise",), seed=0, inputs=None, **params):
    """Return a network as built from a seed, preprocessing fitted."""
    torch.manual_seed(seed)
    built = task(model, BUILDS[model], preprocess=steps, **params)
    network = network_runs.fresh(built, inputs or data().train.inputs, classes=2)
    network.known = KNOWN
    return network


def context(seed=0, **settings):
    """Return what a method is lent, generators seeded."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    return NetworkContext(seed=seed, **settings)


def state(network):
    """Return copies of all tensors by name."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(one, other):
    """Whether two states are bit-identical."""
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def task(model, build, *, preprocess=(), method_heads=None, **params):
    """Return the task of a worker that builds a network; no method is applied to it."""
    return MethodTask(
        method="",
        run="",
        params={},
        model=model,
        build=build,
        model_params=params,
        makes="classifier",
        classes=2,
        steps=[],
        seed=0,
        network=NetworkTask(preprocess=list(preprocess), heads=method_heads or {}),
    )
