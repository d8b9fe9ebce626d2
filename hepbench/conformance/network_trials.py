"""Builds and briefly trains the networks under test, in the conditions of a worker."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch

from hepbench.conformance import trials
from hepbench.conformance.claims import Claim
from hepbench.conformance.trials import SEED
from hepbench.specs.method import Objective
from hepbench.specs.parameters import defaults
from hepbench.training import network_runs, objectives, score_checks
from hepbench.training.context import NetworkContext
from hepbench.training.messages import MethodTask, NetworkTask
from hepbench.training.networks import batches, determinism, scoring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor, nn

    from hepbench.conformance.trials import Shapes, Trial
    from hepbench.specs.model import Model
    from hepbench.specs.training_data import Examples
    from hepbench.specs.types import Array, Inputs, Params
    from hepbench.training.networks.network import Network


SIZES = {"train": 96, "validation": 32, "test": 40}


SHORT_TRAINING = {"epochs": 2, "batch_size": 32}


LEARNING_RATE = 3e-3


class ModelUnderTest:
    """A network model under test, with one briefly trained network.

    Args:
        spec: the spec of the model.
        shapes: returns possible shapes of one example, the preferred ones first.
    """

    def __init__(self, spec: Model, shapes: Callable[[], list[Shapes]]) -> None:
        self.spec, self.shapes = spec, shapes

    def claim(
        self, text: str, run: Callable[[ModelUnderTest], None], *, first: bool = False
    ) -> Claim:
        """Return a claim to check about the model under test, in the conditions of a worker."""
        return Claim(text, partial(_run_as_in_a_worker, run, self), first=first)

    @property
    def params(self) -> Params:
        """Parameters of the model under test, from the preset ``quick`` if it exists."""
        return defaults(self.spec.all_params, "quick")

    @property
    def pretrains(self) -> bool:
        """Whether the model under test has a pretraining loss."""
        return "pretrain" in self.spec.offers

    @cached_property
    def trial(self) -> Trial:
        """A trial with two classes, with the first shapes that the model under test accepts.

        Raises:
            Exception: the model accepts no shapes; the error is that for the first shapes.
        """
        first: Exception | None = None
        for shapes in self.shapes():
            trial = trials.made_up_trial(shapes, 2, sizes=SIZES)
            try:
                assert self.build(trial).width
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                first = first or error
            else:
                return trial
        assert first is not None
        raise first

    def task(self, params: Params) -> MethodTask:
        """Return a worker's task that builds the model under test and applies no method."""
        chosen = {**self.params, **params}
        preprocess = list(chosen.pop("preprocess"))
        return MethodTask(
            method="",
            run="",
            params={},
            model=self.spec.name,
            build=self.spec.build,
            model_params=chosen,
            makes="classifier",
            classes=2,
            steps=[],
            seed=SEED,
            network=NetworkTask(preprocess=preprocess),
        )

    def build(self, trial: Trial, *, seed: int = SEED, **params: Any) -> Network:
        """Build a network of the model under test, with fitted preprocessing."""
        with as_in_a_worker(seed):
            inputs = trial.parts["train"].inputs
            return network_runs.fresh(self.task(params), inputs, classes=trial.classes)

    def classifier(self, trial: Trial | None = None) -> Network:
        """Build a network of the model under test, with a head."""
        network = self.build(trial or self.trial)
        with as_in_a_worker(SEED):
            return network.with_head()

    def train(self, network: Network, trial: Trial) -> Network:
        """Train a network under test briefly, on labels and on its pretraining loss."""
        with as_in_a_worker(SEED):
            network = network if network.head else network.with_head()
            objective = Objective(self.all_terms, {"encoder": LEARNING_RATE, "head": LEARNING_RATE})
            context = NetworkContext(seed=SEED)
            return context.fit(network, trial.data(), objective, **SHORT_TRAINING)

    @cached_property
    def trained(self) -> Network:
        """The trained network under test, shared by all checks, which must not change it."""
        return self.train(self.build(self.trial), self.trial)

    def all_terms(self, network: Any, batch: Examples) -> dict[str, Tensor]:
        """Return all loss terms of the model under test, one value per example."""
        return {
            **self.pretraining_terms(network, batch),
            **objectives.classification(network, batch),
        }

    def pretraining_terms(self, network: Any, batch: Examples) -> Mapping[str, Tensor]:
        """Return the pretraining loss terms of the model under test; empty if it has none."""
        return objectives.pretraining(network, batch) if self.pretrains else {}

    def scores(self, network: Network, rows: Any = slice(None), *, size: int = 1000) -> Array:
        """Return scores by a network under test of the test part, or of some rows of it."""
        inputs = {name: array[rows] for name, array in self.trial.inputs.items()}
        return score_network(network, inputs, size=size)

    @cached_property
    def expected(self) -> Array:
        """Scores of the test part by the trained network under test."""
        return self.scores(self.trained)

    def batch(self, network: Network, n: int = 32) -> Examples:
        """Return the trial's first training examples as a preprocessed batch for a check."""
        examples = self.trial.parts["train"][:n]
        return batches.source(examples, network.preprocess, device=network.device).batch(slice(n))


@contextmanager
def as_in_a_worker(seed: int) -> Iterator[None]:
    """Run a check as in a worker: one thread, deterministic, seeded; undo this afterwards."""
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    determinism.make_deterministic(1)
    try:
        with determinism.isolated_rng(seed):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(mode)


def _run_as_in_a_worker(run: Callable[[ModelUnderTest], None], model: ModelUnderTest) -> None:
    with as_in_a_worker(SEED):
        run(model)


def score_network(network: Network, inputs: Inputs, *, size: int = 1000) -> Array:
    """Return the (N, classes) scores of a network under test, checked as in a run."""
    with as_in_a_worker(SEED):
        found = scoring.scores(network, inputs, batch_size=size)
    expected = len(next(iter(inputs.values()))), network.recipe.classes
    return score_checks.checked_scores(network.recipe.model, found, expected)


def differing_tensors(one: nn.Module, other: nn.Module) -> list[str]:
    """Return the names of tensors in which two networks under test differ."""
    first, second = one.state_dict(), other.state_dict()
    names = {*first} | {*second}
    return sorted(
        name
        for name in names
        if name not in first or name not in second or not torch.equal(first[name], second[name])
    )
