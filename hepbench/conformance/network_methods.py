"""Checks of method plugins that train networks, with a tiny autoencoder."""

from __future__ import annotations

import copy
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import torch

from hepbench.conformance import trials
from hepbench.conformance.claims import Claim, need
from hepbench.conformance.network_trials import (
    ModelUnderTest,
    as_in_a_worker,
    differing_tensors,
    score_network,
)
from hepbench.conformance.tiny_autoencoder import TINY_AUTOENCODER
from hepbench.conformance.trials import SEED
from hepbench.specs.errors import HepbenchError, PluginError, ProtocolError
from hepbench.specs.parameters import defaults, preset_names
from hepbench.training import network_runs
from hepbench.training.context import NetworkContext
from hepbench.training.networks import batches, stored_networks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from hepbench.conformance.trials import Trial
    from hepbench.registry.plugins import Entry, Registry
    from hepbench.specs.method import Method
    from hepbench.specs.training_data import Examples, TrainingData
    from hepbench.specs.types import Array, Params
    from hepbench.training.networks.network import Network


SIZES = {"train": 300, "validation": 150, "test": 200}


TRAINING_LIMITS = {"epochs": 4, "batch_size": 32, "min_steps": 1}
"""Upper limits of training settings: at most forty steps."""


STARTS = ("fresh", "encoder", "classifier")
"""Kinds of network that a method can start from without running another method."""


class MethodRun(NamedTuple):
    """A finished run of a method under test: its network, context and data."""

    network: Network
    context: NetworkContext
    data: TrainingData


class MethodUnderTest:
    """A method under test, and the network model that it is tested with."""

    def __init__(self, entry: Entry, registry: Registry) -> None:
        self.entry, self.registry = entry, registry
        self.spec: Method = entry.spec
        self._starts: dict[tuple[str, str], Network] = {}
        self._results: dict[tuple[str, str], MethodRun] = {}

    @cached_property
    def model(self) -> ModelUnderTest:
        """The model to test the method with: the tiny autoencoder if the method allows it."""
        entry = trials.model_for_method(TINY_AUTOENCODER, "encode", self.entry, self.registry)
        return ModelUnderTest(entry.spec, partial(trials.example_shapes, entry, self.registry))

    @cached_property
    def trials(self) -> list[Trial]:
        """Trials of the method under test: two classes, and three (weighted) unless refused."""
        shapes = self.model.trial.shapes
        two, three = (trials.made_up_trial(shapes, classes, sizes=SIZES) for classes in (2, 3))
        try:
            self.result(three)
        except HepbenchError:
            return [two]
        return [two, three]

    @property
    def starts(self) -> list[str]:
        """The starts that the method under test allows; otherwise its first method in ``after``."""
        return [start for start in STARTS if start in self.spec.after] or [self.spec.after[0]]

    def start(self, trial: Trial, name: str = "") -> Network:
        """Return a network that the method under test starts from: new or already trained.

        Each is made once and shared, so no claim may change it.
        """
        key = trial.name, name or self.starts[0]
        if key not in self._starts:
            self._starts[key] = self._make_start(trial, key[1])
        return self._starts[key]

    def _make_start(self, trial: Trial, name: str) -> Network:
        if name not in STARTS:
            before = MethodUnderTest(self.registry.entry("method", name), self.registry)
            return before.result(trial).network
        network = self.model.build(trial)
        if name != "fresh":
            network = self.model.train(network, trial)
        if name == "encoder":
            network.drop_head()
        return network

    def result(self, trial: Trial, name: str = "") -> MethodRun:
        """Run the method under test from a start, by default the first; each runs only once."""
        key = trial.name, name or self.starts[0]
        if key not in self._results:
            self._results[key] = self.run_on(self.start(trial, name), trial)
        return self._results[key]

    def run_on(
        self,
        start: Network,
        trial: Trial,
        *,
        params: Params | None = None,
        frozen: Iterable[str] = (),
        seed: int = SEED,
    ) -> MethodRun:
        """Run the method under test with its quick preset, for a few steps.

        Args:
            start: the network to start from; it is not changed.
            trial: its training and validation parts are the method's data.
            params: parameters that differ from the defaults.
            frozen: parts that the method must not change.
            seed: seed of the method's random numbers.
        """
        spec = self.spec
        chosen = {**defaults(spec.params, "quick"), **(params or {})}
        chosen |= {
            name: min(chosen[name], limit)
            for name, limit in TRAINING_LIMITS.items()
            if name in chosen
        }
        own_head = {spec.name: spec.head} if spec.head else {}
        task = self.model.task({})
        network = msgspec.structs.replace(
            network_runs.network_task(task),
            heads={**start.known.heads, **own_head},
            freezes=sorted(frozen),
        )
        task = msgspec.structs.replace(
            task, method=spec.name, run=spec.run, params=chosen, makes=spec.makes, network=network
        )
        data = trial.data(labels=spec.labels)
        with TemporaryDirectory() as folder, as_in_a_worker(SEED):
            before = [Path(folder)]
            stored_networks.save(start, before[0])
            result = network_runs.run(
                task, data, before=before, seed=seed, report_progress=_ignore_progress
            )
        return MethodRun(*result, data)


def _ignore_progress(words: str) -> None:
    """Ignore the progress of a training that a check starts."""


def method_claims(entry: Entry, registry: Registry) -> list[Claim]:
    """Return the claims to check about a method plugin that works with networks."""
    method = MethodUnderTest(entry, registry)
    spec = method.spec
    result = f"{'an' if spec.makes == 'encoder' else 'a'} {spec.makes}"
    suffix = "" if spec.labels else ", without using labels"
    claims = [
        Claim(
            f"makes {result} from a network{suffix}",
            partial(_check_returns_network, method),
            first=True,
        ),
        Claim(
            "leaves its batches unchanged",
            partial(_check_leaves_batches_unchanged, method),
        ),
        Claim(
            "the same seed gives a bit-identical network",
            partial(_check_same_seed_same_network, method),
        ),
        Claim(
            "the network can be saved and loaded without pickle",
            partial(_check_saves_and_loads, method),
        ),
    ]
    if spec.freezes:
        text = f"frozen parts stay bit-identical: {', '.join(sorted(spec.freezes))}"
        claims.append(Claim(text, partial(_check_keeps_frozen_parts, method)))
    if {"encoder", "classifier"} & {*method.starts}:
        claims.append(
            Claim(
                "pruned weights stay zero, or pruned networks are refused with a reason",
                partial(_check_keeps_pruned_weights, method),
            )
        )
    if spec.makes == "classifier":
        text = "score columns of the network are in the order of the classes: no AUC far below 0.5"
        claims.append(Claim(text, partial(_check_order_of_classes, method)))
    if preset_names(spec.params):
        claims.append(
            Claim("trains a network with each preset", partial(_check_runs_presets, method))
        )
    return claims


def _check_returns_network(method: MethodUnderTest) -> None:
    """Check that the method makes a network with finite scores or latents."""
    for trial in method.trials:
        for name in method.starts:
            _scores_or_latents(method, trial, method.result(trial, name).network)


def _scores_or_latents(method: MethodUnderTest, trial: Trial, network: Network) -> Array:
    """Return what a method under test made: a classifier's scores, or an encoder's latents."""
    if method.spec.makes == "classifier":
        return score_network(network, trial.inputs)
    with as_in_a_worker(SEED):
        latents = NetworkContext(seed=SEED).encode(network, trial.parts["test"])
    need(np.isfinite(latents).all(), f"{trial.name}: latents are not finite")
    return latents


def _check_leaves_batches_unchanged(method: MethodUnderTest) -> None:
    network, context, data = method.result(method.trials[0])
    for part, examples in (("train", data.train), ("validation", data.validation)):
        fresh = batches.source(examples, network.preprocess, device=context.device)
        given = context.source(network, examples)
        for name, expected in _tensors_of_batch(fresh.batch(slice(None))).items():
            same = torch.equal(_tensors_of_batch(given.batch(slice(None)))[name], expected)
            need(
                same,
                f"the method writes into {name} of the {part} batches, which later steps use again",
            )


def _tensors_of_batch(batch: Examples) -> dict[str, Tensor]:
    columns = {"labels": batch.labels, "weights": batch.weights, "ids": batch.ids}
    named = {f"'{name}'": tensor for name, tensor in batch.inputs.items()}
    return {**named, **{n: tensor for n, tensor in columns.items() if tensor is not None}}


def _check_same_seed_same_network(method: MethodUnderTest) -> None:
    trial = method.trials[0]
    again = method.run_on(method.start(trial), trial).network
    found = differing_tensors(method.result(trial).network, again)
    need(not found, f"two runs of the method with one seed differ in {', '.join(found[:3])}")


def _check_saves_and_loads(method: MethodUnderTest) -> None:
    trial = method.trials[0]
    network = method.result(trial).network
    with TemporaryDirectory() as folder:
        stored_networks.save(network, Path(folder))
        again = stored_networks.load(Path(folder), network.known)
    same = np.array_equal(
        _scores_or_latents(method, trial, again), _scores_or_latents(method, trial, network)
    )
    need(
        same,
        "the network differs after loading; learned values must be parameters or buffers",
    )


def _check_keeps_frozen_parts(method: MethodUnderTest) -> None:
    for trial in method.trials:
        for name in method.starts:
            method.run_on(method.start(trial, name), trial, frozen=method.spec.freezes)


def _check_keeps_pruned_weights(method: MethodUnderTest) -> None:
    trial = method.trials[0]
    for name in method.starts:
        if name == "fresh":
            continue
        start = copy.deepcopy(method.start(trial, name))
        masked, weight = next((n, p) for n, p in start.named_parameters() if p.ndim > 1)
        mask = weight.abs() > weight.abs().median()
        start.masks = {masked: mask}
        start.apply_masks()
        try:
            found = method.run_on(start, trial).network
        except ProtocolError:
            raise
        except HepbenchError:
            continue
        after = dict(found.named_parameters()).get(masked)
        zero = after is None or after.shape != mask.shape or not after[~mask].any()
        need(zero, f"pruned weights of {masked} are no longer zero")


def _check_order_of_classes(method: MethodUnderTest) -> None:
    """Check the order of score columns with up to three seeds; one may fail by chance."""
    for trial in method.trials:
        start, seeds = method.start(trial), [SEED + 1, SEED + 2]
        found = method.result(trial).network
        while True:
            try:
                trials.need_order(trial, score_network(found, trial.inputs))
            except PluginError:
                if not seeds:
                    raise
                found = method.run_on(start, trial, seed=seeds.pop()).network
            else:
                break


def _check_runs_presets(method: MethodUnderTest) -> None:
    trial = method.trials[0]
    for name in preset_names(method.spec.params):
        params = defaults(method.spec.params, name)
        try:
            found = method.run_on(method.start(trial), trial, params=params)
        except HepbenchError as error:
            msg = f"preset '{name}': {error}"
            raise PluginError(msg) from error
        _scores_or_latents(method, trial, found.network)
