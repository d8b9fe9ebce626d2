"""Claims about methods that work with estimators, tested on a nearest-neighbour estimator."""

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
    """An estimator that predicts the label of the nearest training example.

    It memorises all training examples, so it shows which examples a method trains on.

    Args:
        shapes: shape of each input of one example; inputs are flattened.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.names = sorted(shapes)
        self.points, self.labels, self.classes = np.zeros((0, 0)), np.zeros(0, np.int64), 0

    def fit(self, data: TrainingData, *, seed: int) -> None:  # noqa: ARG002
        """Store the training examples of the trial.

        Raises:
            ProtocolError: the examples have no labels.
        """
        if data.train.labels is None:
            msg = "the training examples have no labels: the method's spec says labels=False"
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
        summary="the label of the nearest training example",
        inputs=("table",),
        build="hepbench.conformance.estimator_methods:NearestNeighbour",
        offers=frozenset({"estimate"}),
    ),
    Plugin("testing", "hepbench.conformance.estimator_methods", "hepbench", ""),
)


@dataclass(frozen=True)
class _MethodUnderTest:
    """A method, and the model that it is tested on."""

    entry: Entry
    registry: Registry

    @property
    def spec(self) -> Method:
        """The spec of the method under test."""
        spec: Method = self.entry.spec
        return spec

    @cached_property
    def model(self) -> EstimatorUnderTest:
        """The nearest-neighbour estimator, or an installed model with all that the method needs."""
        entry = trials.model_for_method(NEAREST_NEIGHBOUR, "estimate", self.entry, self.registry)
        return EstimatorUnderTest(entry, self.registry)

    def result(self, trial: Trial, **params: Any) -> Estimator:
        """Run the method with its quick defaults and return the resulting estimator."""
        start = self._start(trial, self.spec.after)
        return self._run(self.spec, start, trial, params)

    def _start(self, trial: Trial, after: tuple[str, ...]) -> Estimator:
        """Return the estimator that the method under test starts from: new or fitted."""
        if "fresh" in after:
            return self.model.build()
        if "classifier" in after:
            return trials.fit_estimator(self.model.spec.build, self.model.params, trial)
        earlier: Method = self.registry.entry("method", after[0]).spec
        return self._run(earlier, self._start(trial, earlier.after), trial, {})

    def _run(self, spec: Method, start: Estimator, trial: Trial, params: Params) -> Estimator:
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
            f"returns {got}; {given} is expected, the type it started from",
        )
        return found  # type: ignore[no-any-return]


def method_claims(entry: Entry, registry: Registry) -> list[Claim]:
    """Return the claims about a method that works with estimators."""
    spec: Method = entry.spec
    method = _MethodUnderTest(entry, registry)
    suffix = "" if spec.labels else ", without using labels"
    claims = [
        Claim(
            f"returns an estimator of the same type{suffix}",
            partial(_returns_estimator, method),
            first=True,
        ),
        Claim(
            "the result can be saved and loaded into a newly built model",
            partial(_saves_and_loads, method),
        ),
        Claim("the same seed gives a bit-identical result", partial(_repeats_with_seed, method)),
    ]
    if preset_names(spec.params):
        claims.append(Claim("runs with each preset", partial(_runs_presets, method), slow=True))
    if spec.makes == "classifier":
        noise = Claim(
            "learns nothing from random labels", partial(_learns_no_noise, method), slow=True
        )
        claims.append(noise)
    return claims


def _returns_estimator(method: _MethodUnderTest) -> None:
    for trial in method.model.trials:
        _learned_values(method, trial, method.result(trial))


def _learned_values(method: _MethodUnderTest, trial: Trial, found: Estimator) -> list[Array]:
    """Return the scores of a classifier, or the arrays that an encoder holds."""
    if method.spec.makes == "classifier":
        return [trials.score_estimator(found, trial.inputs, trial.classes)]
    return [value for _, value in sorted(vars(found).items()) if isinstance(value, np.ndarray)]


def _saves_and_loads(method: _MethodUnderTest) -> None:
    trial = method.model.trials[0]
    found = method.result(trial)
    again = trials.save_and_load(found, method.model.build())
    same = _equal(_learned_values(method, trial, found), _learned_values(method, trial, again))
    need(same, "the result differs after loading; vars() must hold all state")


def _repeats_with_seed(method: _MethodUnderTest) -> None:
    for trial in method.model.trials:
        first, second = (_learned_values(method, trial, method.result(trial)) for _ in range(2))
        need(_equal(first, second), f"{trial.name}: two runs with one seed differ")


def _equal(one: list[Array], other: list[Array]) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def _runs_presets(method: _MethodUnderTest) -> None:
    for preset in preset_names(method.spec.params):
        method.result(method.model.trials[0], **defaults(method.spec.params, preset))


def _learns_no_noise(method: _MethodUnderTest) -> None:
    trial = trials.made_up_trial(method.model.shapes, 2, informative=False)
    trials.need_chance_level(trial, method.result(trial))
