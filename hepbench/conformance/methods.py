"""What a method that works with estimators promises, tried on one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.conformance import trials
from hepbench.conformance.claims import Claim, need
from hepbench.conformance.estimators import Candidate
from hepbench.registry.plugins import Entry, Plugin
from hepbench.registry.resolve import resolve
from hepbench.specs.errors import ProtocolError
from hepbench.specs.model import Model
from hepbench.specs.parameters import defaults, preset_names
from hepbench.training import estimator_runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepbench.conformance.trials import Trial
    from hepbench.registry.plugins import Registry
    from hepbench.specs.method import Method
    from hepbench.specs.model import Estimator
    from hepbench.specs.training_data import TrainingData
    from hepbench.specs.types import Array, Inputs, Params


class Neighbours:
    """The label of the nearest training example: it remembers whatever it is trained on.

    Args:
        shapes: of one example; every input is flattened.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.names = sorted(shapes)
        self.points, self.labels, self.classes = np.zeros((0, 0)), np.zeros(0, np.int64), 0

    def fit(self, data: TrainingData, *, seed: int) -> None:  # noqa: ARG002
        """Remember the training examples.

        Raises:
            ProtocolError: they have no labels.
        """
        if data.train.labels is None:
            msg = "the training examples have no labels: this method is to see none"
            raise ProtocolError(msg)
        self.points, self.classes = self._flat(data.train.inputs), data.classes
        self.labels = np.array(data.train.labels)

    def scores(self, inputs: Inputs) -> Array:
        """Return .9 for the class of the nearest, the rest for the others."""
        squares = [((self.points - point) ** 2).sum(1) for point in self._flat(inputs)]
        nearest = self.labels[np.argmin(squares, axis=1)]
        sure = nearest[:, None] == np.arange(self.classes)
        return np.where(sure, 0.9, 0.1 / (self.classes - 1))

    def _flat(self, inputs: Inputs) -> Array:
        n = len(inputs[self.names[0]])
        flat = [np.asarray(inputs[name], float).reshape(n, -1) for name in self.names]
        return np.concatenate(flat, axis=1)


NEIGHBOURS = Entry(
    Model(
        name="nearest-neighbour",
        summary="the label of the nearest training example",
        inputs=("table",),
        build="hepbench.conformance.methods:Neighbours",
        offers=frozenset({"estimate"}),
    ),
    Plugin("testing", "hepbench.conformance.methods", "hepbench", ""),
)


@dataclass(frozen=True)
class _Method:
    """A method, and the estimator that it is tried on."""

    entry: Entry
    registry: Registry

    @property
    def spec(self) -> Method:
        """Its spec."""
        spec: Method = self.entry.spec
        return spec

    @cached_property
    def model(self) -> Candidate:
        """The kit's own, or an installed one that offers what is needed."""
        entry = trials.tried_on(NEIGHBOURS, "estimate", self.entry, self.registry)
        return Candidate(entry, self.registry)

    def result(self, trial: Trial, **params: Any) -> Estimator:
        """Return what it makes of its start, by the defaults of its preset."""
        start = self._start(trial, self.spec.after)
        return self._run(self.spec, start, trial, params)

    def _start(self, trial: Trial, after: tuple[str, ...]) -> Estimator:
        """Return what it follows: a model as built, a fitted one, or what a method makes."""
        if "fresh" in after:
            return self.model.built()
        if "classifier" in after:
            return trials.fitted(self.model.spec.build, self.model.params, trial)
        before: Method = self.registry.entry("method", after[0]).spec
        return self._run(before, self._start(trial, before.after), trial, {})

    def _run(self, spec: Method, start: Estimator, trial: Trial, params: Params) -> Estimator:
        chosen = {**defaults(spec.params, "quick"), **params}
        data, context = (
            trial.data(labels=spec.labels),
            estimator_runs.EstimatorContext(trials.SEED, 1),
        )
        with trials.as_in_a_worker(trials.SEED):
            found = resolve(spec.run)(start, data, context, **chosen)
        given, got = type(start).__name__, type(found).__name__
        need(type(found) is type(start), f"it returns {got}; {given} is expected, as it was given")
        return found  # type: ignore[no-any-return]


def of_method(entry: Entry, registry: Registry) -> list[Claim]:
    """Return what is claimed of a method that estimators can follow."""
    spec: Method = entry.spec
    it = _Method(entry, registry)
    blind = "" if spec.labels else ", without labels"
    claims = [
        Claim(f"it turns an estimator into one{blind}", partial(_turns, it), first=True),
        Claim("its result is stored and put back into a fresh model", partial(_is_restored, it)),
        Claim("the same seed gives the same result, bit by bit", partial(_returns_the_same, it)),
    ]
    if preset_names(spec.params):
        claims.append(Claim("it runs with each preset", partial(_runs_presets, it), slow=True))
    if spec.makes == "classifier":
        chance = Claim("it learns nothing from random labels", partial(_is_blind, it), slow=True)
        claims.append(chance)
    return claims


def _turns(it: _Method) -> None:
    for trial in it.model.trials:
        _kept(it, trial, it.result(trial))


def _kept(it: _Method, trial: Trial, found: Estimator) -> list[Array]:
    """Return the scores of a classifier; of an encoder, its state."""
    if it.spec.makes == "classifier":
        return [trials.scored(found, trial.inputs, trial.classes)]
    return [value for _, value in sorted(vars(found).items()) if isinstance(value, np.ndarray)]


def _is_restored(it: _Method) -> None:
    trial = it.model.trials[0]
    found = it.result(trial)
    again = trials.through_disk(found, it.model.built())
    same = _equal(_kept(it, trial, found), _kept(it, trial, again))
    need(same, "put back into a fresh model, it scores otherwise; vars() must hold all its state")


def _returns_the_same(it: _Method) -> None:
    for trial in it.model.trials:
        first, second = (_kept(it, trial, it.result(trial)) for _ in range(2))
        need(_equal(first, second), f"{trial.name}: two runs with one seed differ")


def _equal(one: list[Array], other: list[Array]) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def _runs_presets(it: _Method) -> None:
    for preset in preset_names(it.spec.params):
        it.result(it.model.trials[0], **defaults(it.spec.params, preset))


def _is_blind(it: _Method) -> None:
    trial = trials.made_up(it.model.shapes, 2, told=False)
    trials.need_honest(trial, it.result(trial))
