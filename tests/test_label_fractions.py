"""Label fractions: few labels for the methods that see any, every input for those that see none."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import tinynets
from conftest import Workbench, bench_that_ran

from hepbench import Examples, TrainingData
from hepbench.data import splits
from hepbench.evaluation import joining
from hepbench.running.recording import Recorder
from hepbench.storage.results import ResultsFolder
from hepbench.training import score_checks
from hepbench.training.messages import Trained

SUITE = """
name = "few"
cost = false
seeds = 2
[[run]]
datasets = ["blobs[n=500]"]
models = ["vae"]
methods = ["scratch-net", "pre+probe"]
label_fractions = [0.02, 0.1, 1.0]
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Workbench:
    """Return a workbench where every cell of the suite ran."""
    return bench_that_ran(tmp_path_factory.mktemp("few"), "few", SUITE)


def record(bench, fraction, chain, seed=0):
    label = "" if fraction == 1 else f",label_fraction={fraction}"
    return bench.records()[f"blobs[n=500{label}]/vae/{chain}#{seed}"]


def trained(bench, found):
    """Return the ids and scores of the training examples that a record's training metrics are computed on."""
    results = bench.folder / "results"
    labels = dict(np.load(results / found.labels.path))
    predictions = joining.join(labels, results / found.predictions.path)["train"]
    return predictions.ids, predictions.scores


@pytest.mark.parametrize(("fraction", "n"), [(0.02, 6), (0.1, 30), (1, 300)])
def test_a_method_sees_so_many_labels(ran, fraction, n):
    """The others are counted as unlabelled; test and validation parts are the same."""
    for chain in ("scratch-net", "pre+probe"):
        found = record(ran, fraction, chain)
        assert (found.data.n_train, found.data.n_unlabelled) == (n, 300 - n)
        assert (found.data.n_validation, found.data.n_test) == (100, 100)
        assert found.data.split_hash == record(ran, 1, chain).data.split_hash


def test_the_choice_is_the_same_for_every_method_and_another_for_each_seed(ran):
    """So seeds show how much hangs on which examples have labels."""
    first, second = (trained(ran, record(ran, 0.1, c))[0] for c in ("scratch-net", "pre+probe"))
    other = trained(ran, record(ran, 0.1, "scratch-net", seed=1))[0]
    fewer = trained(ran, record(ran, 0.02, "scratch-net"))[0]
    assert len(first) == 30
    assert set(first) == set(second) != set(other)
    assert set(fewer) < set(first)


def test_pretraining_is_shared_by_all_fractions(ran):
    """It sees every training input and no label: one encoder for each seed."""
    recipes = (ran.folder / "cache" / "stages").glob("*/*/recipe.json")
    encoders = [r for r in map(json.loads, (p.read_text() for p in recipes)) if r["head"] is None]
    assert len(encoders) == 2


def test_metrics_of_training_are_of_examples_whose_labels_were_seen(ran):
    """And they are recomputed from what is stored."""
    ids, scores = trained(ran, record(ran, 0.02, "scratch-net"))
    assert len(ids) == len(scores) == 6
    assert ran("verify").code == 0


def test_the_table_says_how_many_had_labels(ran):
    """One table for each fraction: few labels are not ranked with many."""
    out = " ".join(ran("table").out.split())
    assert "blobs[n=500,label_fraction=0.02]" in out
    assert "label_fraction: fraction of the training labels that methods see" in out
    assert "6 training, 100 validation, 100 test examples; 294 more without labels" in out


def test_the_table_says_how_many_labels_a_training_from_scratch_needs(ran):
    """Of rows that pretrain, within the numbers of labels that were tried; with two seeds, an interval."""
    rows = json.loads(ran("table", "--format", "json").out)
    found = {(row["chain"], row["n_train"]): row for row in rows}
    for (chain, _), row in found.items():
        known = [row[f"labels_from_scratch{end}"] for end in ("", "_low", "_high")]
        if chain == "scratch-net":
            assert known == [None] * 3
        else:
            assert 6 <= known[1] <= known[2] <= 300
            assert 6 <= known[0] <= 300
    text = " ".join(ran("table").out.split())
    assert "labels from scratch: labels at which the same model, trained from scratch, has" in text


def test_the_cost_of_a_pretraining_is_that_of_the_stage_that_ran(ran):
    """All fractions of a seed share it; chains that do not pretrain have none."""
    costs = [record(ran, fraction, "pre+probe").cost for fraction in (0.02, 0.1, 1)]
    assert len({(cost.pretrain_cpu_seconds, cost.pretrain_examples) for cost in costs}) == 1
    assert 0 < costs[0].pretrain_cpu_seconds < costs[0].train_cpu_seconds
    assert costs[0].pretrain_examples % 300 == 0
    without = record(ran, 1, "scratch-net").cost
    assert (without.pretrain_cpu_seconds, without.pretrain_examples) == (None, None)
    text = " ".join(
        ran("table", "--columns", "auc,pretrain_cpu_seconds,pretrain_examples").out.split()
    )
    assert "spent once for all rows with the same pretraining" in text


@pytest.mark.parametrize("value", ["0", "1.5", "-0.1", "true", '"few"'])
def test_a_fraction_is_above_zero_and_at_most_one(ran, value):
    """Anything else is refused, on the command line and in a suite."""
    done = ran("plan", "few.toml", "--set", f"dataset.label_fraction={value}")
    assert done.code == 2
    assert "a number above 0 and of at most 1 is expected" in done.err


def test_of_many_training_examples_those_with_labels_are_scored(monkeypatch, tmp_path):
    """Not those of them that other cells keep; their labels are found again."""
    monkeypatch.setattr(splits, "KEPT_TRAIN_SCORES", 50)
    ids, labels = np.arange(1000, 1300), np.arange(300) % 2
    parts = {part: examples(20) for part in ("validation", "test")}
    table = np.stack([labels, ids], 1).astype(np.float32)
    parts["train"] = Examples(inputs={"table": table}, ids=ids, labels=labels)
    np.savez(tmp_path / "train.npz", rows=np.arange(300), ids=ids, labels=labels)
    for part in ("validation", "test"):
        np.savez(
            tmp_path / f"{part}.npz", rows=np.arange(20), ids=np.arange(20), labels=labels[:20]
        )

    def scores(inputs):
        signal = np.clip(inputs["table"][:, 0], 0, 1)
        return np.stack([1 - signal, signal], 1)

    made = score_checks.MethodOutput(Trained(seconds=1.0), scores, scores, scores)
    task = tinynets.task("m", "")
    for trained in (np.arange(0, 300, 10), np.arange(0, 300, 2)):
        score_checks.score_parts(task, made, parts, tmp_path, labelled=trained)
        path = tmp_path / "scores.npz"
        found = joining.join(joining.labels_of(tmp_path, joining.chosen_rows(path)), path)
        assert set(found["train"].ids) <= set(ids[trained])
        assert len(found["train"].ids) == min(50, len(trained))
        assert (found["train"].scores[:, 1] == found["train"].labels).all()


def test_cells_of_one_split_with_other_training_examples_have_their_own_labels(tmp_path):
    """A label-free method that makes a classifier sees more examples than the other methods."""
    for part in splits.PARTS:
        np.savez(tmp_path / f"{part}.npz", ids=np.arange(20), labels=np.arange(20) % 2)
    recorder = Recorder(
        plan=SimpleNamespace(suite=SimpleNamespace(name="few"), stages={}),
        cache=SimpleNamespace(folder=lambda _: tmp_path),
        results=ResultsFolder(tmp_path / "results"),
        **dict.fromkeys(("environment", "validity", "threads")),
    )
    cell = SimpleNamespace(split="split")

    def labels(rows):
        scores = tmp_path / "scores.npz"
        np.savez(scores, **({} if rows is None else {"rows": np.array(rows)}))
        found, stored = recorder._labels_of(cell, scores)
        return found["train.ids"].tolist(), stored.path

    assert labels(None) == ([*range(20)], "labels/split.npz")
    seen = [labels(rows) for rows in ([3, 5], [3, 5, 7], [3, 5])]
    assert [ids for ids, _ in seen] == [[3, 5], [3, 5, 7], [3, 5]]
    assert seen[0] == seen[2]
    assert seen[0][1] != seen[1][1]


def examples(n, first=0, **more):
    return Examples(inputs={"table": np.full((n, 1), first)}, ids=np.arange(n), **more)


def test_unlabelled_examples_join_what_a_method_without_labels_is_given():
    """Their ids may equal those of labelled examples."""
    data = TrainingData(
        train=examples(4, labels=np.zeros(4, int)),
        validation=examples(3)[3:],
        unlabelled=examples(5, first=1),
    )
    train = data.without_labels().train
    assert train.labels is None
    assert train.inputs["table"].sum() == 5
    assert len(set(train.ids)) == len(train) == 9


def test_withheld_labels_leave_their_inputs():
    """They stand before the dataset's own unlabelled examples."""
    data = TrainingData(
        train=examples(4, labels=np.array([0, 1, 0, 1])),
        validation=examples(3)[3:],
        unlabelled=examples(2, first=1),
    )
    few = data.with_labels_of(np.array([1, 2]))
    assert few.train.labels.tolist() == [1, 0]
    assert few.unlabelled.labels is None
    assert few.unlabelled.inputs["table"][:, 0].tolist() == [0, 0, 1, 1]
