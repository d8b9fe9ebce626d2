"""Trials: made-up or sample data that plugins are tested on, and estimators fitted to it.

The conditions are one thread, seeded global generators and read-only arrays.
"""

from __future__ import annotations

import math
import random
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from hepbench.conformance.claims import need
from hepbench.conformance.datasets import prepared, read_only
from hepbench.data import stored_parts
from hepbench.evaluation import metrics
from hepbench.planning.input_shapes import why_unfit
from hepbench.registry.resolve import resolve
from hepbench.specs.errors import PluginError
from hepbench.specs.metric import Predictions
from hepbench.specs.model import Estimator, Model
from hepbench.specs.parameters import defaults
from hepbench.specs.training_data import Examples, TrainingData
from hepbench.training import score_checks, stored_estimators

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hepbench.registry.plugins import Entry, Registry
    from hepbench.specs.types import Array, Inputs, Params


SEED = 11


SIZES = {"train": 700, "validation": 300, "test": 500}


Shapes = dict[str, tuple[int, ...]]


SHAPES: Shapes = {
    "image": (2, 16, 16),
    "cloud": (12, 4),
    "mask": (12,),
    "neighbours": (12, 3),
    "momenta": (12, 4),
    "table": (5,),
    "scalars": (3,),
}
"""Shapes of one made-up example, for models without a small dataset in their own distribution."""


MAX_VALUES = 2000
"""Largest number of values of an input of a made-up example, if the model allows a choice."""


@dataclass(frozen=True)
class Trial:
    """A trial: training, validation and test examples that a plugin is tested on."""

    name: str
    parts: Mapping[str, Examples]
    classes: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each input of the trial, for one example."""
        return {name: tuple(a.shape[1:]) for name, a in self.parts["train"].inputs.items()}

    @property
    def inputs(self) -> Inputs:
        """Inputs of the test part of the trial."""
        return self.parts["test"].inputs

    def data(self, *, labels: bool = True) -> TrainingData:
        """Return the trial's training and validation data, in the form that methods get."""
        train, validation = self.parts["train"], self.parts["validation"]
        data = TrainingData(train=train, validation=validation, classes=self.classes)
        return data if labels else data.without_labels()


def matching_datasets(entry: Entry, registry: Registry) -> list[Entry]:
    """Return the datasets that a model under test can use, those of its distribution first."""
    wanted = {*entry.spec.inputs}
    found = registry.entries("dataset")
    return same_distribution_first(
        (e for e in found if wanted <= {*e.spec.inputs, *e.spec.views}), entry
    )


def example_shapes(entry: Entry, registry: Registry) -> list[Shapes]:
    """Return possible input shapes for testing a model, the preferred ones first.

    If a dataset of the model's own distribution is small, its shapes are the only ones. Otherwise
    SHAPES come first, then the shapes of all matching datasets, however large.

    Raises:
        PluginError: an input of the model has no known shape, or the model refuses all shapes.
    """
    found: list[Shapes] = [SHAPES]
    for dataset in matching_datasets(entry, registry):
        inputs = {
            n: tuple(i.shape) for n, i in dataset.spec.inputs.items() if n in entry.spec.inputs
        }
        default = dataset.plugin.distribution == entry.plugin.distribution
        found.append({**SHAPES, **inputs})
        if default and all(math.prod(shape) <= MAX_VALUES for shape in inputs.values()):
            found = found[-1:]
            break
    whole = [each for each in found if {*entry.spec.inputs} <= {*each}]
    missing = [name for name in entry.spec.inputs if name not in SHAPES]
    need(
        whole,
        f"the shape of input '{''.join(missing[:1])}' is unknown: no installed dataset has it",
    )
    return _accepted_shapes(
        entry.spec, [{name: each[name] for name in entry.spec.inputs} for each in whole]
    )


def _accepted_shapes(model: Model, shapes: list[Shapes]) -> list[Shapes]:
    """Return those input shapes that the model under test accepts.

    Raises:
        PluginError: it accepts none of them.
    """
    params = defaults(model.params, "quick")
    reasons = [why_unfit(model, each, params) for each in shapes]
    need(not all(reasons), f"the model accepts none of the known input shapes: {reasons[0]}")
    return [each for each, reason in zip(shapes, reasons, strict=True) if not reason]


def made_up_trial(
    shapes: Mapping[str, tuple[int, ...]],
    classes: int,
    *,
    informative: bool = True,
    sizes: Mapping[str, int] = SIZES,
) -> Trial:
    """Return a trial of made-up examples; unless ``informative``, labels are random."""
    rng = np.random.default_rng(classes)
    n = sum(sizes.values())
    labels = rng.permutation(np.arange(n) % classes)
    inputs = _made_up_inputs(shapes, labels, rng)
    # with three classes examples also have weights
    weights = rng.uniform(0.5, 1.5, n) if classes > 2 else None
    visible_labels = labels if informative else rng.permutation(labels)
    whole = Examples(inputs=inputs, ids=np.arange(n), labels=visible_labels, weights=weights)
    name = f"{('two', 'three')[classes - 2]} made-up classes"
    ends = np.cumsum(list(sizes.values()))
    cuts = zip(sizes, ends - list(sizes.values()), ends, strict=True)
    return Trial(name, {part: _as_read_only(whole[low:high]) for part, low, high in cuts}, classes)


def _made_up_inputs(
    shapes: Mapping[str, tuple[int, ...]], labels: Array, rng: np.random.Generator
) -> dict[str, Array]:
    """Return made-up inputs for a trial, with classes 1.5 sigma apart."""
    found = {}
    for name, shape in shapes.items():
        apart = 1.5 * labels.reshape(-1, *[1] * len(shape)) / math.sqrt(math.prod(shape))
        values = rng.normal(size=(len(labels), *shape)) + apart
        if len(shape) == 3:
            values = np.where(rng.random(values.shape) < 0.15, abs(values), 0)
        found[name] = values.astype(np.float32)
    if "mask" in shapes:
        (particles,) = shapes["mask"]
        counts = rng.integers(1 + particles // 4, particles + 1, len(labels))
        found["mask"] = np.arange(particles) < counts[:, None]
        if "cloud" in shapes and shapes["cloud"][0] == particles:
            found["cloud"] *= found["mask"][:, :, None]
    if "momenta" in shapes:
        found["momenta"] = _made_up_momenta(found["momenta"], found.get("mask"))
    if "neighbours" in shapes:
        found["neighbours"] = _made_up_neighbours(
            shapes["neighbours"], found.get("mask"), rng, len(labels)
        )
    return found


def _made_up_momenta(values: Array, mask: Array | None) -> Array:
    """Return made-up four-momenta (n, P, 4) of massless particles."""
    momenta = values.copy()
    momenta[..., 3] = np.linalg.norm(values, axis=2)
    return momenta if mask is None else momenta * mask[..., None]


def _made_up_neighbours(
    shape: tuple[int, ...], mask: Array | None, rng: np.random.Generator, n: int
) -> Array:
    """Return made-up (n, P, k) neighbour indices: random real particles; padding has itself."""
    particles, k = shape
    mask = np.ones((n, particles), bool) if mask is None else mask
    some = rng.integers(0, mask.sum(1)[:, None, None], (n, particles, k))
    return np.where(mask[:, :, None], some, np.arange(particles)[:, None])


def _as_read_only(e: Examples) -> Examples:
    columns = {"ids": e.ids, "labels": e.labels, "weights": e.weights}
    known = {name: array for name, array in columns.items() if array is not None}
    return replace(
        e, inputs=read_only(e.inputs), spectators=read_only(e.spectators), **read_only(known)
    )


def sample_trial(entry: Entry, inputs: tuple[str, ...]) -> Trial:
    """Return a trial of the first examples in a dataset's sample, prepared as in a run."""
    limits = {f"n_{part}": size for part, size in SIZES.items()}
    with TemporaryDirectory() as name:
        folders = prepared(entry, inputs, Path(name), **limits)
        parts = {part: stored_parts.load_part(folders["inputs"], part) for part in SIZES}
        with np.load(folders["split"] / "test.npz", allow_pickle=False) as columns:
            parts["test"] = replace(parts["test"], labels=columns["labels"])
        frozen = {part: _as_read_only(examples) for part, examples in parts.items()}
    return Trial(f"dataset {entry.spec.name}", frozen, len(entry.spec.classes))


@contextmanager
def as_in_a_worker(seed: int) -> Iterator[None]:
    """Run a check of an estimator as in a worker: one thread, seeded; undo this afterwards."""
    # installed with scikit-learn, which skops requires
    from threadpoolctl import threadpool_limits

    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        with threadpool_limits(1):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


def build_estimator(build: str, params: Params, shapes: Mapping[str, tuple[int, ...]]) -> Estimator:
    """Build the estimator under test for a trial.

    Raises:
        PluginError: the build function returns something else.
    """
    with as_in_a_worker(SEED):
        found = resolve(build)(dict(shapes), **params)
    need(
        isinstance(found, Estimator),
        f"the build function returns a {type(found).__name__}, not an Estimator",
    )
    return found  # type: ignore[no-any-return]


def fit_estimator(build: str, params: Params, trial: Trial) -> Estimator:
    """Build the estimator under test and fit it to a trial."""
    found = build_estimator(build, params, trial.shapes)
    with as_in_a_worker(SEED):
        found.fit(trial.data(), seed=SEED)
    return found


def score_estimator(estimator: Estimator, inputs: Inputs, classes: int) -> Array:
    """Return the (N, classes) scores of an estimator under test, checked as in a run."""
    with as_in_a_worker(SEED):
        found = estimator.scores(inputs)
    n = len(next(iter(inputs.values())))
    score_checks.checked_scores(type(estimator).__name__, found, (n, classes))
    return np.asarray(found)


def auc_in_sigma(examples: Examples, scores: Array) -> float:
    """Return by how many standard errors the AUC in a check is above one half.

    The standard error is that of scores independent of the labels, for the two smallest classes;
    ties would make it smaller. Source: Mann and Whitney, Ann. Math. Stat. 18 (1947) 50.
    """
    found = metrics.auc(Predictions(labels=examples.labels, scores=scores)).value
    m, n = sorted(np.bincount(np.asarray(examples.labels)))[:2]
    return float((found - 0.5) / math.sqrt((m + n + 1) / (12 * m * n)))


def same_distribution_first(entries: Iterable[Entry], owner: Entry) -> list[Entry]:
    """Sort plugins to test another one with; those of the owner's distribution come first."""
    return sorted(entries, key=lambda e: e.plugin.distribution != owner.plugin.distribution)


def model_for_method(default: Entry, offers: str, method: Entry, registry: Registry) -> Entry:
    """Return the model to test a method with: the default one, or an installed one.

    Args:
        default: the model in the conformance tests, used if it offers all that is needed.
        offers: ``estimate`` or ``encode``.
        method: the method to test.
        registry: the installed plugins.

    Raises:
        PluginError: no model offers all that the method needs.
    """
    for entry in (default, *same_distribution_first(registry.entries("model"), method)):
        spec = entry.spec
        if {*method.spec.needs, offers} <= spec.offers and {*method.spec.inputs} <= {*spec.inputs}:
            return entry
    needs = ", ".join(sorted(method.spec.needs))
    inputs = f" with inputs {', '.join(method.spec.inputs)}" if method.spec.inputs else ""
    msg = f"no installed model offers {needs}{inputs}, so the method cannot be tested"
    raise PluginError(msg)


def need_order(trial: Trial, scores: Array) -> None:
    """Fail a check if the test scores of a trial rank the classes in the wrong order."""
    sigma = auc_in_sigma(trial.parts["test"], scores)
    below = f"AUC is {-sigma:.0f} standard errors below 0.5; are score columns swapped?"
    need(sigma > -4, f"{trial.name}: {below}")


def need_chance_level(trial: Trial, found: Estimator) -> None:
    """Fail a check if an estimator seems to predict random labels of a trial.

    Model selection on validation is allowed; it raises the validation AUC by two or three standard
    errors.
    """
    sigma = {
        p: auc_in_sigma(e, score_estimator(found, e.inputs, 2)) for p, e in trial.parts.items()
    }
    held_out, validation = sigma["test"], sigma["validation"]
    need(
        abs(held_out) <= 4,
        f"with random labels, the test AUC is {held_out:+.1f} standard errors from 0.5",
    )
    above = f"with random labels, the validation AUC is {validation:.1f} standard errors above 0.5"
    need(validation <= 6, f"{above}; is validation used for training?")


def save_and_load(found: Estimator, fresh: Estimator) -> Estimator:
    """Save an estimator under test and load its state into a newly built one."""
    with TemporaryDirectory() as folder:
        stored_estimators.save(found, Path(folder))
        return stored_estimators.load(fresh, Path(folder))  # type: ignore[no-any-return]
