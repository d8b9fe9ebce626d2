"""Logistic regression on standardised features.

Cox, Journal of the Royal Statistical Society B 20, 215 (1958); for more than two classes the
multinomial form. The code is scikit-learn's StandardScaler and LogisticRegression (lbfgs, L2). Mean
and standard deviation are those of the training examples; the inverse strength C of the penalty is
the one of ``strengths`` with the smallest validation loss.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from hepbench import DataError, HepbenchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hepbench import Array, Examples, Inputs, TrainingData


class Logistic:
    """An estimator on ``table``; nothing in it is random, so every seed gives the same.

    Args:
        shapes: of one example; ``table`` is (features,).
        strengths: values of C, the inverse strength of the penalty, to try.
        max_iterations: of lbfgs for each C; no convergence by then is an error.
    """

    trusts: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        strengths: Sequence[float],
        max_iterations: int,
    ) -> None:
        (self.features,) = shapes["table"]
        self.strengths, self.max_iterations = list(strengths), max_iterations
        self.scaler: StandardScaler | None = None
        self.classifier: LogisticRegression | None = None
        self.parameters = 0
        self.history: list[dict[str, float]] = []
        self.best_epoch = 0

    def fit(self, data: TrainingData, *, seed: int) -> None:
        """Fit once for each C; keep the fit with the least validation loss.

        Raises:
            DataError: a class has no training example.
            HepbenchError: lbfgs did not converge.
        """
        train = data.train
        missing = sorted(set(range(data.classes)) - set(np.unique(train.labels).tolist()))
        if missing:
            msg = f"logistic: class {missing[0]} has no training example; every class needs one"
            raise DataError(msg)
        self.scaler = StandardScaler().fit(_table(train.inputs), sample_weight=train.weights)
        fits = [self._fit(train, strength, seed) for strength in self.strengths]
        self.history = [
            {
                "iteration": step,
                "C": fit.C,
                "train_loss": self._loss(fit, train),
                "validation_loss": self._loss(fit, data.validation),
            }
            for step, fit in enumerate(fits)
        ]
        self.best_epoch = int(np.argmin([step["validation_loss"] for step in self.history]))
        self.classifier = fits[self.best_epoch]
        self.parameters = self.classifier.coef_.size + self.classifier.intercept_.size

    def scores(self, inputs: Inputs) -> Array:
        """Return (N, classes) probabilities."""
        return self.classifier.predict_proba(self.scaler.transform(_table(inputs)))

    def cost(self) -> dict[str, float]:
        """Return one multiply-add for each feature, and for each class where there are several."""
        return {"macs": self.classifier.coef_.size}

    def _fit(self, train: Examples, strength: float, seed: int) -> LogisticRegression:
        classifier = LogisticRegression(C=strength, max_iter=self.max_iterations, random_state=seed)
        table = self.scaler.transform(_table(train.inputs))
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                return classifier.fit(table, train.labels, sample_weight=train.weights)
            except ConvergenceWarning:
                msg = (
                    f"logistic: C = {strength} did not converge in {self.max_iterations} "
                    "iterations; raise model.max_iterations"
                )
                raise HepbenchError(msg) from None

    def _loss(self, classifier: LogisticRegression, examples: Examples) -> float:
        scores = classifier.predict_proba(self.scaler.transform(_table(examples.inputs)))
        labels, weights = examples.labels, examples.weights
        return float(log_loss(labels, scores, sample_weight=weights, labels=classifier.classes_))


def _table(inputs: Inputs) -> Array:
    # float32 is too coarse for lbfgs to see that it has converged
    return np.asarray(inputs["table"], np.float64)
