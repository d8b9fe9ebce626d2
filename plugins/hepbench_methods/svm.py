"""Support-vector machine with a Gaussian kernel on the latents of a frozen encoder.

Cortes and Vapnik, Machine Learning 20, 273 (1995); scores as in Platt (1999). The code is
scikit-learn's SVC. Latents are standardised with the training examples, unless ``scale`` is ``raw``;
C and gamma are the pair of the grid with the best validation AUC; Platt's slope and offset are fitted
on the validation examples too. The fitted machine becomes a head whose tensors are buffers: it is
stored, exported and counted like any network.

Above ``exact_up_to`` training examples the kernel is approximated on ``landmarks`` of them, drawn
anew (Nystroem; Williams and Seeger, NeurIPS 2000), under a linear machine with squared hinge loss.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC, LinearSVC
from torch import Tensor, nn

from hepbench import DataError
from hepbench_methods.latents import encoded, scaling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepbench import Array, Context, Examples, Network, TrainingData


class SupportVectors(nn.Module):
    """A head that computes logits from latents by a fitted support-vector machine.

    Args:
        width: number of latents.
        classes: two.
        vectors: number of support vectors or landmarks.
    """

    def __init__(self, width: int, classes: int, *, vectors: int) -> None:
        super().__init__()
        if classes != 2:
            msg = f"svm: {classes} classes; its head separates two"
            raise DataError(msg)
        shapes = {
            "mean": (width,),
            "std": (width,),
            "vectors": (vectors, width),
            "weights": (vectors,),
            "intercept": (),
            "gamma": (),
            "platt": (2,),
        }
        for name, shape in shapes.items():
            # float32 would differ from scikit-learn by 3e-4
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    def decision(self, latents: Tensor) -> Tensor:
        """Return the distances (N,) of latents from the decision boundary, as in scikit-learn."""
        x = (latents.double() - self.mean) / self.std
        squares = x.square().sum(1, keepdim=True) + self.vectors.square().sum(1)
        kernel = (-self.gamma * (squares - 2 * x @ self.vectors.T)).exp()
        # FLOP counters count a product of matrices, but overlook a matrix times a vector
        return (kernel @ self.weights[:, None])[:, 0] + self.intercept

    def forward(self, latents: Tensor) -> Tensor:
        """Return the (N, 2) logits of latents: 0 and slope x distance + offset."""
        logit = self.platt[0] * self.decision(latents) + self.platt[1]
        return torch.stack([torch.zeros_like(logit), logit], 1)


class Machine(NamedTuple):
    """A support-vector machine that was fitted on scaled latents, with M support vectors."""

    vectors: Array
    weights: Array
    intercept: float
    gamma: float

    def decision(self, latents: Array) -> Array:
        """Return the distances (N,) of scaled latents from the decision boundary."""
        return rbf_kernel(latents, self.vectors, gamma=self.gamma) @ self.weights + self.intercept


def svm(
    start: Network,
    data: TrainingData,
    context: Context,
    *,
    C: Sequence[float],
    gamma: Sequence[float],
    scale: str,
    exact_up_to: int,
    landmarks: int,
) -> Network:
    """Fit a support-vector machine for each C and gamma; the best on validation is the head.

    Args:
        start: its encoder makes the latents.
        data: labels of two classes.
        context: its seed draws the landmarks.
        C: penalty of an example on the wrong side.
        gamma: of the kernel exp(-gamma d^2), in units of 1 / (width x variance of all latents), which
            is scikit-learn's "scale".
        scale: ``each``: each latent is standardised; ``raw``: latents as they are.
        exact_up_to: number of training examples above which the kernel is approximated.
        landmarks: number of examples that the approximation uses.

    Raises:
        DataError: the number of classes is not two.
    """
    train, validation = data.train, data.validation
    _check_classes(data)
    latents, others = encoded(start, data, context)
    mean, std, variance = _scaling(latents, scale)
    latents, others = (latents - mean) / std, (others - mean) / std
    fit = _exact
    if len(latents) > exact_up_to:
        rows = np.random.default_rng(context.seed).permutation(len(latents))[:landmarks]
        fit = partial(_nystroem, latents[rows])
    grid = [(c, g / (latents.shape[1] * variance)) for g in gamma for c in C]
    machines = [fit(latents, train, c=c, gamma=g) for c, g in grid]
    best = max(machines, key=lambda machine: _auc(machine.decision(others), validation))
    platt = _platt(best.decision(others), validation)
    values = {**best._asdict(), "mean": mean, "std": std, "platt": platt}
    network = context.with_head(start, vectors=len(best.vectors))
    tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
    network.head.load_state_dict(tensors)
    return network


def _check_classes(data: TrainingData) -> None:
    found = len(np.unique(data.train.labels))
    if data.classes != 2 or found != 2:
        msg = f"svm: {data.classes} classes, of which train has {found}; "
        raise DataError(msg + "it separates two classes and needs examples of both")


def _scaling(latents: Array, scale: str) -> tuple[Array, Array, float]:
    """Return mean and standard deviation to scale latents with, and the variance after scaling."""
    if scale == "raw":
        width = latents.shape[1]
        return np.zeros(width), np.ones(width), float(latents.var()) or 1.0
    return *scaling(latents), 1.0


def _exact(latents: Array, train: Examples, *, c: float, gamma: float) -> Machine:
    fitted = SVC(C=c, gamma=gamma).fit(latents, train.labels, sample_weight=train.weights)
    return Machine(fitted.support_vectors_, fitted.dual_coef_[0], fitted.intercept_[0], gamma)


def _nystroem(
    landmarks: Array, latents: Array, train: Examples, *, c: float, gamma: float
) -> Machine:
    values, axes = np.linalg.eigh(rbf_kernel(landmarks, gamma=gamma))
    kept = values > 1e-6 * values[-1]
    basis = axes[:, kept] / np.sqrt(values[kept])
    features = rbf_kernel(latents, landmarks, gamma=gamma) @ basis
    fitted = LinearSVC(C=c, dual=False).fit(features, train.labels, sample_weight=train.weights)
    return Machine(landmarks, basis @ fitted.coef_[0], fitted.intercept_[0], gamma)


def _auc(decision: Array, examples: Examples) -> float:
    return float(roc_auc_score(examples.labels, decision, sample_weight=examples.weights))


def _platt(decision: Array, examples: Examples) -> Array:
    """Fit the logit of signal as slope x distance + offset (Platt scaling)."""
    fitted = LogisticRegression(C=1e6).fit(
        decision[:, None], examples.labels, sample_weight=examples.weights
    )
    return np.array([fitted.coef_[0, 0], fitted.intercept_[0]])
