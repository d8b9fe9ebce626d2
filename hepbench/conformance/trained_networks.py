"""What a model that encodes promises, tried after a moment of training."""

from __future__ import annotations

import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch

from hepbench.conformance.claims import need, skip
from hepbench.conformance.network_trials import SIZES, differing_tensors, score_network
from hepbench.cost import counting, export, tracing
from hepbench.specs.errors import PluginError
from hepbench.training.networks import determinism, stored_networks

if TYPE_CHECKING:
    from hepbench.conformance.claims import Claim
    from hepbench.conformance.network_trials import ModelUnderTest
    from hepbench.specs.types import Array
    from hepbench.training.networks.network import Network


TOLERANCE = 1e-5
"""How far a score may be from itself in other company, as in a run."""


DEVICE_TOLERANCE = 1e-3
"""How far on another device, which may round the factors of a product to ten bits."""


def trained_claims(model: ModelUnderTest) -> list[Claim]:
    """Return what is claimed of a model that was trained by all its losses."""
    claims = [
        model.claim(
            "the same seed trains it to the same, bit by bit", _trains_from_seed, first=True
        ),
        model.claim("every parameter is trained by one of its losses", _gets_gradients),
        model.claim("in eval mode nothing is random, and nothing changes", _is_deterministic),
        model.claim("shuffled examples have shuffled scores", _ignores_order),
        model.claim("alone or in other company an example scores the same", _ignores_batch),
    ]
    if model.pretrains:
        claims.append(
            model.claim("in eval mode its own terms do not cross the batch", _terms_ignore_batch)
        )
    if "cloud" in model.spec.inputs:
        claims.append(model.claim("permuted particles score the same", _ignores_particle_order))
    if {"cloud", "mask"} <= {*model.spec.inputs}:
        claims.append(model.claim("more padding changes no score", _ignores_padding))
    counters = "both counters of its operations agree, or name what they miss"
    return [
        *claims,
        model.claim("on another device it scores the same", _agrees_on_other_device),
        model.claim("saved and loaded it scores the same, bit by bit", _saves_and_loads),
        model.claim("without what scoring does not use it scores the same", _scores_when_trimmed),
        model.claim(counters, _is_counted),
        model.claim("its ONNX graph scores the same, at another batch size", _is_exported),
    ]


def _trains_from_seed(model: ModelUnderTest) -> None:
    found = differing_tensors(model.trained, model.train(model.build(model.trial), model.trial))
    need(not found, f"two trainings from one seed differ in {', '.join(found[:3])}")


def _gets_gradients(model: ModelUnderTest) -> None:
    network = copy.deepcopy(model.trained).train()
    batch = model.batch(network)
    loss = torch.stack([term.sum() for term in model.all_terms(network, batch).values()]).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    own = [(n, p) for n, p in network.named_parameters() if not n.startswith("preprocess.")]
    idle = [n for n, p in own if p.grad is None or not p.grad.count_nonzero()]
    losses = "the labels or its own terms" if model.pretrains else "the labels"
    need(not idle, f"no gradient of {losses} reaches {', '.join(idle[:5])}")


def _is_deterministic(model: ModelUnderTest) -> None:
    network = model.trained
    before = copy.deepcopy(network)
    batch = model.batch(network)
    found = []
    for seed in (1, 2):
        with determinism.isolated_rng(seed), determinism.eval_mode(network), torch.no_grad():
            found.append({**model.all_terms(network, batch), "scores": network(batch.inputs)})
    for name, value in found[0].items():
        same = torch.equal(value, found[1][name])
        what = "scores are" if name == "scores" else f"term '{name}' is"
        need(same, f"in eval mode {what} random, or what was scored before plays a part")
    changed = differing_tensors(before, network)
    need(not changed, f"in eval mode it changes {', '.join(changed[:3])}")


def _ignores_order(model: ModelUnderTest) -> None:
    rows = np.random.default_rng(0).permutation(SIZES["test"])
    _need_same(model.scores(model.trained, rows), model.expected[rows], "shuffled")


def _ignores_batch(model: ModelUnderTest) -> None:
    for size in (1, 7):
        batches = "alone" if size == 1 else f"{size} at a time"
        _need_same(model.scores(model.trained, size=size), model.expected, batches)
    rows = np.arange(3, SIZES["test"], 4)
    _need_same(model.scores(model.trained, rows), model.expected[rows], "in other company")


def _need_same(found: Array, expected: Array, how: str, limit: float = TOLERANCE) -> None:
    difference = abs(found - expected).max()
    # written so that a NaN is refused
    need(difference <= limit, f"{how}, scores change by up to {difference:.2g}")


def _terms_ignore_batch(model: ModelUnderTest) -> None:
    network = model.trained
    batch = model.batch(network)
    some = {name: tensor[5:12] for name, tensor in batch.inputs.items()}
    with determinism.eval_mode(network), torch.no_grad():
        whole = network.encoder.pretraining_terms(batch.inputs)
        part = network.encoder.pretraining_terms(some)
    for name, term in whole.items():
        same = torch.allclose(part[name], term[5:12], rtol=1e-4, atol=1e-5)
        need(same, f"term '{name}' of an example depends on which others are in its batch")


def _ignores_particle_order(model: ModelUnderTest) -> None:
    particles = model.trial.shapes["cloud"][0]
    order = np.random.default_rng(0).permutation(particles)
    inputs = {
        name: array[:, order] if name in {"cloud", "mask", "neighbours"} else array
        for name, array in model.trial.inputs.items()
    }
    if "neighbours" in inputs:
        # where each place has gone
        inputs["neighbours"] = np.argsort(order)[inputs["neighbours"]]
    _need_same(
        score_network(model.trained, inputs), model.expected, "with particles in another order"
    )


def _ignores_padding(model: ModelUnderTest) -> None:
    inputs = dict(model.trial.inputs)
    for name in ("cloud", "mask"):
        array = inputs[name]
        more = np.zeros((len(array), 5, *array.shape[2:]), array.dtype)
        inputs[name] = np.concatenate([array, more], axis=1)
    if "neighbours" in inputs:
        array = inputs["neighbours"]
        own = np.arange(array.shape[1], array.shape[1] + 5)[:, None]
        more = np.broadcast_to(own, (len(array), 5, array.shape[2]))
        inputs["neighbours"] = np.concatenate([array, more], axis=1)
    _need_same(score_network(model.trained, inputs), model.expected, "with five more empty places")


def _agrees_on_other_device(model: ModelUnderTest) -> None:
    device = _second_device()
    network = copy.deepcopy(model.trained).to(device)
    if device.type == "meta":
        _runs_without_values(network)
        skip("no second device is here: its scores there could not be compared")
    _need_same(model.scores(network), model.expected, f"on {device.type}", DEVICE_TOLERANCE)


def _second_device() -> torch.device:
    """Return one that computes, or torch's ``meta``, where tensors have shapes and no values."""
    for name, module in (("cuda", torch.cuda), ("mps", torch.backends.mps)):
        if module.is_available():
            return torch.device(name)
    return torch.device("meta")


def _runs_without_values(network: Network) -> None:
    """Raise PluginError where a tensor stays behind that is no parameter and no buffer."""
    try:
        with determinism.eval_mode(network), torch.no_grad():
            network(network.example_inputs())
    except NotImplementedError:
        # what depends on values has none there
        return
    except RuntimeError as error:
        if "device" not in str(error):
            return
        msg = f"a tensor of it stays on the processor when it moves; buffers move too ({error})"
        raise PluginError(msg) from error


def _saves_and_loads(model: ModelUnderTest) -> None:
    with TemporaryDirectory() as folder:
        stored_networks.save(model.trained, Path(folder))
        again = stored_networks.load(Path(folder), model.trained.known)
    same = np.array_equal(model.scores(again), model.expected)
    need(same, "loaded, it scores otherwise: what it learns must be parameters and buffers")


def _scores_when_trimmed(model: ModelUnderTest) -> None:
    trimmed = copy.deepcopy(model.trained).trim()
    same = np.array_equal(model.scores(trimmed), model.expected)
    need(same, "it scores otherwise once the modules are dropped that no score depends on")


def _is_counted(model: ModelUnderTest) -> None:
    inputs = model.batch(model.trained).inputs
    counted = counting.count(copy.deepcopy(model.trained), tracing.batch(inputs, 1))
    need(counted.agrees or counted.gaps, "; ".join(counted.warnings))


def _is_exported(model: ModelUnderTest) -> None:
    if absent := export.missing():
        skip(absent)
    inputs = model.batch(model.trained).inputs
    with TemporaryDirectory() as folder:
        export.export(copy.deepcopy(model.trained), inputs, Path(folder) / "network.onnx")
