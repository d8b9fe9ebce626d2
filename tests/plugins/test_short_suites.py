"""The suites quickstart and standard: what they must show, as planned; nothing is run."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

from hepbench.planning.matrix import Choice, expand
from hepbench.registry.plugins import installed
from hepbench.running.session import read_suite

STAND_FOR_MANY = {"timm", "pyg"}
"""Models that build a network by its name in a library."""


def planned(name):
    """The suite, and its rows: dataset, model and chain, each with parameters."""
    suite = read_suite(name, installed())
    combinations, misfits = expand(suite, installed(), Choice())
    assert not misfits
    return suite, combinations


@pytest.fixture(scope="module")
def quickstart():
    """The suite quickstart and its rows."""
    return planned("quickstart")


def test_quickstart_has_few_rows_and_seeds_enough_for_paired_tests(quickstart):
    """It is to be read at a glance, and one seed shows nothing."""
    suite, rows = quickstart
    assert 8 <= len(rows) <= 14
    assert len(suite.seed_list()) >= 2
    assert suite.cost


def test_quickstart_shows_networks_beside_trees_on_each_dataset_with_all_labels(quickstart):
    """On the same examples: a network alone says nothing."""
    models = defaultdict(set)
    for row in quickstart[1]:
        if row.dataset_params["label_fraction"] == 1.0:
            models[row.labels[0]].add(row.model.spec.name)
    assert len(models) >= 2
    for some in models.values():
        assert {"gbdt", "logistic"} < some


def test_quickstart_prunes_a_network_that_has_a_row_of_its_own(quickstart):
    """The dense network is what the pruned one is compared with."""
    chains = {row.labels for row in quickstart[1]}
    pruned = [row.labels for row in quickstart[1] if "+prune-structured" in row.labels[2]]
    assert pruned
    for dataset, model, chain in pruned:
        assert (dataset, model, chain.partition("+prune-structured")[0]) in chains


def test_quickstart_pretrains_a_network_beside_one_with_the_same_labels_alone(quickstart):
    """With few of them, and an equal training on labels."""
    by_chain = {row.labels[2]: row for row in quickstart[1] if "vae" in row.labels[1]}
    alone, pretrained = by_chain["scratch"], by_chain["pretrain+finetune"]
    assert alone.labels[:2] == pretrained.labels[:2]
    assert alone.dataset_params["label_fraction"] <= 0.1
    (labels_alone,), (_, labels_after) = alone.method_params, pretrained.method_params
    for name in ("epochs", "batch_size", "min_steps", "augment", "monitor"):
        assert labels_alone[name] == labels_after[name]


def test_quickstart_has_published_values(quickstart):
    """Of networks that it trains; the conformance tests check that they belong to rows."""
    assert len(quickstart[0].published) >= 2


def test_standard_has_every_model_on_a_dataset_it_was_made_for():
    """Except those that stand for a whole library; each dataset has trees on its table."""
    _, rows = planned("standard")
    assert {row.model.spec.name for row in rows} == ({*installed().names("model")} - STAND_FOR_MANY)
    datasets = {row.labels[0] for row in rows}
    assert {re.sub(r"\[.*", "", name) for name in datasets} == {*installed().names("dataset")}
    for name in datasets:
        assert any(row.labels[0] == name and row.model.spec.name == "gbdt" for row in rows)


def test_standard_has_every_kind_of_method():
    """Pretraining, SVM on latents, fine-tuning, linear probe, joint training, three prunings."""
    _, rows = planned("standard")
    assert {entry.spec.name for row in rows for entry in row.methods} >= {
        *("scratch", "pretrain", "svm", "finetune", "linear-probe", "joint"),
        *("prune-unstructured", "prune-iterative", "prune-structured"),
    }
