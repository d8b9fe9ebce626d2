"""Latents of a frozen encoder, for methods that fit a classifier of them without training steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepbench import DataError

if TYPE_CHECKING:
    from hepbench import Array, Context, Network, TrainingData


def encoded(start: Network, data: TrainingData, context: Context) -> tuple[Array, Array]:
    """Return the latents of the training and of the validation examples, (N, D) float64.

    float32 is too coarse for solvers to see that they have converged.
    """
    train, validation = (context.encode(start, part) for part in (data.train, data.validation))
    return train.astype(np.float64), validation.astype(np.float64)


def scaling(latents: Array, weights: Array | None = None) -> tuple[Array, Array]:
    """Return the mean and the standard deviation (D,) of latents; 1 for a constant latent."""
    mean = np.average(latents, axis=0, weights=weights)
    std = np.sqrt(np.average((latents - mean) ** 2, axis=0, weights=weights))
    # a constant latent carries no information
    std[std <= 1e-7 * np.abs(mean)] = 1.0
    return mean, std


def need_every_class(method: str, data: TrainingData) -> None:
    """Check that there are training examples of every class.

    Raises:
        DataError: a class has none.
    """
    missing = sorted(set(range(data.classes)) - set(np.unique(data.train.labels).tolist()))
    if missing:
        msg = f"{method}: class {missing[0]} has no training example; every class needs one"
        raise DataError(msg)
