"""Checks of estimator plugins (models that fit themselves), on made-up examples."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.conformance import trials
from hepbench.conformance.claims import Claim, need, skip
from hepbench.conformance.fresh_process import run_in_fresh_process
from hepbench.cost import estimator_export, onnx_runtime
from hepbench.specs.errors import HepbenchError, PluginError
from hepbench.specs.parameters import defaults, preset_names
from hepbench.training import stored_estimators

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepbench.conformance.trials import Trial
    from hepbench.registry.plugins import Entry, Registry
    from hepbench.specs.model import Estimator, Model
    from hepbench.specs.types import Array, Params


TOLERANCE = 1e-5
"""Largest change of a score when other examples are scored with it, as in a run."""


UNSAFE_MODULES = {
    "builtins",
    "os",
    "posix",
    "subprocess",
    "sys",
    "importlib",
    "operator",
    "functools",
}
"""Modules whose functions can do harm when a stored estimator is loaded."""


@dataclass(frozen=True)
class EstimatorUnderTest:
    """An estimator model under test, and its fitted estimators by trial."""

    entry: Entry
    registry: Registry
    fits: dict[str, Estimator] = field(default_factory=dict)

    @property
    def spec(self) -> Model:
        """The spec of the model under test."""
        spec: Model = self.entry.spec
        return spec

    @property
    def params(self) -> Params:
        """Parameters of the model under test, from the preset ``quick`` if it exists."""
        return defaults(self.spec.params, "quick")

    @cached_property
    def datasets(self) -> list[Entry]:
        """Datasets that the model under test can use; those of its distribution come first."""
        return trials.matching_datasets(self.entry, self.registry)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Input shapes of the made-up examples that the model is tested on."""
        return trials.example_shapes(self.entry, self.registry)[0]

    @cached_property
    def trials(self) -> list[Trial]:
        """Trials of the model under test: two classes, and three unless it refuses them."""
        two, three = (trials.made_up_trial(self.shapes, classes) for classes in (2, 3))
        try:
            self.fitted(three)
        except HepbenchError:
            return [two]
        return [two, three]

    def build(self, **params: Any) -> Estimator:
        """Build an estimator of the model under test for made-up examples."""
        return trials.build_estimator(self.spec.build, {**self.params, **params}, self.shapes)

    def fitted(self, trial: Trial) -> Estimator:
        """Return the estimator under test fitted to a trial; it is fitted only once."""
        if trial.name not in self.fits:
            self.fits[trial.name] = trials.fit_estimator(self.spec.build, self.params, trial)
        return self.fits[trial.name]

    def scores(self, trial: Trial, rows: Any = slice(None)) -> Array:
        """Return scores by the model under test of a trial's test part, or of some rows of it."""
        inputs = {name: array[rows] for name, array in trial.inputs.items()}
        return trials.score_estimator(self.fitted(trial), inputs, trial.classes)


def estimator_claims(entry: Entry, registry: Registry) -> list[Claim]:
    """Return the claims to check about an estimator plugin."""
    model = EstimatorUnderTest(entry, registry)
    claims = [
        Claim("can be built, also with each preset", partial(_check_builds, model), first=True),
        Claim("has a method or attribute for everything it offers", partial(_check_offers, model)),
        Claim("fits two classes, and fits three or refuses three with a reason",
              partial(_check_fits, model), first=True),
        Claim("scores have shape (examples, classes) and add to 1",
              partial(_check_scores, model), first=True),
        Claim("score columns are in the order of the classes: no AUC far below 0.5",
              partial(_check_order_of_classes, model)),
        Claim("shuffling the examples only shuffles the scores", partial(_check_ignores_order, model)),
        Claim("examples scored by themselves get the same scores as among others",
              partial(_check_scores_subsets, model)),
        Claim("inputs of another width are refused", partial(_check_refuses_other_widths, model)),
        Claim("parameters, best_epoch and history can be recorded", partial(_check_recorded_attributes, model)),
        Claim("the same seed gives bit-identical scores", partial(_check_same_seed_same_scores, model)),
        Claim("can be saved and loaded without pickle", partial(_check_saves_and_loads, model)),
        Claim("its ONNX graph, if it offers one, gives the same scores", partial(_check_onnx_graph, model)),
        Claim("loaded or fitted again in a fresh process, scores are the same",
              partial(_check_fresh_process, model), slow=True),
        Claim("learns nothing from random labels", partial(_check_learns_no_noise, model), slow=True),
    ]  # fmt: skip
    sample = Claim(
        "fits the bundled sample of a dataset", partial(_check_fits_sample, model), slow=True
    )
    return claims + ([sample] if model.datasets else [])


def _check_builds(model: EstimatorUnderTest) -> None:
    for preset in ("", *preset_names(model.spec.params)):
        model.build(**defaults(model.spec.params, preset))


def _check_offers(model: EstimatorUnderTest) -> None:
    found = model.build()
    for name in sorted(model.spec.offers - {"estimate"}):
        has = hasattr(found, name.replace("-", "_"))
        need(
            has,
            f"the spec offers '{name}', but {type(found).__name__} has no attribute of that name",
        )


def _check_fits(model: EstimatorUnderTest) -> None:
    for trial in model.trials:
        model.fitted(trial)


def _check_scores(model: EstimatorUnderTest) -> None:
    for trial in model.trials:
        model.scores(trial)


def _check_order_of_classes(model: EstimatorUnderTest) -> None:
    for trial in model.trials:
        trials.need_order(trial, model.scores(trial))


def _check_ignores_order(model: EstimatorUnderTest) -> None:
    for trial in model.trials:
        rows = np.random.default_rng(0).permutation(trials.SIZES["test"])
        _need_same_scores(trial, model.scores(trial, rows), model.scores(trial)[rows])


def _check_scores_subsets(model: EstimatorUnderTest) -> None:
    for trial in model.trials:
        for rows in (slice(0, 1), slice(7, 20), slice(None, None, 3)):
            _need_same_scores(trial, model.scores(trial, rows), model.scores(trial)[rows])


def _need_same_scores(trial: Trial, found: Array, expected: Array) -> None:
    difference = abs(found - expected).max()
    need(difference <= TOLERANCE, f"{trial.name}: scores change by up to {difference:.2g}")


def _check_refuses_other_widths(model: EstimatorUnderTest) -> None:
    trial = model.trials[0]
    for name in model.spec.inputs:
        array = trial.inputs[name]
        # axis 1 holds the channels of an image, the last axis the features of other inputs
        wider = np.concatenate([array, array], axis=1 if array.ndim == 4 else -1)
        try:
            model.fitted(trial).scores({**trial.inputs, name: wider})
        except Exception:  # noqa: BLE001, S112 - any error will do
            continue
        given, fitted = wider.shape[1:], array.shape[1:]
        msg = f"input '{name}' of shape {given} is scored without an error after a fit to {fitted}"
        raise PluginError(msg)


def _check_recorded_attributes(model: EstimatorUnderTest) -> None:
    found = model.fitted(model.trials[0])
    for name in ("parameters", "best_epoch"):
        value = getattr(found, name, 0)
        fine = isinstance(value, (int, np.integer)) and value >= 0
        need(fine, f"{name} is {value!r}; a whole number is expected")
    for epoch in getattr(found, "history", ()):
        for name, value in epoch.items():
            fine = isinstance(value, (int, float, np.number)) and math.isfinite(value)
            need(fine, f"history: '{name}' is {value!r}; a finite number is expected")


def _check_saves_and_loads(model: EstimatorUnderTest) -> None:
    for trial in model.trials:
        found = model.fitted(trial)
        for name in getattr(found, "trusts", ()):
            _check_trusted(name)
        again = trials.save_and_load(found, model.build())
        same = np.array_equal(
            trials.score_estimator(again, trial.inputs, trial.classes), model.scores(trial)
        )
        need(
            same,
            f"{trial.name}: scores differ after saving and loading; vars() must hold all state",
        )


def _check_onnx_graph(model: EstimatorUnderTest) -> None:
    for trial in model.trials:
        fitted = model.fitted(trial)
        make_graph = estimator_export.offered(fitted, model.spec.onnx)
        if make_graph is None:
            return
        if absent := onnx_runtime.missing():
            skip(absent)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "estimator.onnx"
            estimator_export.export(make_graph, fitted, trial.inputs, path)


def _check_trusted(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    found = (
        None if module in {"", *UNSAFE_MODULES} else getattr(import_module(module), attribute, None)
    )
    need(
        isinstance(found, type), f"'trusts' lists '{name}'; only classes that hold data are allowed"
    )


def _check_same_seed_same_scores(model: EstimatorUnderTest) -> None:
    # the trial with two classes is fitted again in a fresh process, by another claim
    trial = model.trials[-1]
    again = trials.fit_estimator(model.spec.build, model.params, trial)
    same = np.array_equal(
        trials.score_estimator(again, trial.inputs, trial.classes), model.scores(trial)
    )
    need(same, f"{trial.name}: two fits with one seed score differently")


def _check_fresh_process(model: EstimatorUnderTest) -> None:
    trial = model.trials[0]
    with TemporaryDirectory() as folder:
        stored_estimators.save(model.fitted(trial), Path(folder))
        arguments = (model.spec.build, dict(model.params), trial.shapes, folder)
        run_in_fresh_process(
            "hepbench.conformance.estimators:score_again", *arguments, libraries=["skops.io"]
        )
        for name in ("loaded", "fitted"):
            same = np.array_equal(np.load(Path(folder) / f"{name}.npy"), model.scores(trial))
            need(same, f"scores differ if the model is {name} in a fresh process")


def score_again(build: str, params: Params, shapes: Mapping[str, list[int]], folder: str) -> None:
    """Save scores of the estimator under test, loaded from a folder and fitted again."""
    trial = trials.made_up_trial({name: tuple(shape) for name, shape in shapes.items()}, 2)
    loaded = stored_estimators.load(
        trials.build_estimator(build, params, trial.shapes), Path(folder)
    )
    # scored before any fit in this process, so that state outside of vars() is missing
    _save_scores(Path(folder) / "loaded.npy", loaded, trial)
    _save_scores(Path(folder) / "fitted.npy", trials.fit_estimator(build, params, trial), trial)


def _save_scores(path: Path, estimator: Estimator, trial: Trial) -> None:
    np.save(path, trials.score_estimator(estimator, trial.inputs, trial.classes))


def _check_learns_no_noise(model: EstimatorUnderTest) -> None:
    trial = trials.made_up_trial(model.shapes, 2, informative=False)
    trials.need_chance_level(trial, trials.fit_estimator(model.spec.build, model.params, trial))


def _check_fits_sample(model: EstimatorUnderTest) -> None:
    trial = _first_sample(model)
    trials.need_order(trial, model.scores(trial))


def _first_sample(model: EstimatorUnderTest) -> Trial:
    """Return the first sample that the model can be tested on; broken datasets are passed over."""
    errors = []
    for entry in model.datasets:
        try:
            return trials.sample_trial(entry, model.spec.inputs)
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            errors.append(f"{entry.spec.name}: {error}")
    msg = f"no dataset that fits the model can be prepared: {'; '.join(errors)}"
    raise PluginError(msg)
