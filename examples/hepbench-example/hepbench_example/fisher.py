"""A model: Fisher's linear discriminant in plain numpy.

Fisher, Annals of Eugenics 7, 179 (1936). Every class is a Gaussian with its own mean and a shared
covariance; a score is the probability of a class, with the class frequencies of the training part.
Departures: the covariance is shrunk to its diagonal, and there is a temperature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepbench import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import ModelProto

    from hepbench import Array, Inputs, TrainingData


class Fisher:
    """An estimator: it has ``fit`` and ``scores``, and ``vars()`` is all of its state.

    Plain values and numpy arrays are stored as JSON and npy, never as pickle.

    Args:
        shapes: of one example; ``table`` is (features,).
        shrinkage: fraction of the covariance that is replaced by its diagonal.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], *, shrinkage: float) -> None:
        (self.features,) = shapes["table"]
        self.shrinkage = shrinkage
        self.slopes = np.zeros((self.features, 0))
        self.offsets = np.zeros(0)
        # set by methods that need "temperature"
        self.temperature = 1.0
        # shown in tables
        self.parameters = 0

    def fit(self, data: TrainingData, *, seed: int) -> None:  # noqa: ARG002 - nothing in it is random
        """Fit on ``data.train`` alone; random numbers would come from ``seed``.

        Raises:
            DataError: a class has no training example.
        """
        table = data.train.inputs["table"].astype(float)
        weights = np.ones(len(table)) if data.train.weights is None else data.train.weights
        member = weights[:, None] * (data.train.labels[:, None] == np.arange(data.classes))
        if not member.any(axis=0).all():
            msg = "fisher: a class has no training example; every class needs one"
            raise DataError(msg)
        means = (member.T @ table) / member.sum(axis=0)[:, None]
        residuals = table - means[data.train.labels]
        covariance = (weights[:, None] * residuals).T @ residuals / weights.sum()
        diagonal = np.diag(np.diag(covariance))
        shrunk = (1 - self.shrinkage) * covariance + self.shrinkage * diagonal
        # the pseudo-inverse ignores constant features
        self.slopes = np.linalg.pinv(shrunk, hermitian=True) @ means.T
        fractions = member.sum(axis=0) / weights.sum()
        self.offsets = np.log(fractions) - np.einsum("cf,fc->c", means, self.slopes) / 2
        self.parameters = self.slopes.size + self.offsets.size

    def scores(self, inputs: Inputs) -> Array:
        """Return (N, classes) probabilities; a row depends on its own example alone."""
        logits = (inputs["table"] @ self.slopes + self.offsets) / self.temperature
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def onnx(self) -> ModelProto:
        """Return the graph of its scores; optional, for its latency in ONNX Runtime."""
        from onnx import TensorProto, helper, numpy_helper

        constants = {"slopes": self.slopes, "offsets": self.offsets, "t": self.temperature}
        nodes = [
            helper.make_node("Cast", ["table"], ["wide"], to=TensorProto.DOUBLE),
            helper.make_node("MatMul", ["wide", "slopes"], ["products"]),
            helper.make_node("Add", ["products", "offsets"], ["sums"]),
            helper.make_node("Div", ["sums", "t"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
        ]
        graph = helper.make_graph(
            nodes,
            "fisher",
            # None: any number of examples
            [helper.make_tensor_value_info("table", TensorProto.FLOAT, [None, self.features])],
            [
                helper.make_tensor_value_info(
                    "scores", TensorProto.DOUBLE, [None, len(self.offsets)]
                )
            ],
            [numpy_helper.from_array(np.asarray(v, float), name) for name, v in constants.items()],
        )
        # versions that installed runtimes know, not the newest ones
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
