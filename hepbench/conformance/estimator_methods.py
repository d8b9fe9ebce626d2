"""Checks of method plugins that use estimators, with a nearest-neighbour estimator."""

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


class NearestNeighbour:
    """A simple estimator to test methods with: it predicts the nearest example's label.

    It memorises all training examples, so it shows which examples a method trains on.

    Args:
        shapes: shape of each input of one example; inputs are flattened.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.names = sorted(shapes)
        self.points, self.labels, self.classes = np.zeros((0, 0)), np.zeros(0, np.int64), 0

    def fit(self, data: TrainingData, *, seed: int) -> None:  # noqa: ARG002
        """Store the training examples of the check.

        Raises:
            ProtocolError: the examples have no labels.
        """
        if data.train.labels is None:
            msg = (
                "the method under test has labels=False, but fits an estimator, which needs labels"
            )
            raise ProtocolError(msg)
        self.points, self.classes = self._flat(data.train.inputs), data.classes
        self.labels = np.array(data.train.labels)

    def scores(self, inputs: Inputs) -> Array:
        """Return 0.9 for the class of the nearest example; the other classes share 0.1."""
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
        summary="predicts the label of the nearest training example",
        inputs=("table",),
        build="hepbench.conformance.estimator_methods:NearestNeighbour",
        offers=frozenset({"estimate"}),
    ),
    Plugin("testing", "hepbench.conformance.estimator_methods", "hepbench", ""),
)


@dataclass(frozen=True)
class _MethodUnderTest:
    """A method under test, and the estimator that it is tested with."""

    entry: Entry
    registry: Registry

    @property
    def spec(self) -> Method:
        """The spec of the method under test."""
        spec: Method = self.entry.spec
        return spec

    @cached_property
    def model(self) -> EstimatorUnderTest:
        """The model to test the method with: nearest neighbour if the method allows it."""
        entry = trials.model_for_method(NEAREST_NEIGHBOUR, "estimate", self.entry, self.registry)
        return EstimatorUnderTest(entry, self.registry)

    def result(self, trial: Trial, **params: Any) -> Estimator:
        """Run the method under test with its quick preset and return the resulting estimator."""
        start = self._estimator_before(trial, self.spec.after)
        return self._run_method(self.spec, start, trial, params)

    def _estimator_before(self, trial: Trial, after: tuple[str, ...]) -> Estimator:
        """Return the new or fitted estimator that the method under test starts from."""
        if "fresh" in after:
            return self.model.build()
        if "classifier" in after:
            return trials.fit_estimator(self.model.spec.build, self.model.params, trial)
        earlier: Method = self.registry.entry("method", after[0]).spec
        return self._run_method(earlier, self._estimator_before(trial, earlier.after), trial, {})

    def _run_method(
        self, spec: Method, start: Estimator, trial: Trial, params: Params
    ) -> Estimator:
        chosen = {**defaults(spec.params, "quick"), **params}
        data, context = (
            trial.data(labels=spec.labels),
            estimator_runs.EstimatorContext(trials.SEED, 1),
        )
        with trials.as_in_a_worker(trials.SEED):
            found = resolve(spec.run)(start, data, context, **chosen)
        given, got = type(start).__name__, type(found).__name__
        need(
            type(found) is type(start),
            f"the method returns a {got}; a {given} is expected, as it was given",
        )
        return found  # type: ignore[no-any-return]


def method_claims(entry: Entry, registry: Registry) -> list[Claim]:
    """Return the claims to check about a method plugin that works with estimators."""
    spec: Method = entry.spec
    method = _MethodUnderTest(entry, registry)
    suffix = "" if spec.labels else ", without using labels"
    claims = [
        Claim(
            f"returns an estimator of the same type{suffix}",
            partial(_check_returns_estimator, method),
            first=True,
        ),
        Claim(
            "the result can be saved and loaded into a newly built model",
            partial(_check_saves_and_loads, method),
        ),
        Claim(
            "the same seed gives a bit-identical result",
            partial(_check_same_seed_same_result, method),
        ),
    ]
    if preset_names(spec.params):
        claims.append(
            Claim("runs with each preset", partial(_check_runs_presets, method), slow=True)
        )
    if spec.makes == "classifier":
        noise = Claim(
            "learns nothing from random labels", partial(_check_learns_no_noise, method), slow=True
        )
        claims.append(noise)
    return claims


def _check_returns_estimator(method: _MethodUnderTest) -> None:
    for trial in method.model.trials:
        _learned_values(method, trial, method.result(trial))


def _learned_values(method: _MethodUnderTest, trial: Trial, found: Estimator) -> list[Array]:
    """Return what a method under test learned: a classifier's scores, or an encoder's arrays."""
    if method.spec.makes == "classifier":
        return [trials.score_estimator(found, trial.inputs, trial.classes)]
    return [value for _, value in sorted(vars(found).items()) if isinstance(value, np.ndarray)]


def _check_saves_and_loads(method: _MethodUnderTest) -> None:
    trial = method.model.trials[0]
    found = method.result(trial)
    again = trials.save_and_load(found, method.model.build())
    same = _all_equal(_learned_values(method, trial, found), _learned_values(method, trial, again))
    need(
        same, "the estimator differs after saving and loading; vars() must contain its whole state"
    )


def _check_same_seed_same_result(method: _MethodUnderTest) -> None:
    for trial in method.model.trials:
        first, second = (_learned_values(method, trial, method.result(trial)) for _ in range(2))
        need(
            _all_equal(first, second), f"{trial.name}: two runs of the method with one seed differ"
        )


def _all_equal(one: list[Array], other: list[Array]) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def _check_runs_presets(method: _MethodUnderTest) -> None:
    for preset in preset_names(method.spec.params):
        method.result(method.model.trials[0], **defaults(method.spec.params, preset))


def _check_learns_no_noise(method: _MethodUnderTest) -> None:
    trial = trials.made_up_trial(method.model.shapes, 2, informative=False)
    trials.need_chance_level(trial, method.result(trial))
