"""Checks of metric plugins, on made-up predictions."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.conformance.claims import Claim, need, spec_claims
from hepbench.evaluation import metric_audit
from hepbench.registry.resolve import resolve
from hepbench.specs.errors import PluginError, UndefinedMetricError
from hepbench.specs.metric import Measured, Predictions

if TYPE_CHECKING:
    from collections.abc import Callable

    from hepbench.registry.plugins import Entry
    from hepbench.specs.metric import Metric


def metric_claims(entry: Entry) -> list[Claim]:
    """Return the claims to check about a metric plugin, with two and with three classes."""
    spec: Metric = entry.spec
    classes = (2, 3) if spec.classes is None else (spec.classes,)

    def on_each(check: Callable[[Metric, int], None]) -> None:
        for count in classes:
            check(spec, count)

    return [
        *spec_claims(spec),
        Claim("returns a finite float or Measured, or UndefinedMetricError with a reason",
              partial(on_each, _check_returns_value)),
        Claim("passes the audit: order of rows, ties, chance level",
              partial(on_each, _check_passes_audit)),
        Claim("one class alone gives a finite value, or UndefinedMetricError with a reason",
              partial(on_each, _check_one_class_alone)),
        Claim("an example of weight 2 counts like two examples", partial(on_each, _check_uses_weights)),
        Claim("better scores do not give a worse value", partial(on_each, _check_direction)),
    ]  # fmt: skip


LOSS_VALUES = ("reconstruction", "kl", "elbo", "latent_zeros")


def made_up_predictions(classes: int, *, seed: int = 0, n: int = 150) -> Predictions:
    """Return made-up predictions to test a metric on: mostly right, with tied scores.

    Masses, transverse momenta and loss terms are random.
    """
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    counts = rng.integers(1, 6, (n, classes)) + (labels[:, None] == np.arange(classes))
    return Predictions(
        labels=labels,
        scores=counts / counts.sum(axis=1, keepdims=True),
        ids=np.arange(n) + n * seed,
        spectators={name: rng.exponential(100, n) for name in ("mass", "pt")},
        values={name: rng.exponential(1, n) for name in LOSS_VALUES},
        validation=None if seed else made_up_predictions(classes, seed=1),
    )


def _some_examples(predictions: Predictions, rows: Any) -> Predictions:
    """Return the predictions of some examples, which may be repeated, with ids of their own."""
    some = predictions[rows]
    return replace(some, ids=np.arange(len(some.labels)))


def _value_of_metric(spec: Metric, predictions: Predictions, what: str) -> float | None:
    """Return the value of the metric under test; None if it is undefined or only a limit."""
    try:
        found = resolve(spec.compute)(predictions)
    except UndefinedMetricError as error:
        need(str(error).strip(), f"{what}: UndefinedMetricError was raised without a reason")
        return None
    except Exception as error:
        msg = (
            f"{what}: the metric raised {type(error).__name__} ({error}), not UndefinedMetricError"
        )
        raise PluginError(msg) from error
    value = found.value if isinstance(found, Measured) else found
    number = isinstance(value, (int, float, np.floating)) and not isinstance(value, bool)
    need(number, f"{what}: returns a {type(value).__name__}; a float or Measured is expected")
    need(
        math.isfinite(value),
        f"{what}: the value is {value}; it must be finite, or UndefinedMetricError raised",
    )
    return None if isinstance(found, Measured) and found.limit else float(value)


def _check_returns_value(spec: Metric, classes: int) -> None:
    _value_of_metric(spec, made_up_predictions(classes), f"{classes} classes")


def _check_passes_audit(spec: Metric, classes: int) -> None:
    problems = metric_audit.audit(resolve(spec.compute), classes=classes)
    need(not problems, f"{classes} classes: {'; '.join(problems)}")


def _check_one_class_alone(spec: Metric, classes: int) -> None:
    whole = made_up_predictions(classes)
    for label in range(classes):
        alone = _some_examples(whole, whole.labels == label)
        _value_of_metric(spec, alone, f"{classes} classes, with examples of class {label} only")


def _check_uses_weights(spec: Metric, classes: int) -> None:
    whole = made_up_predictions(classes)
    weights = np.random.default_rng(3).integers(1, 4, len(whole.labels))
    weighted = replace(whole, weights=weights.astype(float))
    repeated = _some_examples(whole, np.repeat(np.arange(len(weights)), weights))
    one, other = (_value_of_metric(spec, p, f"{classes} classes") for p in (weighted, repeated))
    if one is not None and other is not None:
        same = math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
        need(
            same,
            f"{classes} classes: {one:.4g} with weights, but {other:.4g} with repeated examples",
        )


def _check_direction(spec: Metric, classes: int) -> None:
    """Check ``higher_is_better``: better scores must not be worse in all of twelve trials."""
    if spec.higher_is_better is None:
        return
    pairs = [[_value_of_metric(spec, predictions, f"{classes} classes") for predictions in pair]
             for pair in (_good_and_bad_predictions(classes, seed) for seed in range(12))]  # fmt: skip
    values = [(good, bad) for good, bad in pairs if good is not None and bad is not None]
    wrong = [good < bad if spec.higher_is_better else good > bad for good, bad in values]
    direction = f"higher_is_better is {spec.higher_is_better}"
    need(
        not values or not all(wrong),
        f"{direction}, but good scores and half-shuffled scores give {values[:1]}",
    )


def _good_and_bad_predictions(classes: int, seed: int) -> tuple[Predictions, Predictions]:
    """Return good made-up predictions to test a metric on, and bad (half-shuffled) ones."""
    rng = np.random.default_rng(seed)
    whole = made_up_predictions(classes, n=400)
    odds = np.exp(rng.normal(size=(400, classes)))
    odds[np.arange(400), whole.labels] *= np.exp(rng.normal(1, 1, 400) + 1)
    scores = odds / odds.sum(axis=1, keepdims=True)
    mixed = scores.copy()
    mixed[::2] = rng.permutation(mixed[::2])
    return replace(whole, scores=scores), replace(whole, scores=mixed)
