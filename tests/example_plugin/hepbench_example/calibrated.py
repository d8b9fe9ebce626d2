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
    """Fit, then choose the temperature of least validation loss; test examples are out of reach.

    Args:
        start: a model as built; what is returned is of its kind.
        data: train to fit, validation to choose.
        work: its seed is all that may be random here.
        steps: how many temperatures from 0.1 to 10 are tried.
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
