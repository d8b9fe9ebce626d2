"""Training from a fresh start: an estimator fits itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hepbench import Estimator, TrainingData, Work


def scratch(start: Estimator, data: TrainingData, work: Work) -> Estimator:
    """Fit the estimator as it was built; it sees training and validation examples only."""
    start.fit(data, seed=work.seed)
    return start
