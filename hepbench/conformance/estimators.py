"""What a model that fits itself promises, tried on made-up examples."""

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
from hepbench.conformance.claims import Claim, need
from hepbench.conformance.elsewhere import afresh
from hepbench.specs.errors import HepbenchError, PluginError
from hepbench.specs.parameters import defaults, preset_names
from hepbench.training import stored_estimators

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepbench.conformance.trials import Trial
    from hepbench.registry.plugins import Entry, Registry
    from hepbench.specs.model import Estimator, Model
    from hepbench.specs.types import Array, Params


SAME = 1e-5
"""How far a score may be from itself in other company, as in a run."""


UNSAFE = {"builtins", "os", "posix", "subprocess", "sys", "importlib", "operator", "functools"}
"""Modules whose names are more than data."""


@dataclass(frozen=True)
class Candidate:
    """A model with what it was fitted to, each once."""

    entry: Entry
    registry: Registry
    fits: dict[str, Estimator] = field(default_factory=dict)

    @property
    def spec(self) -> Model:
        """Its spec."""
        spec: Model = self.entry.spec
        return spec

    @property
    def params(self) -> Params:
        """As in a run: those of the preset ``quick``, where it has one."""
        return defaults(self.spec.params, "quick")

    @cached_property
    def datasets(self) -> list[Entry]:
        """The datasets that it fits, those of its own distribution first."""
        return trials.fitting(self.entry, self.registry)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of one made-up example."""
        return trials.shapes(self.entry, self.registry)[0]

    @cached_property
    def trials(self) -> list[Trial]:
        """Two made-up classes, and three unless it refuses them with a reason."""
        two, three = (trials.made_up(self.shapes, classes) for classes in (2, 3))
        try:
            self.fitted(three)
        except HepbenchError:
            return [two]
        return [two, three]

    def built(self, **params: Any) -> Estimator:
        """Return it as built for the shapes of a made-up example."""
        return trials.built(self.spec.build, {**self.params, **params}, self.shapes)

    def fitted(self, trial: Trial) -> Estimator:
        """Return it fitted to a trial."""
        if trial.name not in self.fits:
            self.fits[trial.name] = trials.fitted(self.spec.build, self.params, trial)
        return self.fits[trial.name]

    def scores(self, trial: Trial, rows: Any = slice(None)) -> Array:
        """Return the scores of the test part, or of some rows of it alone."""
        inputs = {name: array[rows] for name, array in trial.inputs.items()}
        return trials.scored(self.fitted(trial), inputs, trial.classes)


def of_estimator(entry: Entry, registry: Registry) -> list[Claim]:
    """Return what is claimed of a model that offers ``estimate``."""
    it = Candidate(entry, registry)
    claims = [
        Claim("it can be built, with each preset too", partial(_builds, it), first=True),
        Claim("it has all that it offers", partial(_offers, it)),
        Claim("it fits two classes, and three or says why not", partial(_fits, it), first=True),
        Claim("scores are (examples, classes) and add to 1", partial(_scores, it), first=True),
        Claim("the column of a class is its own: no AUC far below .5", partial(_is_ordered, it)),
        Claim("shuffled examples have shuffled scores", partial(_permutes, it)),
        Claim("some examples score as among all", partial(_slices, it)),
        Claim("inputs of another width are refused", partial(_refuses_widths, it)),
        Claim("what it says of itself can be recorded", partial(_says, it)),
        Claim("the same seed gives the same scores, bit by bit", partial(_repeats, it)),
        Claim("it is stored and put back without pickle", partial(_is_stored, it)),
        Claim("in another process, put back or fitted anew, it scores the same",
              partial(_moves, it), slow=True),
        Claim("it learns nothing from random labels", partial(_is_honest, it), slow=True),
    ]  # fmt: skip
    sample = Claim("it fits the sample of a dataset", partial(_fits_sample, it), slow=True)
    return claims + ([sample] if it.datasets else [])


def _builds(it: Candidate) -> None:
    for preset in ("", *preset_names(it.spec.params)):
        it.built(**defaults(it.spec.params, preset))


def _offers(it: Candidate) -> None:
    found = it.built()
    for name in sorted(it.spec.offers - {"estimate"}):
        has = hasattr(found, name.replace("-", "_"))
        need(has, f"it offers '{name}'; {type(found).__name__} has nothing of that name")


def _fits(it: Candidate) -> None:
    for trial in it.trials:
        it.fitted(trial)


def _scores(it: Candidate) -> None:
    for trial in it.trials:
        it.scores(trial)


def _is_ordered(it: Candidate) -> None:
    for trial in it.trials:
        trials.need_order(trial, it.scores(trial))


def _permutes(it: Candidate) -> None:
    for trial in it.trials:
        rows = np.random.default_rng(0).permutation(trials.SIZES["test"])
        _need_same(trial, it.scores(trial, rows), it.scores(trial)[rows])


def _slices(it: Candidate) -> None:
    for trial in it.trials:
        for rows in (slice(0, 1), slice(7, 20), slice(None, None, 3)):
            _need_same(trial, it.scores(trial, rows), it.scores(trial)[rows])


def _need_same(trial: Trial, found: Array, expected: Array) -> None:
    difference = abs(found - expected).max()
    need(difference <= SAME, f"{trial.name}: scores change by up to {difference:.2g}")


def _refuses_widths(it: Candidate) -> None:
    trial = it.trials[0]
    for name in it.spec.inputs:
        array = trial.inputs[name]
        # channels of an image, features of anything else
        wider = np.concatenate([array, array], axis=1 if array.ndim == 4 else -1)
        try:
            it.fitted(trial).scores({**trial.inputs, name: wider})
        except Exception:  # noqa: BLE001, S112 - any error will do
            continue
        msg = f"'{name}' {wider.shape[1:]} is scored without an error; fitted to {array.shape[1:]}"
        raise PluginError(msg)


def _says(it: Candidate) -> None:
    found = it.fitted(it.trials[0])
    for name in ("parameters", "best_epoch"):
        value = getattr(found, name, 0)
        fine = isinstance(value, (int, np.integer)) and value >= 0
        need(fine, f"{name} is {value!r}; a whole number is expected")
    for epoch in getattr(found, "history", ()):
        for name, value in epoch.items():
            fine = isinstance(value, (int, float, np.number)) and math.isfinite(value)
            need(fine, f"history: {name} is {value!r}; a finite number is expected")


def _is_stored(it: Candidate) -> None:
    for trial in it.trials:
        found = it.fitted(trial)
        for name in getattr(found, "trusts", ()):
            _check_trusted(name)
        again = trials.through_disk(found, it.built())
        same = np.array_equal(trials.scored(again, trial.inputs, trial.classes), it.scores(trial))
        need(same, f"{trial.name}: put back, it scores otherwise; vars() must hold all its state")


def _check_trusted(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    found = None if module in {"", *UNSAFE} else getattr(import_module(module), attribute, None)
    need(isinstance(found, type), f"it trusts '{name}'; classes of data are allowed")


def _repeats(it: Candidate) -> None:
    # of two classes it is fitted again in another process
    trial = it.trials[-1]
    again = trials.fitted(it.spec.build, it.params, trial)
    same = np.array_equal(trials.scored(again, trial.inputs, trial.classes), it.scores(trial))
    need(same, f"{trial.name}: two fits with one seed score differently")


def _moves(it: Candidate) -> None:
    trial = it.trials[0]
    with TemporaryDirectory() as folder:
        stored_estimators.save(it.fitted(trial), Path(folder))
        arguments = (it.spec.build, dict(it.params), trial.shapes, folder)
        afresh("hepbench.conformance.estimators:moved", *arguments, libraries=["skops.io"])
        for name in ("restored", "fitted"):
            same = np.array_equal(np.load(Path(folder) / f"{name}.npy"), it.scores(trial))
            need(same, f"{name} in another process, it scores otherwise")


def moved(build: str, params: Params, shapes: Mapping[str, list[int]], folder: str) -> None:
    """Score as restored from ``folder`` and as fitted anew, into files in it."""
    trial = trials.made_up({name: tuple(shape) for name, shape in shapes.items()}, 2)
    restored = stored_estimators.load(trials.built(build, params, trial.shapes), Path(folder))
    # scored before anything is fitted here: state kept outside of vars() must be missing
    _write(Path(folder) / "restored.npy", restored, trial)
    _write(Path(folder) / "fitted.npy", trials.fitted(build, params, trial), trial)


def _write(path: Path, estimator: Estimator, trial: Trial) -> None:
    np.save(path, trials.scored(estimator, trial.inputs, trial.classes))


def _is_honest(it: Candidate) -> None:
    trial = trials.made_up(it.shapes, 2, told=False)
    trials.need_honest(trial, trials.fitted(it.spec.build, it.params, trial))


def _fits_sample(it: Candidate) -> None:
    trial = _first_sample(it)
    trials.need_order(trial, it.scores(trial))


def _first_sample(it: Candidate) -> Trial:
    """Return the first sample that can be prepared; a dataset's faults are not the model's."""
    errors = []
    for entry in it.datasets:
        try:
            return trials.sampled(entry, it.spec.inputs)
        except Exception as error:  # noqa: BLE001 - it may be anyone's
            errors.append(f"{entry.spec.name}: {error}")
    msg = f"no dataset that it fits can be prepared: {'; '.join(errors)}"
    raise PluginError(msg)
