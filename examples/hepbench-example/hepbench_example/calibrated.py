"""A method: an estimator is fitted, then calibrated.

Guo et al., ICML 2017, arXiv:1706.04599: one temperature divides the logits. It changes no order and
so no AUC; the log loss and the calibration error improve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hepbench import Context, Estimator, TrainingData


def scratch_calibrated(
    start: Estimator, data: TrainingData, context: Context, *, steps: int
) -> Estimator:
    """Fit, then select the temperature with the smallest validation loss.

    Args:
        start: a new model; the result must have the same type.
        data: ``train`` to fit, ``validation`` to select; there are no test examples in it.
        context: its seed is the only source of random numbers.
        steps: number of temperatures from 0.1 to 10 to try.
    """
    start.fit(data, seed=context.seed)
    validation = data.validation
    rows = np.arange(len(validation))

    def loss(temperature: float) -> float:
        start.temperature = float(temperature)
        true = start.scores(validation.inputs)[rows, validation.labels]
        return float(np.average(-np.log(np.maximum(true, 1e-12)), weights=validation.weights))

    start.temperature = float(min(np.geomspace(0.1, 10, steps), key=loss))
    return start
