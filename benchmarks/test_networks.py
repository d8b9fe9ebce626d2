"""Time what networks and estimators compute: scores of every model, batches, epochs of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import images
import numpy as np
import pytest
import torch
import training
from counts import SETTINGS, network
from networks import NETWORKS

from hepbench import TrainingData
from hepbench.registry import plugins
from hepbench.registry.resolve import resolve
from hepbench.specs.parameters import defaults
from hepbench.training.networks import batches

if TYPE_CHECKING:
    from hepbench.training.networks.network import Network

BATCH = 16

DATASETS = {name: d.partition("[")[0] for d, names in NETWORKS.items() for name in names}

ESTIMATORS = ("gbdt", "logistic")


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_scores_of_a_network(paced, name):
    """An untrained network of the quick preset scores a batch."""
    dataset = DATASETS[name]
    built = network(name, dataset, SETTINGS["quick"][dataset], "quick")
    inputs = {key: torch.cat([x] * BATCH)[:BATCH] for key, x in built.example_inputs().items()}
    with torch.inference_mode():
        scores = paced(lambda: built(inputs), kernel="arrays")
    assert scores.shape == (BATCH, 2)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_scores_of_an_estimator(paced, name):
    """An estimator that was fitted to 2,000 examples scores them in Python."""
    spec = plugins.installed().entry("model", name).spec
    case = training.CASES[0]
    examples = training.examples(case, 2000, 0)
    data = TrainingData(train=examples, validation=training.examples(case, 500, 2000))
    shapes = {"table": case.shape}
    estimator = resolve(spec.build)(shapes, **defaults(spec.params, "quick"))
    estimator.fit(data, seed=0)
    scores = paced(lambda: estimator.scores(examples.inputs), kernel="arrays")
    assert scores.shape == (2000, 2)


def test_training_of_a_network(paced):
    """``Context.fit`` takes 40 steps an epoch, and validates after each of 3 epochs."""
    case = training.CASES[0]
    n = case.steps * case.batch_size
    train, validation = training.examples(case, n, 0), training.examples(case, n // 4, n)
    data = TrainingData(train=train, validation=validation)

    def trained() -> Network:
        network = case.network()
        training.ours(case, data, network)
        return network

    assert not paced(trained, kernel="arrays", rounds=5).training


@pytest.mark.parametrize("dataset", ["boosted-jets", "electron-photon", "quark-gluon"])
def test_batches_of_sparse_images(paced, tmp_path, dataset):
    """All images of a sample are read from the cache's format in random order."""
    made = images.images(dataset)
    source, _ = images.cached(made, tmp_path)
    order = np.random.default_rng(1).permutation(len(made))

    def batch_count() -> int:
        spans = batches.spans(len(made), 128, order)
        return sum(1 for rows in spans if source.batch(rows))

    assert paced(batch_count, kernel="arrays", rounds=10) == -(-len(made) // 128)
