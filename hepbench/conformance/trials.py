"""Trials: made-up examples to fit and score, and fits as a worker makes them.

One thread, numpy's global generator seeded before each step, arrays that cannot be written to.
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
from hepbench.registry.resolve import resolve
from hepbench.specs.errors import PluginError
from hepbench.specs.metric import Predictions
from hepbench.specs.model import Estimator
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
    "table": (5,),
    "scalars": (3,),
}
"""Of one made-up example, for a model whose plugin brings no dataset that it fits."""


MAX_VALUES = 2000
"""Numbers that an input of a made-up example has at most, unless it can have no fewer."""


@dataclass(frozen=True)
class Trial:
    """Examples to fit and score; the ids of its parts differ."""

    name: str
    parts: Mapping[str, Examples]
    classes: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of one example, by input."""
        return {name: tuple(a.shape[1:]) for name, a in self.parts["train"].inputs.items()}

    @property
    def inputs(self) -> Inputs:
        """Of the test part."""
        return self.parts["test"].inputs

    def data(self, *, labels: bool = True) -> TrainingData:
        """Return what a method is given."""
        train, validation = self.parts["train"], self.parts["validation"]
        data = TrainingData(train=train, validation=validation, classes=self.classes)
        return data if labels else data.without_labels()


def matching_datasets(entry: Entry, registry: Registry) -> list[Entry]:
    """Return the datasets that a model fits, those of its own distribution first."""
    wanted = {*entry.spec.inputs}
    found = registry.entries("dataset")
    return own_first((e for e in found if wanted <= {*e.spec.inputs, *e.spec.views}), entry)


def example_shapes(entry: Entry, registry: Registry) -> list[Shapes]:
    """Return shapes of one example that a model may be tried on, the most fitting first.

    As in its own distribution's dataset where that is small; else SHAPES, then those of all
    datasets that it fits, however large.

    Raises:
        PluginError: it takes an input whose shape nobody tells.
    """
    found: list[Shapes] = [SHAPES]
    for dataset in matching_datasets(entry, registry):
        inputs = {
            n: tuple(i.shape) for n, i in dataset.spec.inputs.items() if n in entry.spec.inputs
        }
        own = dataset.plugin.distribution == entry.plugin.distribution
        found.append({**SHAPES, **inputs})
        if own and all(math.prod(shape) <= MAX_VALUES for shape in inputs.values()):
            found = found[-1:]
            break
    whole = [each for each in found if {*entry.spec.inputs} <= {*each}]
    missing = [name for name in entry.spec.inputs if name not in SHAPES]
    need(whole, f"it takes '{''.join(missing[:1])}', which no dataset of its distribution has")
    return [{name: each[name] for name in entry.spec.inputs} for each in whole]


def made_up_trial(
    shapes: Mapping[str, tuple[int, ...]],
    classes: int,
    *,
    informative: bool = True,
    sizes: Mapping[str, int] = SIZES,
) -> Trial:
    """Return made-up examples; unless ``told``, their labels have nothing to do with them."""
    rng = np.random.default_rng(classes)
    n = sum(sizes.values())
    labels = rng.permutation(np.arange(n) % classes)
    inputs = _inputs(shapes, labels, rng)
    # three classes come with weights
    weights = rng.uniform(0.5, 1.5, n) if classes > 2 else None
    shown = labels if informative else rng.permutation(labels)
    whole = Examples(inputs=inputs, ids=np.arange(n), labels=shown, weights=weights)
    name = f"{('two', 'three')[classes - 2]} made-up classes"
    ends = np.cumsum(list(sizes.values()))
    cuts = zip(sizes, ends - list(sizes.values()), ends, strict=True)
    return Trial(name, {part: _as_read_only(whole[low:high]) for part, low, high in cuts}, classes)


def _inputs(
    shapes: Mapping[str, tuple[int, ...]], labels: Array, rng: np.random.Generator
) -> dict[str, Array]:
    """In each input classes lie 1.5 sigma apart; images are sparse, clouds padded with zeros."""
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
    if "neighbours" in shapes:
        found["neighbours"] = _neighbours(shapes["neighbours"], found.get("mask"), rng, len(labels))
    return found


def _neighbours(
    shape: tuple[int, ...], mask: Array | None, rng: np.random.Generator, n: int
) -> Array:
    """Return (n, P, k) real particles by chance, some of them the same; of padding its own place."""
    particles, k = shape
    mask = np.ones((n, particles), bool) if mask is None else mask
    some = rng.integers(0, mask.sum(1)[:, None, None], (n, particles, k))
    return np.where(mask[:, :, None], some, np.arange(particles)[:, None])


def _as_read_only(e: Examples) -> Examples:
    columns = {"ids": e.ids, "labels": e.labels, "weights": e.weights}
    known = {name: array for name, array in columns.items() if array is not None}
    return replace(e, inputs=read_only(e.inputs), targets=read_only(e.targets), **read_only(known))


def sample_trial(entry: Entry, inputs: tuple[str, ...]) -> Trial:
    """Return the first examples of a dataset's sample, prepared as in a run."""
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
    """Use one thread, and seed what takes no generator; both are put back."""
    # comes with scikit-learn, which comes with skops
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
    """Return what ``build`` returns.

    Raises:
        PluginError: it is no Estimator.
    """
    with as_in_a_worker(SEED):
        found = resolve(build)(dict(shapes), **params)
    need(isinstance(found, Estimator), f"build returns {type(found).__name__}, not an Estimator")
    return found  # type: ignore[no-any-return]


def fit_estimator(build: str, params: Params, trial: Trial) -> Estimator:
    """Return an estimator that is built and fitted."""
    found = build_estimator(build, params, trial.shapes)
    with as_in_a_worker(SEED):
        found.fit(trial.data(), seed=SEED)
    return found


def score_estimator(estimator: Estimator, inputs: Inputs, classes: int) -> Array:
    """Return (N, classes) scores that were checked as in a run."""
    with as_in_a_worker(SEED):
        found = estimator.scores(inputs)
    n = len(next(iter(inputs.values())))
    score_checks.checked_scores(type(estimator).__name__, found, (n, classes))
    return np.asarray(found)


def auc_in_sigma(examples: Examples, scores: Array) -> float:
    """Return how many standard errors above one half the AUC is.

    The error is that of scores which know nothing of the labels: Mann and Whitney, Ann. Math.
    Stat. 18 (1947) 50, for the two smallest classes; ties make it smaller.
    """
    found = metrics.auc(Predictions(labels=examples.labels, scores=scores)).value
    m, n = sorted(np.bincount(np.asarray(examples.labels)))[:2]
    return float((found - 0.5) / math.sqrt((m + n + 1) / (12 * m * n)))


def own_first(entries: Iterable[Entry], owner: Entry) -> list[Entry]:
    """Return entries, those of the owner's distribution first."""
    return sorted(entries, key=lambda e: e.plugin.distribution != owner.plugin.distribution)


def model_for_method(own: Entry, offers: str, method: Entry, registry: Registry) -> Entry:
    """Return the model that a method is tried on: the kit's own, or an installed one that offers
    what it needs.

    Raises:
        PluginError: there is none.
    """
    for entry in (own, *own_first(registry.entries("model"), method)):
        if {*method.spec.needs, offers} <= entry.spec.offers:
            return entry
    needs = ", ".join(sorted(method.spec.needs))
    msg = f"no installed model offers {needs}; it cannot be tried"
    raise PluginError(msg)


def need_order(trial: Trial, scores: Array) -> None:
    """Raise PluginError where scores of the test part rank classes the wrong way round."""
    sigma = auc_in_sigma(trial.parts["test"], scores)
    far = f"AUC is {-sigma:.0f} standard errors below .5; are columns swapped?"
    need(sigma > -4, f"{trial.name}: {far}")


def need_chance_level(trial: Trial, found: Estimator) -> None:
    """Raise PluginError where random labels seem to be known.

    To choose what scores best on validation is allowed; it raises their AUC by two or three errors.
    """
    sigma = {
        p: auc_in_sigma(e, score_estimator(found, e.inputs, 2)) for p, e in trial.parts.items()
    }
    held_out, validation = sigma["test"], sigma["validation"]
    need(abs(held_out) <= 4, f"held-out AUC is {held_out:+.1f} standard errors from .5")
    fits = f"validation AUC is {validation:.1f} standard errors above .5: is it trained on them?"
    need(validation <= 6, fits)


def save_and_load(found: Estimator, fresh: Estimator) -> Estimator:
    """Return a fresh estimator that the state of another was put into, by way of files."""
    with TemporaryDirectory() as folder:
        stored_estimators.save(found, Path(folder))
        return stored_estimators.load(fresh, Path(folder))  # type: ignore[no-any-return]
