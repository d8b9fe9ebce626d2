"""Linear probe: the best linear head on the latents of a frozen encoder, found by L-BFGS.

Alain and Bengio (2016), arXiv:1610.01644; the protocol is that of Radford et al. (2021),
arXiv:2103.00020, section A.3: logistic regression with an L2 penalty, whose strength is chosen on the
validation examples. The loss is convex, so that there is one best head, and no learning rate, number
of epochs or seed that it depends on. The code is scikit-learn's LogisticRegression. Latents are
standardised with the training examples: the head is a batch normalisation without parameters and a
linear layer.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import nn

from hepbench import HepbenchError
from hepbench_methods.latents import encoded, need_every_class, scaling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepbench import Array, Context, Examples, Network, TrainingData

EPS = 1e-12
"""Added to variances: far below that of any latent, but 0 / 0 where a later training meets a constant."""


GRADIENT = 1e-6
"""Largest derivative of the mean loss at which L-BFGS stops; scores then differ by 1e-5 from the best."""


def head(width: int, classes: int) -> nn.Module:
    """Build the linear head of the probe, from (N, width) latents to (N, classes) logits."""
    norm = nn.BatchNorm1d(width, eps=EPS, affine=False)
    return nn.Sequential(norm, nn.Linear(width, classes))


def linear_probe(
    start: Network,
    data: TrainingData,
    context: Context,
    *,
    strengths: Sequence[float],
    max_iterations: int,
) -> Network:
    """Fit a linear head for each strength; the one with the least validation loss is kept.

    Args:
        start: its encoder makes the latents.
        data: labels of two or more classes, perhaps with weights.
        context: encodes, and makes the head.
        strengths: values of C, the inverse strength of the penalty, to try.
        max_iterations: of L-BFGS for each C.

    Raises:
        DataError: a class has no training example.
        HepbenchError: L-BFGS did not converge.
    """
    need_every_class("linear-probe", data)
    latents, others = encoded(start, data, context)
    mean, std = scaling(latents, data.train.weights)
    latents, others = (latents - mean) / std, (others - mean) / std
    fits = [fitted(latents, data.train, strength, max_iterations) for strength in strengths]
    best = min(fits, key=lambda fit: _loss(fit, others, data.validation))
    network = context.with_head(start)
    norm, linear = network.head
    norm.load_state_dict(
        {"running_mean": torch.tensor(mean), "running_var": torch.tensor(std**2)}, strict=False
    )
    weight, bias = _of_every_class(best)
    linear.load_state_dict({"weight": torch.tensor(weight), "bias": torch.tensor(bias)})
    return network


def fitted(
    latents: Array, train: Examples, strength: float, max_iterations: int
) -> LogisticRegression:
    """Return the logistic regression of scaled latents with a C.

    Raises:
        HepbenchError: L-BFGS did not converge.
    """
    regression = LogisticRegression(C=strength, tol=GRADIENT, max_iter=max_iterations)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            return regression.fit(latents, train.labels, sample_weight=train.weights)
        except ConvergenceWarning:
            msg = (
                f"linear-probe: C = {strength} did not converge in {max_iterations} iterations; "
                "raise linear-probe.max_iterations, or leave this strength out"
            )
            raise HepbenchError(msg) from None


def _loss(fit: LogisticRegression, latents: Array, examples: Examples) -> float:
    scores = fit.predict_proba(latents)
    weights = examples.weights
    return float(log_loss(examples.labels, scores, sample_weight=weights, labels=fit.classes_))


def _of_every_class(fit: LogisticRegression) -> tuple[Array, Array]:
    """Return weights and biases of every class; scikit-learn has one row for two classes.

    Its logit is divided between both, since zeros in a row would pass for pruned weights.
    """
    weight, bias = fit.coef_, fit.intercept_
    if len(bias) > 1:
        return weight, bias
    return np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
