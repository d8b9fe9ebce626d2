"""The protocol, broken point by point by the plugins in ``faults/``, on the real command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import TESTS, Done, Workbench

from hepbench import Predictions, evaluate, metrics
from hepbench.records import Record

FAULTS = TESTS / "faults"

SUITE = """
name = "faults"
[[run]]
datasets = ["toy", "toy[n=5000]", "doubled", "repeated", "unsealed"]
models = ["line", "squashed", "neighbours", "constant", "nan", "narrow", "unnormed", "negative",
          "words"]
methods = ["fit", "stop-on-train", "rescale-in-place"]
"""

TWO_LINES = """
name = "two-lines"
{}
[[run]]
datasets = ["toy"]
models = ["line", "line[slope=2.0]"]
methods = ["fit"]
"""

Caught = Callable[..., tuple[Done, Record]]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Workbench:
    """Return a workbench with the faulty methods, models and datasets; tests share its cache."""
    bench = Workbench(tmp_path_factory.mktemp("faults"))
    for path in (
        TESTS / "plugins" / "toys.py",
        FAULTS / "copies.py",
        FAULTS / "odd_scores.py",
        FAULTS / "rescales_in_place.py",
        FAULTS / "stops_on_train.py",
    ):
        bench.plugin(path)
    bench.write("faults.toml", SUITE)
    return bench


@pytest.fixture(scope="module")
def caught(place) -> Caught:
    """Return a function that runs one cell, and returns how the run ended and the record."""

    def run(dataset: str = "toy", model: str = "line", method: str = "fit") -> tuple[Done, Record]:
        done = place("run", "faults.toml", "-d", dataset, "-m", model, "-x", method)
        return done, place.records()[f"{dataset}/{model}/{method}#0"]

    return run


def text(done: Done) -> str:
    """Return what a command printed, its lines joined: notes are wrapped to the terminal."""
    return " ".join(done.out.split())


# --- 1: the test part is sealed


@pytest.fixture(scope="module")
def hunted(tmp_path_factory) -> Workbench:
    """Return a workbench where hunters ran: the second when the first had been evaluated."""
    bench = Workbench(tmp_path_factory.mktemp("hunted"))
    bench.plugin(TESTS / "plugins" / "toys.py")
    bench.plugin(FAULTS / "hunter.py")
    bench.environment["HUNT"] = str(bench.folder / "hunt")
    (bench.folder / "hunt").mkdir()
    bench.write("hunt.toml", TWO_LINES.format("seeds = 2").replace('"fit"', '"hunt"'))
    suite = (
        (bench.folder / "hunt.toml").read_text().replace('"line", "line[slope=2.0]"', '"hunter"')
    )
    bench.write("hunt.toml", suite)
    done = bench("run", "hunt.toml", "--jobs", "1")
    assert done.code == 0, done.err
    return bench


def found(bench: Workbench, moment: str) -> list[dict[str, bytes]]:
    """Return names, memory and files as each hunt of one kind wrote them."""
    paths = sorted((bench.folder / "hunt").glob(f"{moment}-*.npz"))
    assert len(paths) >= 2
    return [{k: a.tobytes() for k, a in np.load(path).items()} for path in paths]


def stage(bench: Workbench, file: str) -> Path:
    """Return the folder of the only stage in the cache that holds this file."""
    (path,) = (bench.folder / "cache" / "stages").glob(f"*/*/{file}")
    return path.parents[file.count("/")]


def written(values: np.ndarray) -> list[bytes]:
    """Return the bytes of the first hundred values in every way that they are likely kept in."""
    kinds = ("i8", "i4", "i2", "i1", "f8", "f4", "f2", ">i8", ">i4")
    texts = (separator.join(map(str, values[:100])).encode() for separator in ("", ",", ", ", "\n"))
    return [*(values[:100].astype(kind).tobytes() for kind in kinds), *texts]


@pytest.mark.parametrize("moment", ["method", "fit", "scores"])
def test_a_hunt_for_test_labels_finds_none(hunted, moment):
    """Neither in memory nor in files that are open, beside it or in a folder that it can name."""
    sealed = np.load(stage(hunted, "test.npz") / "test.npz")["labels"]
    every = np.load(stage(hunted, "labelled.labels.npy") / "labelled.labels.npy")
    for hunt in found(hunted, moment):
        for needle in (*written(sealed), *written(every)):
            assert needle not in hunt["memory"]
            assert needle not in hunt["files"]


@pytest.mark.parametrize("moment", ["method", "fit", "scores"])
def test_a_method_cannot_name_the_folders_that_hold_test_labels(hunted, moment):
    """Keys of the stages that read and split are in nothing that its process holds."""
    sealed = (stage(hunted, "test.npz"), stage(hunted, "labelled.labels.npy"))
    for hunt in found(hunted, moment):
        for folder in sealed:
            assert folder.name.encode() not in hunt["names"]


def test_no_test_example_is_in_memory_before_the_method_has_returned(hunted):
    """Neither its id nor its inputs."""
    folder = stage(hunted, "test/ids.npy") / "test"
    ids, table = (np.load(folder / name) for name in ("ids.npy", "input.table.npy"))
    for hunt in (*found(hunted, "method"), *found(hunted, "fit")):
        assert table[:50].tobytes() not in hunt["memory"]
        assert not any(needle in hunt["memory"] for needle in written(ids))


def test_the_hunt_finds_what_is_not_sealed(hunted):
    """Training labels, the folder of the inputs, and, when they are scored, the test ids."""
    labels = np.load(stage(hunted, "test.npz") / "train.npz")["labels"]
    inputs = stage(hunted, "test/ids.npy")
    ids = np.load(inputs / "test" / "ids.npy")
    for hunt in (*found(hunted, "method"), *found(hunted, "fit")):
        assert labels.tobytes() in hunt["memory"]
        assert labels.tobytes() in hunt["files"]
        assert inputs.name.encode() in hunt["names"]
    assert all(ids.tobytes() in hunt["memory"] for hunt in found(hunted, "scores"))


def test_looks_at_a_test_set_are_counted_and_shown(toys):
    """Each record that was scored on it is one look, also one that a newer record supersedes."""
    toys.write("two.toml", TWO_LINES.format("seeds = 2"))
    assert "(200 examples): looked at 4 times" in text(toys("run", "two.toml"))
    toys.plugin(
        (TESTS / "plugins" / "toys.py").read_text().replace("-self.slope", "-2 * self.slope"),
        "toys",
    )
    toys("run", "two.toml", "--seeds", "1")
    assert "(200 examples): looked at 6 times" in text(toys("table"))


def test_looks_at_the_same_test_examples_count_whatever_was_trained_on(toys):
    """A limit of the training examples makes no new test set."""
    names = '"toy", "toy[n_train=300]", "toy[n_train=100]"'
    toys.write("three.toml", TWO_LINES.format("").replace('"toy"', names))
    done = toys("run", "three.toml")
    tests = {r.labels.path: np.load(toys.folder / "results" / r.labels.path)["test.ids"]
             for r in toys.records().values()}  # fmt: skip
    assert len({ids.tobytes() for ids in tests.values()}) == 1
    assert "(200 examples): looked at 6 times" in text(done)


def test_unlabelled_copies_of_test_examples_are_counted_and_named(caught):
    """A method that sees unlabelled examples would train on test examples."""
    done, record = caught("unsealed")
    assert record.data.duplicates == {"unlabelled_test": 200}
    assert "200 of 200 test examples (100.0%) are exact copies of unlabelled" in text(done)


# --- 2: choices use validation only


def test_training_examples_are_refused_as_validation(caught):
    """The cell fails with the reason."""
    done, record = caught(method="stop-on-train")
    assert done.code == 2
    assert (record.status, record.error.type) == ("failed", "ProtocolError")
    assert "validation shares 600 of 600 examples with train" in record.error.message
    assert "failed in stop-on-train line: ProtocolError: validation shares" in text(done)


def test_what_a_method_does_to_its_inputs_does_not_change_what_is_scored(place, caught):
    """Each part is scored on its inputs as they were laid out: one threshold fits all of them."""
    _, sound = caught()
    _, rescaled = caught(method="rescale-in-place")
    one, other = (np.load(place.folder / "results" / r.predictions.path) for r in (sound, rescaled))
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(one[part], other[part])


def joined(bench: Workbench, record: Record) -> tuple[dict[str, np.ndarray], Path]:
    """Return the stored labels of a record, and where its scores are."""
    results = bench.folder / "results"
    return dict(np.load(results / record.labels.path)), results / record.predictions.path


def test_test_labels_never_move_the_threshold_of_the_accuracy(place, caught):
    """Permuted, they change the accuracy and leave the threshold, which is from validation."""
    _, record = caught()
    labels, scores = joined(place, record)
    test = evaluate.join(labels, scores)["test"]
    threshold = metrics.accuracy_threshold(test)
    assert threshold == metrics.accuracy_threshold(test.validation)
    right = (test.scores[:, 1] > threshold) == test.labels
    assert record.metrics["accuracy"].value == pytest.approx(right.mean())
    rng = np.random.default_rng(0)
    for _ in range(20):
        permuted = labels | {"test.labels": rng.permutation(labels["test.labels"])}
        again = evaluate.join(permuted, scores)["test"]
        assert metrics.accuracy_threshold(again) == threshold
        assert metrics.accuracy(again).value != metrics.accuracy(test).value


# --- metrics of plugins


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> tuple[Workbench, Done]:
    """Return a workbench where two faulty metrics were computed, and how the run ended."""
    bench = Workbench(tmp_path_factory.mktemp("measured"))
    bench.plugin(TESTS / "plugins" / "toys.py")
    bench.plugin(FAULTS / "best_threshold.py")
    bench.plugin(FAULTS / "tie_blind.py")
    bench.plugin(FAULTS / "odd_scores.py")
    models = '"line", "constant"'
    bench.write("two.toml", TWO_LINES.format("").replace('"line", "line[slope=2.0]"', models))
    done = bench("run", "two.toml")
    assert done.code == 0, done.err
    return bench, done


def test_a_threshold_chosen_on_the_test_labels_is_named(measured):
    """The metric that takes the best of all is named at every row that shows it."""
    bench, done = measured
    for record in bench.records().values():
        (warning,) = [w for w in record.warnings if w.startswith("metric best_accuracy: ")]
        assert warning.endswith("(chosen on the labels it scores?)")
    assert "metric best_accuracy: under random labels" in text(done)


def test_an_auc_that_is_blind_to_ties_is_named(measured):
    """It says something else than one half of a model that says nothing."""
    bench, done = measured
    record = bench.records()["toy/constant/fit#0"]
    assert record.metrics["tie_blind_auc"].value != 0.5
    assert "metric tie_blind_auc: depends on the order of rows (ties?)" in record.warnings
    assert "metric tie_blind_auc: depends on the order of rows (ties?)" in text(done)


def test_constant_scores_have_an_auc_of_exactly_one_half(measured):
    """Whatever the order of rows."""
    bench, _ = measured
    record = bench.records()["toy/constant/fit#0"]
    assert record.metrics["auc"].value == 0.5
    test = evaluate.join(*joined(bench, record))["test"]
    by_label = np.argsort(test.labels, kind="stable")
    for rows in (by_label, by_label[::-1], np.random.default_rng(0).permutation(len(by_label))):
        assert metrics.auc(reordered(test, rows)).value == 0.5


def reordered(predictions: Predictions, rows: np.ndarray) -> Predictions:
    """Return the same examples in another order."""
    p = predictions
    return replace(p, labels=p.labels[rows], scores=p.scores[rows], ids=p.ids[rows])


def test_a_metric_that_changes_its_arrays_spoils_no_other_figure(toys):
    """It is named, and what the core says of the same scores stays what it was without it."""
    toys.write("two.toml", TWO_LINES.format(""))
    toys("run", "two.toml")
    before = toys.records()
    toys.plugin(FAULTS / "sorts_scores.py")
    done = toys("run", "two.toml")
    for cell, record in toys.records().items():
        assert record.key != before[cell].key
        for name, value in before[cell].metrics.items():
            assert record.metrics[name] == value
    assert "a_first" in text(done)


# --- 4: splits


def test_copies_that_cross_the_split_are_counted_and_named(place, caught):
    """Of every row twice, some validation and test rows equal a training row."""
    done, record = caught("doubled")
    labels, _ = joined(place, record)
    rows = {p: set(labels[f"{p}.ids"] % 1000) for p in ("train", "validation", "test")}
    for pair, count in record.data.duplicates.items():
        first, second = pair.split("_")
        assert count == sum(i % 1000 in rows[first] for i in labels[f"{second}.ids"]) > 0
        share = f"({count / 400:.1%}) are exact copies of {first} examples"
        assert f"{count} of 400 {second} examples {share}" in text(done)
    assert set(record.data.duplicates) == {"train_validation", "train_test", "validation_test"}


def test_an_id_that_stands_for_two_examples_is_refused(caught):
    """The record names the dataset and the id."""
    done, record = caught("repeated")
    assert done.code == 2
    assert record.status == "failed"
    assert record.error.message.startswith("repeated: id 123 stands for more than one example")
    assert not record.metrics


# --- 6 and 11: scores


@pytest.mark.parametrize("dataset", ["toy", "toy[n=5000]"])
def test_scores_that_depend_on_their_neighbours_are_marked(caught, dataset):
    """For a small test part and for one of which only some examples are scored again."""
    done, record = caught(dataset, "neighbours")
    (warning,) = record.warnings
    assert warning.startswith("batch-dependent: scores change by up to 0.")
    assert "1 batch-dependent: scores change by up to 0." in text(done)


def test_scores_of_examples_on_their_own_are_not_marked(caught):
    """A sound model has no note."""
    done, record = caught()
    assert record.warnings == []
    assert "notes" not in done.out


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("nan", "scores must be finite"),
        ("narrow", "scores are (600,); (examples, classes) = (600, 2) is expected"),
        ("unnormed", "add to 1 in each row"),
        ("negative", "at least 0"),
        ("words", ""),
    ],
)
def test_scores_that_are_no_probabilities_fail_the_cell(caught, model, reason):
    """With one line that says why, and without any figure."""
    done, record = caught(model=model)
    assert done.code == (2 if reason else 1)
    assert record.status == "failed"
    assert reason in record.error.message
    assert "\n" not in record.error.message
    assert not record.metrics
    assert f"failed in fit {model}: {record.error.type}: " in text(done)


def test_an_accuracy_that_does_not_fit_its_auc_is_marked_with_what_is_odd(caught):
    """Scores in the right order, all above one half."""
    done, record = caught(model="squashed")
    assert record.metrics["auc"].value > 0.8
    assert record.metrics["accuracy_at_half"].value == pytest.approx(0.5, abs=0.05)
    (warning,) = record.warnings
    assert warning.startswith("accuracy: accuracy 0.")
    assert "the threshold 0.5 calls 100% signal where 50% is" in warning
    assert warning.endswith("so it is not calibrated")
    assert warning in text(done)


# --- 10 and 12: what a table may say

TURNED = ('inputs["table"][:, 0].astype(float)', '(inputs["table"] @ [1, self.turn]).astype(float)')


def turning(source: str) -> str:
    """Return ``toys`` with a model whose scores depend on its seed."""
    source = source.replace(
        "def fit(self, data, *, seed):",
        "def fit(self, data, *, seed):\n        self.turn = seed % 7 / 7\n",
    )
    return source.replace(*TURNED)


@pytest.mark.parametrize(("seeds", "shown"), [(1, r"±0\.\d+ +–  "), (3, r"±0\.\d+ +±0\.\d+  ")])
def test_both_uncertainties_are_shown(bench, seeds, shown):
    """The test sample's and the spread over seeds, which is a dash for one."""
    bench.plugin(turning((TESTS / "plugins" / "toys.py").read_text()), "toys")
    bench.write("two.toml", TWO_LINES.format(f"seeds = {seeds}"))
    done = bench("run", "two.toml")
    rows = [line for line in done.out.splitlines() if line.startswith("line")]
    assert len(rows) == 2
    assert all(re.search(shown, row) for row in rows), done.out
    values = [r.metrics["auc"].value for r in bench.records().values() if r.model == "line"]
    (row,) = [row for row in bench("table", "--format", "json").json if row["model"] == "line"]
    assert row["auc_stderr"] > 0
    assert row["auc_spread"] == (pytest.approx(np.std(values, ddof=1)) if seeds > 1 else None)


def rows_of(bench: Workbench) -> dict[str, dict]:
    """Return the rows of a workbench's table by model."""
    return {row["model"]: row for row in bench("table", "--format", "json").json}


def test_rows_with_other_splits_are_not_ranked_together(toys):
    """A footnote says that the split differs."""
    toys.write("two.toml", TWO_LINES.format(""))
    toys("run", "two.toml", "-m", "line")
    toys.write("two.toml", TWO_LINES.format("split_seed = 1"))
    toys("run", "two.toml", "-m", "line[slope=2.0]")
    note = "not comparable with the rows above: split ("
    assert note in text(toys("table"))
    rows = rows_of(toys)
    assert sorted(row["comparable"] for row in rows.values()) == [False, True]
    assert not any(row["best"] for row in rows.values())


def test_rows_with_other_data_under_one_name_are_not_ranked_together(toys):
    """A reader that yields other inputs for the same ids and labels makes other data."""
    toys.write("two.toml", TWO_LINES.format(""))
    toys("run", "two.toml", "-m", "line")
    source = (TESTS / "plugins" / "toys.py").read_text()
    toys.plugin(
        source.replace('{"table": table}, ids', '{"table": table + table[::-1]}, ids'), "toys"
    )
    toys("run", "two.toml", "-m", "line[slope=2.0]")
    assert "not comparable with the rows above: data (" in text(toys("table"))
    assert sorted(row["comparable"] for row in rows_of(toys).values()) == [False, True]


def test_seeds_of_different_code_are_not_averaged(toys):
    """A model that was edited between two seeds is two rows, or its mean would be of neither."""
    toys.write("two.toml", TWO_LINES.format("seeds = 2"))
    toys("run", "two.toml", "-m", "line")
    source = (TESTS / "plugins" / "toys.py").read_text()
    toys.plugin(source.replace("[:, 0].astype(float)", "[:, 1].astype(float)"), "toys")
    toys("run", "two.toml", "-m", "line", "--seeds", "1")
    records = toys.records()
    assert records["toy/line/fit#0"].metrics["auc"] != records["toy/line/fit#1"].metrics["auc"]
    assert [row["seeds"] for row in toys("table", "--format", "json").json] == [1, 1]
