"""What a metric promises, tried on made-up predictions."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.conformance.claims import Claim, need, of_spec
from hepbench.evaluation import metric_audit
from hepbench.registry.resolve import resolve
from hepbench.specs.errors import PluginError, UndefinedMetricError
from hepbench.specs.metric import Measured, Predictions

if TYPE_CHECKING:
    from collections.abc import Callable

    from hepbench.registry.plugins import Entry
    from hepbench.specs.metric import Metric


def of_metric(entry: Entry) -> list[Claim]:
    """Return what is claimed of a metric, on made-up predictions of two classes and of three."""
    spec: Metric = entry.spec
    classes = (2, 3) if spec.classes is None else (spec.classes,)

    def on_each(check: Callable[[Metric, int], None]) -> None:
        for count in classes:
            check(spec, count)

    return [
        *of_spec(spec),
        Claim("it returns a finite float or Measured, or says why not", partial(on_each, _value)),
        Claim("nothing about it is odd: order, ties, chance", partial(on_each, _is_not_odd)),
        Claim("of a single class it has a finite value, or says why not",
              partial(on_each, _survives_one_class)),
        Claim("an example of weight 2 counts like two", partial(on_each, _weighs)),
        Claim("better scores do not make it worse", partial(on_each, _has_direction)),
    ]  # fmt: skip


VALUES = ("reconstruction", "kl", "elbo", "latent_zeros")


def made_up(classes: int, *, seed: int = 0, n: int = 150) -> Predictions:
    """Return predictions with ties that lean to the right class; masses, pts and what a network's
    own loss makes of each example are random.
    """
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    counts = rng.integers(1, 6, (n, classes)) + (labels[:, None] == np.arange(classes))
    return Predictions(
        labels=labels,
        scores=counts / counts.sum(axis=1, keepdims=True),
        ids=np.arange(n) + n * seed,
        spectators={name: rng.exponential(100, n) for name in ("mass", "pt")},
        values={name: rng.exponential(1, n) for name in VALUES},
        validation=None if seed else made_up(classes, seed=1),
    )


def _rows(predictions: Predictions, rows: Any) -> Predictions:
    return replace(
        predictions,
        labels=predictions.labels[rows],
        scores=predictions.scores[rows],
        ids=np.arange(len(predictions.labels[rows])),
        spectators={name: array[rows] for name, array in predictions.spectators.items()},
        values={name: array[rows] for name, array in predictions.values.items()},
    )


def _measured(spec: Metric, predictions: Predictions, what: str) -> float | None:
    """Return a metric's value; None where it says that it has none, or only a limit."""
    try:
        found = resolve(spec.compute)(predictions)
    except UndefinedMetricError as error:
        need(str(error).strip(), f"{what}: the UndefinedMetricError says nothing")
        return None
    except Exception as error:
        msg = f"{what}: {type(error).__name__} ({error}); UndefinedMetricError is for no value"
        raise PluginError(msg) from error
    value = found.value if isinstance(found, Measured) else found
    number = isinstance(value, (int, float, np.floating)) and not isinstance(value, bool)
    need(number, f"{what}: it returns a {type(value).__name__}; a float or Measured is expected")
    need(math.isfinite(value), f"{what}: it is {value}; a metric is finite or undefined")
    return None if isinstance(found, Measured) and found.limit else float(value)


def _value(spec: Metric, classes: int) -> None:
    _measured(spec, made_up(classes), f"{classes} classes")


def _is_not_odd(spec: Metric, classes: int) -> None:
    odd = metric_audit.audit(resolve(spec.compute), classes=classes)
    need(not odd, f"{classes} classes: {'; '.join(odd)}")


def _survives_one_class(spec: Metric, classes: int) -> None:
    whole = made_up(classes)
    for label in range(classes):
        alone = _rows(whole, whole.labels == label)
        _measured(spec, alone, f"{classes} classes, examples of class {label} alone")


def _weighs(spec: Metric, classes: int) -> None:
    whole = made_up(classes)
    weights = np.random.default_rng(3).integers(1, 4, len(whole.labels))
    weighted = replace(whole, weights=weights.astype(float))
    repeated = _rows(whole, np.repeat(np.arange(len(weights)), weights))
    one, other = (_measured(spec, p, f"{classes} classes") for p in (weighted, repeated))
    if one is not None and other is not None:
        same = math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
        need(same, f"{classes} classes: {one:.4g} with weights, {other:.4g} with so many copies")


def _has_direction(spec: Metric, classes: int) -> None:
    """What does not depend on how good scores are is not worse each of twelve times."""
    if spec.higher_is_better is None:
        return
    pairs = [[_measured(spec, predictions, f"{classes} classes") for predictions in pair]
             for pair in (_good_and_bad(classes, seed) for seed in range(12))]  # fmt: skip
    values = [(good, bad) for good, bad in pairs if good is not None and bad is not None]
    wrong = [good < bad if spec.higher_is_better else good > bad for good, bad in values]
    said = f"higher_is_better is {spec.higher_is_better}"
    need(not values or not all(wrong), f"{said}; (good, half random) scores give {values[:1]}")


def _good_and_bad(classes: int, seed: int) -> tuple[Predictions, Predictions]:
    """Return calibrated scores, and the same with those of every other example shuffled."""
    rng = np.random.default_rng(seed)
    whole = made_up(classes, n=400)
    odds = np.exp(rng.normal(size=(400, classes)))
    odds[np.arange(400), whole.labels] *= np.exp(rng.normal(1, 1, 400) + 1)
    scores = odds / odds.sum(axis=1, keepdims=True)
    mixed = scores.copy()
    mixed[::2] = rng.permutation(mixed[::2])
    return replace(whole, scores=scores), replace(whole, scores=mixed)
