"""What a method that works with networks promises, tried on a tiny one."""

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
from hepbench.conformance.network_trials import Tried, as_in_a_worker, differing, scored
from hepbench.conformance.tiny import TINY
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


MOST = {"epochs": 4, "batch_size": 32, "min_steps": 1}
"""What a method that trains is told at most: forty steps."""


STARTS = ("fresh", "encoder", "classifier")
"""What the kit makes itself for a method to follow."""


class Ran(NamedTuple):
    """A method that has run: what it made, what it was lent and what it was given."""

    network: Network
    context: NetworkContext
    data: TrainingData


class TriedMethod:
    """A method, and the network that it is tried on."""

    def __init__(self, entry: Entry, registry: Registry) -> None:
        self.entry, self.registry = entry, registry
        self.spec: Method = entry.spec
        self._starts: dict[tuple[str, str], Network] = {}
        self._made: dict[tuple[str, str], Ran] = {}

    @cached_property
    def model(self) -> Tried:
        """The kit's own, or an installed one that offers what is needed."""
        entry = trials.tried_on(TINY, "encode", self.entry, self.registry)
        return Tried(entry.spec, partial(trials.shapes, entry, self.registry))

    @cached_property
    def trials(self) -> list[Trial]:
        """Two made-up classes, and three, which come with weights, unless it refuses them."""
        shapes = self.model.trial.shapes
        two, three = (trials.made_up(shapes, classes, sizes=SIZES) for classes in (2, 3))
        try:
            self.made(three)
        except HepbenchError:
            return [two]
        return [two, three]

    @property
    def starts(self) -> list[str]:
        """What it may follow of what the kit makes; else the method that it names first."""
        return [start for start in STARTS if start in self.spec.after] or [self.spec.after[0]]

    def start(self, trial: Trial, name: str = "") -> Network:
        """Return a network as built, one that was trained, or what another method makes; made once.

        What is done with it must leave it as it is.
        """
        key = trial.name, name or self.starts[0]
        if key not in self._starts:
            self._starts[key] = self._start(trial, key[1])
        return self._starts[key]

    def _start(self, trial: Trial, name: str) -> Network:
        if name not in STARTS:
            before = TriedMethod(self.registry.entry("method", name), self.registry)
            return before.made(trial).network
        network = self.model.built(trial)
        if name != "fresh":
            network = self.model.taught(network, trial)
        if name == "encoder":
            network.drop_head()
        return network

    def made(self, trial: Trial, name: str = "") -> Ran:
        """Return what it makes of a start, by default the first; made once."""
        key = trial.name, name or self.starts[0]
        if key not in self._made:
            self._made[key] = self.ran(self.start(trial, name), trial)
        return self._made[key]

    def ran(
        self,
        start: Network,
        trial: Trial,
        *,
        params: Params | None = None,
        frozen: Iterable[str] = (),
        seed: int = SEED,
    ) -> Ran:
        """Return what it makes of a start by the defaults of its preset, in a few steps.

        Args:
            start: stays as it is.
            trial: its training and validation parts are handed to it.
            params: other than by default.
            frozen: parts that must come out as they went in.
            seed: of whatever it draws.
        """
        spec = self.spec
        chosen = {**defaults(spec.params, "quick"), **(params or {})}
        chosen |= {name: min(chosen[name], most) for name, most in MOST.items() if name in chosen}
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
            made = network_runs.run(task, data, before=before, seed=seed, report_progress=_nobody)
        return Ran(*made, data)


def _nobody(words: str) -> None:
    """Hear how far a training is."""


def of_method(entry: Entry, registry: Registry) -> list[Claim]:
    """Return what is claimed of a method that networks can follow."""
    it = TriedMethod(entry, registry)
    spec = it.spec
    made = f"{'an' if spec.makes == 'encoder' else 'a'} {spec.makes}"
    blind = "" if spec.labels else ", without labels"
    claims = [
        Claim(f"it turns a network into {made}{blind}", partial(_turns, it), first=True),
        Claim("the batches that it is lent stay as they were", partial(_spares_batches, it)),
        Claim("the same seed gives the same network, bit by bit", partial(_makes_the_same, it)),
        Claim("its network is stored and put back without pickle", partial(_is_stored, it)),
    ]
    if spec.freezes:
        text = f"{' and '.join(sorted(spec.freezes))} comes out bit-identical"
        claims.append(Claim(text, partial(_freezes, it)))
    if {"encoder", "classifier"} & {*it.starts}:
        claims.append(
            Claim("weights pruned before stay zero, or it says why not", partial(_prunes, it))
        )
    if spec.makes == "classifier":
        text = "the column of a class is its own in the network's scores: no AUC far below .5"
        claims.append(Claim(text, partial(_is_ordered, it)))
    if preset_names(spec.params):
        claims.append(Claim("it trains a network with each preset", partial(_runs_presets, it)))
    return claims


def _turns(it: TriedMethod) -> None:
    """That there is a head where there must be one, the core asks at each run."""
    for trial in it.trials:
        for name in it.starts:
            _kept(it, trial, it.made(trial, name).network)


def _kept(it: TriedMethod, trial: Trial, network: Network) -> Array:
    """Return the scores of a classifier; of an encoder, its codes."""
    if it.spec.makes == "classifier":
        return scored(network, trial.inputs)
    with as_in_a_worker(SEED):
        codes = NetworkContext(seed=SEED).encode(network, trial.parts["test"])
    need(np.isfinite(codes).all(), f"{trial.name}: codes are not finite")
    return codes


def _spares_batches(it: TriedMethod) -> None:
    network, context, data = it.made(it.trials[0])
    for part, examples in (("train", data.train), ("validation", data.validation)):
        fresh = batches.source(examples, network.preprocess, device=context.device)
        lent = context.source(network, examples)
        for name, expected in _tensors(fresh.batch(slice(None))).items():
            same = torch.equal(_tensors(lent.batch(slice(None)))[name], expected)
            need(same, f"it writes into {name} of the {part} batches; the next is handed the same")


def _tensors(batch: Examples) -> dict[str, Tensor]:
    columns = {"labels": batch.labels, "weights": batch.weights, "ids": batch.ids}
    named = {f"'{name}'": tensor for name, tensor in batch.inputs.items()}
    return {**named, **{n: tensor for n, tensor in columns.items() if tensor is not None}}


def _makes_the_same(it: TriedMethod) -> None:
    trial = it.trials[0]
    again = it.ran(it.start(trial), trial).network
    found = differing(it.made(trial).network, again)
    need(not found, f"two runs with one seed differ in {', '.join(found[:3])}")


def _is_stored(it: TriedMethod) -> None:
    trial = it.trials[0]
    network = it.made(trial).network
    with TemporaryDirectory() as folder:
        stored_networks.save(network, Path(folder))
        again = stored_networks.load(Path(folder), network.known)
    same = np.array_equal(_kept(it, trial, again), _kept(it, trial, network))
    need(same, "put back, it scores otherwise: what it learns must be parameters and buffers")


def _freezes(it: TriedMethod) -> None:
    for trial in it.trials:
        for name in it.starts:
            it.ran(it.start(trial, name), trial, frozen=it.spec.freezes)


def _prunes(it: TriedMethod) -> None:
    trial = it.trials[0]
    for name in it.starts:
        if name == "fresh":
            continue
        start = copy.deepcopy(it.start(trial, name))
        masked, weight = next((n, p) for n, p in start.named_parameters() if p.ndim > 1)
        mask = weight.abs() > weight.abs().median()
        start.masks = {masked: mask}
        start.apply_masks()
        try:
            found = it.ran(start, trial).network
        except ProtocolError:
            raise
        except HepbenchError:
            continue
        after = dict(found.named_parameters()).get(masked)
        zero = after is None or after.shape != mask.shape or not after[~mask].any()
        need(zero, f"weights of {masked} that a mask held at zero are trained again")


def _is_ordered(it: TriedMethod) -> None:
    """What has hardly learned may be wrong by chance, but not with each of three seeds."""
    for trial in it.trials:
        start, seeds = it.start(trial), [SEED + 1, SEED + 2]
        found = it.made(trial).network
        while True:
            try:
                trials.need_order(trial, scored(found, trial.inputs))
            except PluginError:
                if not seeds:
                    raise
                found = it.ran(start, trial, seed=seeds.pop()).network
            else:
                break


def _runs_presets(it: TriedMethod) -> None:
    trial = it.trials[0]
    for name in preset_names(it.spec.params):
        try:
            found = it.ran(it.start(trial), trial, params=defaults(it.spec.params, name))
        except HepbenchError as error:
            msg = f"preset '{name}': {error}"
            raise PluginError(msg) from error
        _kept(it, trial, found.network)
