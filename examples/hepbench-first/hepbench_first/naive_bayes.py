"""Naive Bayes: every feature is an independent Gaussian in each class."""

from __future__ import annotations

import numpy as np


class NaiveBayes:
    """An estimator: it fits itself, then gives scores."""

    def __init__(self, shapes, *, smoothing):
        (self.features,) = shapes["table"]
        self.smoothing = smoothing
        self.means = self.variances = np.zeros((0, self.features))

    def fit(self, data, *, seed):  # noqa: ARG002 - nothing in it is random
        """Take mean and variance of each feature in each class of the training examples."""
        table, labels = data.train.inputs["table"], data.train.labels
        classes = [table[labels == label] for label in range(data.classes)]
        self.means = np.stack([rows.mean(axis=0) for rows in classes])
        # some of the variance of all examples is added, so that none is 0
        self.variances = np.stack([rows.var(axis=0) for rows in classes])
        self.variances += self.smoothing * table.var(axis=0)

    def scores(self, inputs):
        """Return the probabilities (N, classes) of the classes."""
        squares = (inputs["table"][:, None] - self.means) ** 2 / self.variances
        logs = -(squares + np.log(self.variances)).sum(axis=2) / 2
        odds = np.exp(logs - logs.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)
