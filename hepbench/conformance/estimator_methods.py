"""What a method that works with estimators promises, tried on one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.conformance import trials
from hepbench.conformance.claims import Claim, need
from hepbench.conformance.estimators import EstimatorUnderTest
from hepbench.registry.plugins import Entry, Plugin
from hepbench.registry.resolve import resolve
from hepbench.specs.errors import ProtocolError
from hepbench.specs.model import Model
from hepbench.training import estimator_runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepbench.conformance.trials import Trial
    from hepbench.registry.plugins import Registry
    from hepbench.specs.method import Method
    from hepbench.specs.model import Estimator
    from hepbench.specs.training_data import TrainingData
    from hepbench.specs.types import Array, Inputs, Params


class NearestNeighbour:
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
        is_nearest = nearest[:, None] == np.arange(self.classes)
        return np.where(is_nearest, 0.9, 0.1 / (self.classes - 1))

    def _flat(self, inputs: Inputs) -> Array:
        n = len(inputs[self.names[0]])
        flat = [np.asarray(inputs[name], float).reshape(n, -1) for name in self.names]
        return np.concatenate(flat, axis=1)


NEAREST_NEIGHBOUR = Entry(
    Model(
        name="nearest-neighbour",
        summary="the label of the nearest training example",
        inputs=("table",),
        build="hepbench.conformance.estimator_methods:NearestNeighbour",
        offers=frozenset({"estimate"}),
    ),
    Plugin("testing", "hepbench.conformance.estimator_methods", "hepbench", ""),
)


@dataclass(frozen=True)
class _MethodUnderTest:
    """A method, and the estimator that it is tried on."""

    entry: Entry
    registry: Registry

    @property
    def spec(self) -> Method:
        """Its spec."""
        spec: Method = self.entry.spec
        return spec

    @cached_property
    def model(self) -> EstimatorUnderTest:
        """The kit's own, or an installed one that offers what is needed."""
        entry = trials.model_for_method(NEAREST_NEIGHBOUR, "estimate", self.entry, self.registry)
        return EstimatorUnderTest(entry, self.registry)

    def result(self, trial: Trial, **params: Any) -> Estimator:
        """Return what it makes of its start, by the defaults of its preset."""
        start = self._start(trial, self.spec.after)
        return self._run(self.spec, start, trial, params)

    def _start(self, trial: Trial, after: tuple[str, ...]) -> Estimator:
        """Return what it follows: a model as built, a fitted one, or what a method makes."""
        if "fresh" in after:
            return self.model.build()
        if "classifier" in after:
            return trials.fit_estimator(self.model.spec.build, self.model.params, trial)
        before: Method = self.registry.entry("method", after[0]).spec
        return self._run(before, self._start(trial, before.after), trial, {})

    def _run(self, spec: Method, start: Estimator, trial: Trial, params: Params) -> Estimator:
        chosen = {**spec.params, **spec.presets.get("quick", {}), **params}
        data, context = (
            trial.data(labels=spec.labels),
            estimator_runs.EstimatorContext(trials.SEED, 1),
        )
        with trials.as_in_a_worker(trials.SEED):
            found = resolve(spec.run)(start, data, context, **chosen)
        given, got = type(start).__name__, type(found).__name__
        need(type(found) is type(start), f"it returns {got}; {given} is expected, as it was given")
        return found  # type: ignore[no-any-return]


def method_claims(entry: Entry, registry: Registry) -> list[Claim]:
    """Return what is claimed of a method that estimators can follow."""
    spec: Method = entry.spec
    method = _MethodUnderTest(entry, registry)
    blind = "" if spec.labels else ", without labels"
    claims = [
        Claim(
            f"it turns an estimator into one{blind}",
            partial(_returns_estimator, method),
            first=True,
        ),
        Claim(
            "its result is stored and put back into a fresh model",
            partial(_saves_and_loads, method),
        ),
        Claim(
            "the same seed gives the same result, bit by bit", partial(_repeats_with_seed, method)
        ),
    ]
    if spec.presets:
        claims.append(Claim("it runs with each preset", partial(_runs_presets, method), slow=True))
    if spec.makes == "classifier":
        chance = Claim(
            "it learns nothing from random labels", partial(_learns_no_noise, method), slow=True
        )
        claims.append(chance)
    return claims


def _returns_estimator(method: _MethodUnderTest) -> None:
    for trial in method.model.trials:
        _learned_values(method, trial, method.result(trial))


def _learned_values(method: _MethodUnderTest, trial: Trial, found: Estimator) -> list[Array]:
    """Return the scores of a classifier; of an encoder, its state."""
    if method.spec.makes == "classifier":
        return [trials.score_estimator(found, trial.inputs, trial.classes)]
    return [value for _, value in sorted(vars(found).items()) if isinstance(value, np.ndarray)]


def _saves_and_loads(method: _MethodUnderTest) -> None:
    trial = method.model.trials[0]
    found = method.result(trial)
    again = trials.save_and_load(found, method.model.build())
    same = _equal(_learned_values(method, trial, found), _learned_values(method, trial, again))
    need(same, "put back into a fresh model, it scores otherwise; vars() must hold all its state")


def _repeats_with_seed(method: _MethodUnderTest) -> None:
    for trial in method.model.trials:
        first, second = (_learned_values(method, trial, method.result(trial)) for _ in range(2))
        need(_equal(first, second), f"{trial.name}: two runs with one seed differ")


def _equal(one: list[Array], other: list[Array]) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def _runs_presets(method: _MethodUnderTest) -> None:
    for params in method.spec.presets.values():
        method.result(method.model.trials[0], **params)


def _learns_no_noise(method: _MethodUnderTest) -> None:
    trial = trials.made_up_trial(method.model.shapes, 2, informative=False)
    trials.need_chance_level(trial, method.result(trial))
