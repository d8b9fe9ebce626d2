"""Calls the function of a metric, which may return a number or a ``Measured``. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hepbench.specs.errors import UndefinedMetricError
from hepbench.specs.metric import Measured

if TYPE_CHECKING:
    from collections.abc import Callable

    from hepbench.specs.metric import Predictions

    Compute = Callable[[Predictions], float | Measured]


def call(compute: Compute, predictions: Predictions) -> Measured:
    """Return the value of a metric with its uncertainty, as floats.

    Raises:
        UndefinedMetricError: the metric has no value, or none that is finite.
    """
    found = compute(predictions)
    measured = found if isinstance(found, Measured) else Measured(float(found))
    errors = (measured.stderr, measured.low, measured.high)
    stderr, low, high = (None if error is None else float(error) for error in errors)
    value = float(measured.value)
    if not math.isfinite(value):
        msg = f"the metric returned {value}; a finite number is expected"
        raise UndefinedMetricError(msg)
    return Measured(value, stderr, low, high, bool(measured.limit))
