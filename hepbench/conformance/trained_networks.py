"""Checks of network plugins (models that encode), with a briefly trained network."""

from __future__ import annotations

import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch

from hepbench.conformance.claims import need, skip
from hepbench.conformance.network_trials import SIZES, differing_tensors, score_network
from hepbench.cost import counting, export, onnx_runtime, tracing
from hepbench.specs.errors import PluginError
from hepbench.training.networks import determinism, stored_networks

if TYPE_CHECKING:
    from hepbench.conformance.claims import Claim
    from hepbench.conformance.network_trials import ModelUnderTest
    from hepbench.specs.types import Array
    from hepbench.training.networks.network import Network


TOLERANCE = 1e-5
"""Largest change of a score when other examples are scored with it, as in a run."""


DEVICE_TOLERANCE = 1e-3
"""The same on another device, which may round factors to ten bits."""


OF_PARTICLES = frozenset({"cloud", "mask", "neighbours", "momenta"})
"""Inputs whose second axis is that of particles."""


BOOSTS = "boosts-along-beam"
"""The symmetry that an encoder of ``momenta`` may claim."""


RAPIDITY = 0.7
"""Rapidity of the boost along the beam under which scores must not change."""


BOOST_TOLERANCE = 1e-3
"""Largest change of a score under a boost: float32 rounds the angles between boosted particles."""


def trained_claims(model: ModelUnderTest) -> list[Claim]:
    """Return the claims to check about the trained network of a plugin."""
    claims = [
        model.claim(
            "training with the same seed gives bit-identical parameters",
            _check_same_seed_same_training,
            first=True,
        ),
        model.claim("every parameter gets a gradient from a loss", _check_gradients),
        model.claim("in eval mode nothing is random and nothing changes", _check_deterministic),
        model.claim("shuffling the examples only shuffles the scores", _check_ignores_order),
        model.claim(
            "the score of an example does not depend on the other examples in its batch",
            _check_ignores_batch,
        ),
    ]
    if model.pretrains:
        claims.append(
            model.claim(
                "in eval mode pretraining terms do not depend on other examples in the batch",
                _check_terms_ignore_batch,
            )
        )
    counters = "both counters of operations agree, or name what they do not count"
    return [
        *claims,
        *_particle_claims(model),
        model.claim("scores are the same on another device", _check_other_device),
        model.claim("scores are bit-identical after saving and loading", _check_saves_and_loads),
        model.claim(
            "scores are bit-identical without the modules that scoring does not use",
            _check_scores_of_trimmed_network,
        ),
        model.claim(counters, _check_operation_counts),
        model.claim(
            "the ONNX graph gives the same scores, at another batch size", _check_onnx_export
        ),
    ]


def _particle_claims(model: ModelUnderTest) -> list[Claim]:
    """Return the claims to check about a trained network of particles, none for others."""
    inputs, claims = {*model.spec.inputs}, []
    if "cloud" in inputs:
        text = "permuting particles does not change scores"
        claims.append(model.claim(text, _check_ignores_particle_order))
    if {"cloud", "mask"} <= inputs:
        claims.append(model.claim("more padding does not change scores", _check_ignores_padding))
    if "momenta" in inputs:
        text = "momenta boosted along the beam give the same scores, if its encoder claims so"
        claims.append(model.claim(text, _check_boost))
    return claims


def _check_same_seed_same_training(model: ModelUnderTest) -> None:
    found = differing_tensors(model.trained, model.train(model.build(model.trial), model.trial))
    need(not found, f"two trainings with one seed differ in {', '.join(found[:3])}")


def _check_gradients(model: ModelUnderTest) -> None:
    network = copy.deepcopy(model.trained).train()
    batch = model.batch(network)
    loss = torch.stack([term.sum() for term in model.all_terms(network, batch).values()]).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    parameters = [(n, p) for n, p in network.named_parameters() if not n.startswith("preprocess.")]
    without_gradient = [n for n, p in parameters if p.grad is None or not p.grad.count_nonzero()]
    losses = "the labels or the pretraining terms" if model.pretrains else "the labels"
    need(
        not without_gradient,
        f"the loss from {losses} gives no gradient for {', '.join(without_gradient[:5])}",
    )


def _check_deterministic(model: ModelUnderTest) -> None:
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
        need(same, f"in eval mode {what} random or changed by earlier calls")
    changed = differing_tensors(before, network)
    need(not changed, f"scoring in eval mode changes {', '.join(changed[:3])}")


def _check_ignores_order(model: ModelUnderTest) -> None:
    rows = np.random.default_rng(0).permutation(SIZES["test"])
    _need_same_scores(model.scores(model.trained, rows), model.expected[rows], "shuffled")


def _check_ignores_batch(model: ModelUnderTest) -> None:
    for size in (1, 7):
        how_many = "alone" if size == 1 else f"{size} at a time"
        _need_same_scores(model.scores(model.trained, size=size), model.expected, how_many)
    rows = np.arange(3, SIZES["test"], 4)
    _need_same_scores(
        model.scores(model.trained, rows), model.expected[rows], "with other examples"
    )


def _need_same_scores(found: Array, expected: Array, how: str, limit: float = TOLERANCE) -> None:
    difference = abs(found - expected).max()
    # this way round, a NaN fails
    need(difference <= limit, f"{how}, scores change by up to {difference:.2g}")


def _check_terms_ignore_batch(model: ModelUnderTest) -> None:
    network = model.trained
    batch = model.batch(network)
    subset = {name: tensor[5:12] for name, tensor in batch.inputs.items()}
    with determinism.eval_mode(network), torch.no_grad():
        whole = network.encoder.pretraining_terms(batch.inputs)
        part = network.encoder.pretraining_terms(subset)
    for name, term in whole.items():
        same = torch.allclose(part[name], term[5:12], rtol=1e-4, atol=1e-5)
        need(same, f"term '{name}' of an example depends on the other examples in its batch")


def _check_ignores_particle_order(model: ModelUnderTest) -> None:
    particles = model.trial.shapes["cloud"][0]
    order = np.random.default_rng(0).permutation(particles)
    inputs = {
        name: array[:, order] if name in OF_PARTICLES else array
        for name, array in model.trial.inputs.items()
    }
    if "neighbours" in inputs:
        # the new index of each particle
        inputs["neighbours"] = np.argsort(order)[inputs["neighbours"]]
    _need_same_scores(
        score_network(model.trained, inputs), model.expected, "with particles in another order"
    )


def _check_ignores_padding(model: ModelUnderTest) -> None:
    inputs = dict(model.trial.inputs)
    for name in OF_PARTICLES - {"neighbours"} & inputs.keys():
        array = inputs[name]
        padding = np.zeros((len(array), 5, *array.shape[2:]), array.dtype)
        inputs[name] = np.concatenate([array, padding], axis=1)
    if "neighbours" in inputs:
        array = inputs["neighbours"]
        own_places = np.arange(array.shape[1], array.shape[1] + 5)[:, None]
        padding = np.broadcast_to(own_places, (len(array), 5, array.shape[2]))
        inputs["neighbours"] = np.concatenate([array, padding], axis=1)
    _need_same_scores(
        score_network(model.trained, inputs), model.expected, "with five more padded particles"
    )


def _check_boost(model: ModelUnderTest) -> None:
    claimed = getattr(model.trained.encoder, "symmetries", ())
    unknown = sorted({*claimed} - {BOOSTS})
    need(not unknown, f"symmetry {''.join(unknown[:1])!r} is unknown; known: {BOOSTS}")
    if BOOSTS not in claimed:
        skip(f"its encoder does not have '{BOOSTS}' among its symmetries")
    inputs = dict(model.trial.inputs)
    inputs["momenta"] = boosted(inputs["momenta"])
    found = score_network(model.trained, inputs)
    _need_same_scores(found, model.expected, "with boosted momenta", BOOST_TOLERANCE)


def boosted(momenta: Array) -> Array:
    """Return momenta (..., 4) of a trial, px, py, pz and energy, boosted along the beam."""
    px, py, pz, energy = np.moveaxis(momenta.astype(np.float64), -1, 0)
    cosh, sinh = np.cosh(RAPIDITY), np.sinh(RAPIDITY)
    columns = px, py, cosh * pz + sinh * energy, cosh * energy + sinh * pz
    return np.stack(columns, axis=-1).astype(np.float32)


def _check_other_device(model: ModelUnderTest) -> None:
    device = _second_device()
    network = copy.deepcopy(model.trained).to(device)
    if device.type == "meta":
        _check_meta_device(network)
        skip("needs a GPU: scores on it are compared with those on the CPU")
    _need_same_scores(model.scores(network), model.expected, f"on {device.type}", DEVICE_TOLERANCE)


def _second_device() -> torch.device:
    """Return a second device to test a network on: a GPU, or torch's ``meta`` device."""
    for name, module in (("cuda", torch.cuda), ("mps", torch.backends.mps)):
        if module.is_available():
            return torch.device(name)
    return torch.device("meta")


def _check_meta_device(network: Network) -> None:
    """Check that all tensors of a network move to the ``meta`` device with it."""
    try:
        with determinism.eval_mode(network), torch.no_grad():
            network(network.example_inputs())
    except NotImplementedError:
        # a step that depends on values cannot run without them
        return
    except RuntimeError as error:
        if "device" not in str(error):
            return
        msg = f"a tensor stays on the CPU when the network moves; register it as a buffer ({error})"
        raise PluginError(msg) from error


def _check_saves_and_loads(model: ModelUnderTest) -> None:
    with TemporaryDirectory() as folder:
        stored_networks.save(model.trained, Path(folder))
        again = stored_networks.load(Path(folder), model.trained.known)
    same = np.array_equal(model.scores(again), model.expected)
    need(same, "scores differ after loading; learned values must be parameters or buffers")


def _check_scores_of_trimmed_network(model: ModelUnderTest) -> None:
    trimmed = copy.deepcopy(model.trained).trim()
    same = np.array_equal(model.scores(trimmed), model.expected)
    need(same, "scores differ when the modules that scoring does not use are removed")


def _check_operation_counts(model: ModelUnderTest) -> None:
    inputs = model.batch(model.trained).inputs
    counted = counting.count(copy.deepcopy(model.trained), tracing.batch(inputs, 1))
    need(counted.agrees or counted.gaps, "; ".join(counted.warnings))


def _check_onnx_export(model: ModelUnderTest) -> None:
    if absent := onnx_runtime.missing():
        skip(absent)
    inputs = model.batch(model.trained).inputs
    with TemporaryDirectory() as folder:
        export.export(copy.deepcopy(model.trained), inputs, Path(folder) / "network.onnx")
