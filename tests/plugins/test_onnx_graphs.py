"""ONNX graphs of the estimators give their scores: missing values, thresholds, several classes."""

from __future__ import annotations

import numpy as np
import pytest
from hepbench_models import GBDT, LOGISTIC, gbdt, logistic
from needs import needs_extra
from threadpoolctl import threadpool_limits

from hepbench import Examples, TrainingData
from hepbench.cost import estimator_export, onnx_runtime
from hepbench.specs.parameters import defaults

pytestmark = needs_extra("hepbench[onnx]")


@pytest.fixture(autouse=True)
def one_thread():
    """As in a worker."""
    with threadpool_limits(1):
        yield


def simulated(*, classes=2, missing=0.0, n=800):
    """Return training data: features far from 0, one of whole numbers, some values missing."""
    rng = np.random.default_rng(classes)
    labels = np.arange(n) % classes
    table = (10 * rng.normal(size=(n, 5)) + 1000 + 5 * labels[:, None]).astype(np.float32)
    table[:, 0] = table[:, 0].round(-1)
    table[rng.random(table.shape) < missing] = np.nan
    examples = Examples(inputs={"table": table}, ids=np.arange(n), labels=labels)
    half = n // 2
    return TrainingData(train=examples[:half], validation=examples[half:], classes=classes)


def trees(data, **params):
    """Return boosted trees that are fitted to some data."""
    settings = {**defaults(GBDT.params), "max_trees": 20, **params}
    estimator = gbdt.GradientBoosting({"table": (5,)}, **settings)
    estimator.fit(data, seed=0)
    return estimator


def difference(estimator, spec, table, folder):
    """Return the largest difference of a score between an estimator and its graph."""
    make = estimator_export.offered(estimator, spec.onnx)
    return estimator_export.export(make, estimator, {"table": table}, folder / "graph.onnx")


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_graph_of_trees_gives_their_scores(classes, missing, tmp_path):
    """Of one example, of 7 and of all, also where values are missing, infinite or were never so."""
    data = simulated(classes=classes, missing=missing)
    estimator = trees(data)
    table = data.validation.inputs["table"].copy()
    table[:40:2, 1], table[:40:3, 2], table[1:40:3, 2] = np.nan, np.inf, -np.inf
    assert estimator.best_epoch > 0
    assert difference(estimator, GBDT, table, tmp_path) < 1e-6


def test_a_feature_at_a_threshold_takes_the_same_branch(tmp_path):
    """A threshold between two neighbouring float32 numbers may round to the upper one."""
    low = np.float32(1.0)
    high = np.nextafter(low, np.float32(2))
    table = np.tile(np.array([[low], [high]], np.float32), (200, 5))
    labels = np.arange(400) % 2
    examples = Examples(inputs={"table": table}, ids=np.arange(400), labels=labels)
    data = TrainingData(train=examples[:200], validation=examples[200:], classes=2)
    estimator = trees(data)
    assert low <= estimator.trees._predictors[0][0].nodes["num_threshold"][0] < high
    # the midpoint rounds to the lower number, this threshold would round to the upper one
    for (tree,) in estimator.trees._predictors:
        tree.nodes["num_threshold"] = float(high) - 1e-12
    assert np.float32(float(high) - 1e-12) == high
    assert difference(estimator, GBDT, table, tmp_path) < 1e-6


@pytest.mark.parametrize("classes", [2, 3])
def test_the_graph_of_no_tree_is_the_frequency_of_each_class(classes, tmp_path):
    """The starting values alone."""
    data = simulated(classes=classes)
    estimator = trees(data)
    del estimator.trees._predictors[:]
    assert difference(estimator, GBDT, data.validation.inputs["table"], tmp_path) < 1e-6


@pytest.mark.parametrize("classes", [2, 3])
def test_the_graph_of_a_logistic_regression_gives_its_scores(classes, tmp_path):
    """Its scaler too: features have a mean of a hundred standard deviations."""
    data = simulated(classes=classes)
    estimator = logistic.Logistic({"table": (5,)}, **defaults(LOGISTIC.params))
    estimator.fit(data, seed=0)
    assert difference(estimator, LOGISTIC, data.validation.inputs["table"], tmp_path) < 1e-6


def test_a_graph_takes_any_number_of_examples(tmp_path):
    """It is timed with 1 and with 256."""
    data = simulated()
    estimator = trees(data)
    difference(estimator, GBDT, data.validation.inputs["table"], tmp_path)
    session = onnx_runtime.session(tmp_path / "graph.onnx")
    for n in (1, 256):
        (scores,) = session.run(None, {"table": data.validation.inputs["table"][:n]})
        assert scores.shape == (n, 2)
