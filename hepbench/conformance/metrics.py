"""Checks of metric plugins, on made-up predictions."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import SkipTest

import numpy as np

from hepbench.conformance.claims import Claim, need, skip, spec_claims
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
        untested = []
        for count in classes:
            try:
                check(spec, count)
            except SkipTest as reason:
                untested.append(str(reason))
        if len(untested) == len(classes):
            skip("; ".join(untested))

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


def _value_of_metric(spec: Metric, predictions: Predictions, what: str) -> float:
    """Return the value of the metric under test.

    Raises:
        SkipTest: it is undefined, or only a limit.
    """
    try:
        found = resolve(spec.compute)(predictions)
    except UndefinedMetricError as error:
        need(str(error).strip(), f"{what}: UndefinedMetricError was raised without a reason")
        skip(f"{what}: undefined on made-up predictions: {error}")
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
    if isinstance(found, Measured) and found.limit:
        skip(f"{what}: only a limit on made-up predictions")
    return float(value)


def _check_returns_value(spec: Metric, classes: int) -> None:
    _value_of_metric(spec, made_up_predictions(classes), f"{classes} classes")


def _check_passes_audit(spec: Metric, classes: int) -> None:
    # the audit passes over a metric that is undefined
    _check_returns_value(spec, classes)
    problems = metric_audit.audit(resolve(spec.compute), classes=classes)
    need(not problems, f"{classes} classes: {'; '.join(problems)}")


def _check_one_class_alone(spec: Metric, classes: int) -> None:
    whole = made_up_predictions(classes)
    for label in range(classes):
        alone = _some_examples(whole, whole.labels == label)
        with suppress(SkipTest):
            _value_of_metric(spec, alone, f"{classes} classes, with examples of class {label} only")


def _check_uses_weights(spec: Metric, classes: int) -> None:
    test, validation = (made_up_predictions(classes, seed=seed) for seed in (0, 1))
    ones = np.ones(len(test.labels))
    whole = replace(test, weights=ones, validation=replace(validation, weights=ones))
    weights = np.random.default_rng(3).integers(1, 4, len(ones))
    weighted = replace(whole, weights=weights.astype(float))
    repeated = _some_examples(whole, np.repeat(np.arange(len(weights)), weights))
    one, other = (_value_of_metric(spec, p, f"{classes} classes") for p in (weighted, repeated))
    same = math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
    need(same, f"{classes} classes: {one:.4g} with weights, but {other:.4g} with repeated examples")


def _check_direction(spec: Metric, classes: int) -> None:
    """Check ``higher_is_better``: better scores must not be worse in all of twelve trials."""
    if spec.higher_is_better is None:
        return
    values, undefined = [], ""
    for seed in range(12):
        pair = _good_and_bad_predictions(classes, seed)
        try:
            values.append([_value_of_metric(spec, each, f"{classes} classes") for each in pair])
        except SkipTest as reason:
            undefined = str(reason)
    if not values:
        skip(undefined)
    wrong = [good < bad if spec.higher_is_better else good > bad for good, bad in values]
    direction = f"higher_is_better is {spec.higher_is_better}"
    need(
        not all(wrong),
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
