"""Pretraining on background only, for anomaly detection: signal then has a larger loss.

Labels only select the examples of class 0, for training and for validation. Examples without labels
are left out, because they may be signal.

As in Farina, Nakai and Shih, Phys. Rev. D 101, 075021 (2020), arXiv:1808.08992.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench import DataError, Objective, pretraining

if TYPE_CHECKING:
    from hepbench import Context, Examples, Network, TrainingData


def pretrain_background(
    start: Network, data: TrainingData, context: Context, *, learning_rate: float, **training: Any
) -> Network:
    """Train the encoder by its own loss on examples of the background only.

    Raises:
        DataError: there is no background to train on.
    """
    train, validation = background(data.train), background(data.validation)
    if not len(train) or not len(validation):
        msg = "pretrain-background: no example of class 0 to train on, or to validate on"
        raise DataError(msg)
    alone = replace(data, train=train, validation=validation, unlabelled=None)
    return context.fit(start, alone, Objective(pretraining, {"encoder": learning_rate}), **training)


def background(examples: Examples) -> Examples:
    """Return the examples of the background (class 0), without labels."""
    return replace(examples[np.flatnonzero(np.asarray(examples.labels) == 0)], labels=None)
