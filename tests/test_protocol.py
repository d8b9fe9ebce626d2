"""The protocol, broken point by point by the plugins in ``faults/``, on the real command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import TESTS, Done, Workbench

from hepbench.evaluation import joining, metrics
from hepbench.storage.records import Record

if TYPE_CHECKING:
    from pathlib import Path

    from hepbench import Predictions

FAULTS = TESTS / "faults"
TOYS = TESTS / "plugins" / "toys.py"
DASH = "\N{EN DASH}"
PARTS = ("train", "validation", "test")

Caught = Callable[..., tuple[Done, Record]]


def suite(bench: Workbench, models: str, *, more: str = "", **lists: str) -> None:
    """Write ``suite.toml`` from names of datasets, models and methods, separated by spaces."""
    lists = {"datasets": "toy", "models": models, "methods": "fit", **lists}
    lines = (f"{name} = {names.split()}" for name, names in lists.items())
    bench.write(
        "suite.toml", "\n".join(['name = "suite"', "cost = false", more, "[[run]]", *lines])
    )


def text(done: Done) -> str:
    """Return the output of a command with its lines joined: notes are wrapped to the terminal."""
    return " ".join(done.out.split())


def edited(bench: Workbench, *changes: tuple[str, str]) -> None:
    """Install ``toys`` with parts of its source replaced."""
    source = TOYS.read_text()
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    bench.plugin(source, "toys")


def joined(bench: Workbench, record: Record) -> tuple[dict[str, np.ndarray], Path]:
    """Return the stored labels of a record, and the path of its scores."""
    results = bench.folder / "results"
    return dict(np.load(results / record.labels.path)), results / record.predictions.path


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Workbench:
    """Return a workbench with the faulty methods, models and datasets; tests share its cache."""
    bench = Workbench(tmp_path_factory.mktemp("faults"))
    bench.plugin(TOYS)
    for name in ("copies", "odd_scores", "rescales_in_place", "stops_on_train"):
        bench.plugin(FAULTS / f"{name}.py")
    suite(
        bench,
        "line squashed neighbours nan narrow unnormed negative words",
        datasets="toy toy[n=5000] doubled repeated unsealed borrowed",
        methods="fit stop-on-train rescale-in-place",
    )
    return bench


@pytest.fixture(scope="module")
def caught(place) -> Caught:
    """Return a function that runs one cell, and returns the finished command and the record."""

    def run(dataset: str = "toy", model: str = "line", method: str = "fit") -> tuple[Done, Record]:
        done = place("run", "suite.toml", "-d", dataset, "-m", model, "-x", method)
        return done, place.records()[f"{dataset}/{model}/{method}#0"]

    return run


# --- 1: the test part is sealed


@pytest.fixture(scope="module")
def hunted(tmp_path_factory) -> Workbench:
    """Return a workbench where methods searched for labels, some after others were evaluated."""
    bench = Workbench(tmp_path_factory.mktemp("hunted"))
    bench.plugin(TOYS)
    bench.plugin(FAULTS / "hunter.py")
    bench.environment["HUNT"] = str(bench.folder / "hunt")
    (bench.folder / "hunt").mkdir()
    suite(bench, "hunter", methods="hunt hunt-unlabelled", more="seeds = 2")
    done = bench("run", "suite.toml", "--jobs", "1")
    assert done.code == 0, done.err
    return bench


def found(bench: Workbench, *moments: str) -> list[dict[str, bytes]]:
    """Return names, memory and files that the searches at these moments wrote."""
    paths = [p for m in moments for p in sorted((bench.folder / "hunt").glob(f"{m}-*.npz"))]
    assert len(paths) >= 2 * len(moments)
    return [{name: array.tobytes() for name, array in np.load(path).items()} for path in paths]


def stage(bench: Workbench, file: str) -> Path:
    """Return the folder of the only stage in the cache that holds this file."""
    (path,) = (bench.folder / "cache" / "stages").glob(f"*/*/{file}")
    return path.parents[file.count("/")]


def written(values: np.ndarray) -> list[bytes]:
    """Return the first hundred values as bytes, in all types that may hold them."""
    kinds = ("i8", "i4", "i2", "i1", "f8", "f4", "f2", ">i8", ">i4")
    lines = (separator.join(map(str, values[:100])) for separator in ("", ",", ", ", "\n"))
    return [*(values[:100].astype(kind).tobytes() for kind in kinds), *map(str.encode, lines)]


@pytest.mark.parametrize("moment", ["method", "unlabelled", "fit", "scores"])
def test_a_search_for_test_labels_finds_none(hunted, moment):
    """It searches memory, open files, folders beside them and folders that it can name."""
    sealed = np.load(stage(hunted, "test.npz") / "test.npz")["labels"]
    every = np.load(stage(hunted, "labelled.labels.npy") / "labelled.labels.npy")
    for hunt in found(hunted, moment):
        for needle in (*written(sealed), *written(every)):
            assert needle not in hunt["memory"]
            assert needle not in hunt["files"]


def test_a_method_cannot_name_the_folders_that_hold_test_labels(hunted):
    """Its process does not hold the keys of the stages that read and split."""
    sealed = (stage(hunted, "test.npz"), stage(hunted, "labelled.labels.npy"))
    for hunt in found(hunted, "method", "unlabelled", "fit", "scores"):
        assert not any(folder.name.encode() in hunt["names"] for folder in sealed)


def test_no_test_example_is_in_memory_before_the_method_has_returned(hunted):
    """Neither ids nor inputs are."""
    folder = stage(hunted, "test/ids.npy") / "test"
    ids, table = (np.load(folder / name) for name in ("ids.npy", "input.table.npy"))
    for hunt in found(hunted, "method", "unlabelled", "fit"):
        assert table[:50].tobytes() not in hunt["memory"]
        assert not any(needle in hunt["memory"] for needle in written(ids))


def test_a_method_without_labels_has_none_in_its_memory(hunted):
    """They are neither in its data nor in variables of its callers."""
    with np.load(stage(hunted, "test.npz") / "train.npz") as columns:
        needles = written(columns["labels"])
    for hunt in found(hunted, "unlabelled"):
        assert not any(needle in hunt["memory"] for needle in needles)


def test_the_search_finds_data_that_are_not_hidden(hunted):
    """It finds training labels, the folder of the inputs, and test ids during scoring."""
    labels = np.load(stage(hunted, "test.npz") / "train.npz")["labels"]
    inputs = stage(hunted, "test/ids.npy")
    ids = np.load(inputs / "test" / "ids.npy")
    for hunt in found(hunted, "method", "fit"):
        assert labels.tobytes() in hunt["memory"]
        assert labels.tobytes() in hunt["files"]
        assert inputs.name.encode() in hunt["names"]
    assert all(ids.tobytes() in hunt["memory"] for hunt in found(hunted, "scores"))


def test_looks_at_a_test_set_are_counted_and_shown(toys):
    """Each record scored on it counts as one look, also if a newer record replaces it."""
    suite(toys, "line", more="seeds = 2")
    assert "(200 examples): looked at 2 times" in text(toys("run", "suite.toml"))
    edited(toys, ("-self.slope", "-2 * self.slope"))
    toys("run", "suite.toml", "--seeds", "1")
    assert "(200 examples): looked at 3 times" in text(toys("table"))


def test_looks_count_test_examples_whatever_the_training_examples(toys):
    """A limit on training examples does not make a new test set."""
    suite(toys, "line", datasets="toy toy[n_train=300] toy[n_train=100]")
    done = toys("run", "suite.toml")
    tests = {joined(toys, r)[0]["test.ids"].tobytes() for r in toys.records().values()}
    assert len(tests) == 1
    assert "(200 examples): looked at 3 times" in text(done)


def test_unlabelled_copies_of_test_examples_are_counted_and_named(caught):
    """A method that uses unlabelled examples would train on test examples."""
    done, record = caught("unsealed")
    assert record.data.n_unlabelled == 1000
    assert record.data.duplicates.get("unlabelled_test") == 200
    assert "200 of 200 test examples (100.0%) are exact copies of unlabelled" in text(done)


# --- 2: choices use validation only


def test_training_examples_are_refused_as_validation(caught):
    """The cell fails with the reason."""
    done, record = caught(method="stop-on-train")
    assert done.code == 2
    assert (record.status, record.error.type) == ("failed", "ProtocolError")
    assert "validation shares 600 of 600 examples with train" in record.error.message
    assert not record.metrics
    assert "failed in stop-on-train line: ProtocolError: validation shares" in text(done)


def test_a_method_that_changes_its_inputs_does_not_change_scores(place, caught):
    """Each part is scored on its original inputs: one threshold fits all."""
    sound, rescaled = (
        np.load(joined(place, caught(method=method)[1])[1])
        for method in ("fit", "rescale-in-place")
    )
    for part in PARTS:
        np.testing.assert_array_equal(sound[part], rescaled[part])


def test_test_labels_do_not_change_the_threshold_of_the_accuracy(place, caught):
    """Permuted labels change the accuracy, but the threshold comes from validation."""
    _, record = caught()
    labels, scores = joined(place, record)
    test = joining.join(labels, scores)["test"]
    threshold = metrics.accuracy_threshold(test)
    assert threshold == metrics.accuracy_threshold(test.validation)
    right = (test.scores[:, 1] > threshold) == test.labels
    assert record.metrics["accuracy"].value == pytest.approx(right.mean())
    rng = np.random.default_rng(0)
    for _ in range(20):
        permuted = labels | {"test.labels": rng.permutation(labels["test.labels"])}
        again = joining.join(permuted, scores)["test"]
        assert metrics.accuracy_threshold(again) == threshold
        assert metrics.accuracy(again).value != record.metrics["accuracy"].value


# --- metrics of plugins


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> tuple[Workbench, Done]:
    """Return a workbench where two faulty metrics were computed, and the finished command."""
    bench = Workbench(tmp_path_factory.mktemp("measured"))
    bench.plugin(TOYS)
    for name in ("best_threshold", "tie_blind", "odd_scores"):
        bench.plugin(FAULTS / f"{name}.py")
    suite(bench, "line constant")
    done = bench("run", "suite.toml")
    assert done.code == 0, done.err
    return bench, done


def test_a_threshold_chosen_on_test_labels_is_reported(measured):
    """Every row names the metric that takes the best threshold."""
    bench, _ = measured
    shown = text(bench("table", "--columns", "auc,best_accuracy"))
    for record in bench.records().values():
        (warning,) = [w for w in record.warnings if w.startswith("metric best_accuracy: ")]
        assert warning.endswith("(chosen on the labels it scores?)")
        assert warning in shown


def test_an_auc_that_ignores_ties_is_reported(measured):
    """For constant scores it differs from one half."""
    bench, _ = measured
    record = bench.records()["toy/constant/fit#0"]
    assert record.metrics["tie_blind_auc"].value != 0.5
    warning = "metric tie_blind_auc: depends on the order of rows (ties?)"
    assert warning in record.warnings
    assert warning in text(bench("table", "--columns", "auc,tie_blind_auc"))


def test_constant_scores_have_an_auc_of_exactly_one_half(measured):
    """The order of rows has no effect."""
    bench, _ = measured
    record = bench.records()["toy/constant/fit#0"]
    assert record.metrics["auc"].value == 0.5
    test = joining.join(*joined(bench, record))["test"]
    by_label = np.argsort(test.labels, kind="stable")
    for rows in (by_label, by_label[::-1], np.random.default_rng(0).permutation(len(by_label))):
        assert metrics.auc(reordered(test, rows)).value == 0.5


def reordered(p: Predictions, rows: np.ndarray) -> Predictions:
    """Return the same examples in another order."""
    return replace(p, labels=p.labels[rows], scores=p.scores[rows], ids=p.ids[rows])


def test_a_metric_that_changes_its_arrays_affects_no_other_metric(toys):
    """It is reported, and the core's metrics of the same scores stay the same."""
    suite(toys, "line", more="seeds = 2")
    toys("run", "suite.toml")
    before = toys.records()
    toys.plugin(FAULTS / "sorts_scores.py")
    toys("run", "suite.toml")
    for cell, record in toys.records().items():
        assert "a_first" in record.metrics
        for name, value in before[cell].metrics.items():
            assert record.metrics[name] == value
    assert "metric a_first: " in text(toys("table", "--columns", "auc,a_first"))


# --- 4: splits


def test_copies_across_the_split_are_counted_and_reported(place, caught):
    """With every row twice, some validation and test rows equal a training row."""
    done, record = caught("doubled")
    labels, _ = joined(place, record)
    rows = {part: set(labels[f"{part}.ids"] % 1000) for part in PARTS}
    assert set(record.data.duplicates) == {"train_validation", "train_test", "validation_test"}
    for pair, count in record.data.duplicates.items():
        first, second = pair.split("_")
        assert count == sum(i % 1000 in rows[first] for i in labels[f"{second}.ids"]) > 0
        share = f"({count / 400:.1%}) are exact copies of {first} examples"
        assert f"{count} of 400 {second} examples {share}" in text(done)


def test_an_official_test_part_is_kept_and_its_copies_are_counted(place, caught):
    """It holds exactly the rows of the official file, also copies of training rows."""
    _, record = caught("borrowed")
    labels, _ = joined(place, record)
    assert sorted(labels["test.ids"]) == list(range(5000, 5200))
    sizes = record.data.n_train, record.data.n_validation, record.data.n_test
    assert sizes == (750, 250, 200)
    copies = record.data.duplicates
    assert copies["train_test"] + copies["validation_test"] == 200


def test_an_id_of_two_examples_is_refused(caught):
    """The record names the dataset and the id."""
    done, record = caught("repeated")
    assert done.code == 2
    assert record.status == "failed"
    assert record.error.message.startswith("repeated: two examples have the id 123")
    assert not record.metrics
    assert "failed in split repeated: PluginError: repeated: two examples have the id 123" in text(
        done
    )


# --- 6 and 11: scores


@pytest.mark.parametrize("dataset", ["toy", "toy[n=5000]"])
def test_scores_that_depend_on_the_batch_are_marked(caught, dataset):
    """Also in a test part that is scored again only in part."""
    done, record = caught(dataset, "neighbours")
    (warning,) = record.warnings or [""]
    assert re.fullmatch(r"batch-dependent: scores change by up to 0\.\d+ in another batch", warning)
    assert warning in text(done)


def test_scores_that_do_not_depend_on_the_batch_are_not_marked(caught):
    """A sound model has no note."""
    done, record = caught()
    assert record.warnings == []
    assert "batch" not in text(done)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("nan", "scores must be finite"),
        ("narrow", "scores have shape (600,); (examples, classes) = (600, 2) is expected"),
        ("unnormed", "add to 1 in each row"),
        ("negative", "at least 0"),
        ("words", "numbers are expected"),
    ],
)
def test_scores_that_are_not_probabilities_fail_the_cell(caught, model, reason):
    """One line gives the reason, and the record has no metric."""
    done, record = caught(model=model)
    assert record.status == "failed"
    assert not record.metrics
    assert "\n" not in record.error.message
    assert f"failed in fit {model}: {record.error.type}: " in text(done)
    assert reason in record.error.message
    assert done.code == 2


def test_an_accuracy_that_contradicts_its_auc_is_marked(caught, place):
    """Scores are in the right order, but all above one half; the note is in tables with accuracies."""
    _, record = caught(model="squashed")
    assert record.metrics["auc"].value > 0.8
    assert record.metrics["accuracy_at_half"].value == pytest.approx(0.5, abs=0.05)
    (warning,) = record.warnings
    assert warning.startswith("accuracy: accuracy 0.")
    assert "the threshold 0.5 classifies 100% as signal, and 50% are signal" in warning
    assert warning.endswith("so the scores are not calibrated")
    assert warning in text(place("table", "--columns", "auc,accuracy_at_half"))


# --- 10 and 12: what a table may say


def rows(bench: Workbench) -> dict[str, Any]:
    """Return the rows of a workbench's table by model."""
    return {row["model"]: row for row in bench("table", "--format", "json").json}


@pytest.mark.parametrize(("seeds", "spread"), [(1, DASH), (3, r"\d+")])
def test_both_uncertainties_are_shown(bench, seeds, spread):
    """They come from the test sample and from the spread over seeds: a dash for one seed."""
    edited(
        bench,
        ("self.parameters = 1", "self.turn = 0.0"),
        ("*, seed):\n", "*, seed):\n        self.turn = seed % 7 / 7\n"),
        ('inputs["table"][:, 0]', '(inputs["table"] @ [1, self.turn])'),
    )
    suite(bench, "line", more=f"seeds = {seeds}")
    done = bench("run", "suite.toml")
    assert re.search(rf"^line +fit +0\.\d+\(\d+\)\({spread}\) ", done.out, re.MULTILINE)
    values = [record.metrics["auc"].value for record in bench.records().values()]
    row = rows(bench)["line"]
    assert row["auc_stderr"] > 0
    assert row["auc_spread"] == (pytest.approx(np.std(values, ddof=1)) if seeds > 1 else None)


def test_rows_with_other_splits_are_not_ranked_together(toys):
    """A footnote says that the split differs."""
    suite(toys, "line")
    toys("run", "suite.toml")
    suite(toys, "line[slope=2.0]", more="split_seed = 1")
    toys("run", "suite.toml")
    assert "not comparable with the rows above: split (" in text(toys("table"))
    assert sorted(row["comparable"] for row in rows(toys).values()) == [False, True]
    assert not any(row["best"] for row in rows(toys).values())


def test_rows_of_different_data_with_one_name_are_not_ranked_together(toys):
    """A reader that yields other inputs for the same ids and labels makes other data."""
    suite(toys, "line")
    toys("run", "suite.toml")
    edited(toys, ('{"table": table}, ids', '{"table": table + table[::-1]}, ids'))
    suite(toys, "line[slope=2.0]")
    toys("run", "suite.toml")
    assert "not comparable with the rows above: data (" in text(toys("table"))
    assert sorted(row["comparable"] for row in rows(toys).values()) == [False, True]


def test_seeds_of_different_source_digests_are_not_averaged(toys):
    """A model edited between two seeds gives two rows."""
    suite(toys, "line", more="seeds = 2")
    toys("run", "suite.toml")
    edited(toys, ('inputs["table"][:, 0]', 'inputs["table"][:, 1]'))
    toys("run", "suite.toml", "--seeds", "1")
    new, old = (toys.records()[f"toy/line/fit#{seed}"] for seed in (0, 1))
    assert abs(new.metrics["auc"].value - old.metrics["auc"].value) > 0.2
    table = toys("table", "--format", "json").json
    assert [row["seeds"] for row in table] == [1, 1]
    assert any("changed since" in note for row in table for note in row["notes"])
