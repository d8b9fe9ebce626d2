"""What a model that encodes promises, tried after a moment of training."""

from __future__ import annotations

import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch

from hepbench.conformance.claims import need, skip
from hepbench.conformance.network_trials import SIZES, differing, scored
from hepbench.cost import counting, export, tracing
from hepbench.specs.errors import PluginError
from hepbench.training.networks import determinism, stored_networks

if TYPE_CHECKING:
    from hepbench.conformance.claims import Claim
    from hepbench.conformance.network_trials import Tried
    from hepbench.specs.types import Array
    from hepbench.training.networks.network import Network


SAME = 1e-5
"""How far a score may be from itself in other company, as in a run."""


SAME_THERE = 1e-3
"""How far on another device, which may round the factors of a product to ten bits."""


def of_trained(it: Tried) -> list[Claim]:
    """Return what is claimed of a model that was trained by all its losses."""
    claims = [
        it.claim("the same seed trains it to the same, bit by bit", _trains_the_same, first=True),
        it.claim("every parameter is trained by one of its losses", _is_reached),
        it.claim("in eval mode nothing is random, and nothing changes", _settles),
        it.claim("shuffled examples have shuffled scores", _permutes),
        it.claim("alone or in other company an example scores the same", _is_alone),
    ]
    if it.pretrains:
        claims.append(it.claim("in eval mode its own terms do not cross the batch", _terms_alone))
    if "cloud" in it.spec.inputs:
        claims.append(it.claim("permuted particles score the same", _permutes_particles))
    if {"cloud", "mask"} <= {*it.spec.inputs}:
        claims.append(it.claim("more padding changes no score", _pads))
    counters = "both counters of its operations agree, or name what they miss"
    return [
        *claims,
        it.claim("on another device it scores the same", _moves_device),
        it.claim("saved and loaded it scores the same, bit by bit", _is_stored),
        it.claim("without what scoring does not use it scores the same", _is_trimmed),
        it.claim(counters, _is_counted),
        it.claim("its ONNX graph scores the same, at another batch size", _is_exported),
    ]


def _trains_the_same(it: Tried) -> None:
    found = differing(it.trained, it.taught(it.built(it.trial), it.trial))
    need(not found, f"two trainings from one seed differ in {', '.join(found[:3])}")


def _is_reached(it: Tried) -> None:
    network = copy.deepcopy(it.trained).train()
    batch = it.batch(network)
    loss = torch.stack([term.sum() for term in it.terms(network, batch).values()]).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    own = [(n, p) for n, p in network.named_parameters() if not n.startswith("preprocess.")]
    idle = [n for n, p in own if p.grad is None or not p.grad.count_nonzero()]
    losses = "the labels or its own terms" if it.pretrains else "the labels"
    need(not idle, f"no gradient of {losses} reaches {', '.join(idle[:5])}")


def _settles(it: Tried) -> None:
    network = it.trained
    before = copy.deepcopy(network)
    batch = it.batch(network)
    found = []
    for seed in (1, 2):
        with determinism.isolated_rng(seed), determinism.eval_mode(network), torch.no_grad():
            found.append({**it.terms(network, batch), "scores": network(batch.inputs)})
    for name, value in found[0].items():
        same = torch.equal(value, found[1][name])
        what = "scores are" if name == "scores" else f"term '{name}' is"
        need(same, f"in eval mode {what} random, or what was scored before plays a part")
    changed = differing(before, network)
    need(not changed, f"in eval mode it changes {', '.join(changed[:3])}")


def _permutes(it: Tried) -> None:
    rows = np.random.default_rng(0).permutation(SIZES["test"])
    _need_same(it.scores(it.trained, rows), it.expected[rows], "shuffled")


def _is_alone(it: Tried) -> None:
    for size in (1, 7):
        company = "alone" if size == 1 else f"{size} at a time"
        _need_same(it.scores(it.trained, size=size), it.expected, company)
    rows = np.arange(3, SIZES["test"], 4)
    _need_same(it.scores(it.trained, rows), it.expected[rows], "in other company")


def _need_same(found: Array, expected: Array, how: str, limit: float = SAME) -> None:
    difference = abs(found - expected).max()
    # written so that a NaN is refused
    need(difference <= limit, f"{how}, scores change by up to {difference:.2g}")


def _terms_alone(it: Tried) -> None:
    network = it.trained
    batch = it.batch(network)
    some = {name: tensor[5:12] for name, tensor in batch.inputs.items()}
    with determinism.eval_mode(network), torch.no_grad():
        whole = network.encoder.pretraining_terms(batch.inputs)
        part = network.encoder.pretraining_terms(some)
    for name, term in whole.items():
        same = torch.allclose(part[name], term[5:12], rtol=1e-4, atol=1e-5)
        need(same, f"term '{name}' of an example depends on which others are in its batch")


def _permutes_particles(it: Tried) -> None:
    particles = it.trial.shapes["cloud"][0]
    order = np.random.default_rng(0).permutation(particles)
    inputs = {
        name: array[:, order] if name in {"cloud", "mask", "neighbours"} else array
        for name, array in it.trial.inputs.items()
    }
    if "neighbours" in inputs:
        # where each place has gone
        inputs["neighbours"] = np.argsort(order)[inputs["neighbours"]]
    _need_same(scored(it.trained, inputs), it.expected, "with particles in another order")


def _pads(it: Tried) -> None:
    inputs = dict(it.trial.inputs)
    for name in ("cloud", "mask"):
        array = inputs[name]
        more = np.zeros((len(array), 5, *array.shape[2:]), array.dtype)
        inputs[name] = np.concatenate([array, more], axis=1)
    if "neighbours" in inputs:
        array = inputs["neighbours"]
        own = np.arange(array.shape[1], array.shape[1] + 5)[:, None]
        more = np.broadcast_to(own, (len(array), 5, array.shape[2]))
        inputs["neighbours"] = np.concatenate([array, more], axis=1)
    _need_same(scored(it.trained, inputs), it.expected, "with five more empty places")


def _moves_device(it: Tried) -> None:
    there = _second_device()
    network = copy.deepcopy(it.trained).to(there)
    if there.type == "meta":
        _runs_without_values(network)
        skip("no second device is here: its scores there could not be compared")
    _need_same(it.scores(network), it.expected, f"on {there.type}", SAME_THERE)


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


def _is_stored(it: Tried) -> None:
    with TemporaryDirectory() as folder:
        stored_networks.save(it.trained, Path(folder))
        again = stored_networks.load(Path(folder), it.trained.known)
    same = np.array_equal(it.scores(again), it.expected)
    need(same, "loaded, it scores otherwise: what it learns must be parameters and buffers")


def _is_trimmed(it: Tried) -> None:
    trimmed = copy.deepcopy(it.trained).trim()
    same = np.array_equal(it.scores(trimmed), it.expected)
    need(same, "it scores otherwise once the modules are dropped that no score depends on")


def _is_counted(it: Tried) -> None:
    inputs = it.batch(it.trained).inputs
    counted = counting.count(copy.deepcopy(it.trained), tracing.batch(inputs, 1))
    need(counted.agrees or counted.gaps, "; ".join(counted.warnings))


def _is_exported(it: Tried) -> None:
    if absent := export.missing():
        skip(absent)
    inputs = it.batch(it.trained).inputs
    with TemporaryDirectory() as folder:
        export.export(copy.deepcopy(it.trained), inputs, Path(folder) / "network.onnx")
