"""Comparison of table rows on their stored predictions: what is read, and what is refused."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from zipfile import ZipFile

import msgspec
import numpy as np
import pytest
from conftest import TESTS, run_pair
from test_tables import record

from hepbench import Metric, UndefinedMetricError
from hepbench.cli.tabulating import comparing
from hepbench.data import event_weights
from hepbench.evaluation import paired, paired_runs, row_comparison, stored_predictions
from hepbench.evaluation.comparison_cache import Comparison
from hepbench.registry.builtin import hepbench_metrics
from hepbench.registry.plugins import Plugin, Registry
from hepbench.specs.errors import ResultsError
from hepbench.storage import keys
from hepbench.storage.records import Stored
from hepbench.storage.results import Results, ResultsFolder

METRICS = {metric.name: metric for metric in hepbench_metrics()}
REGISTRY = Registry(
    [Plugin("hepbench", "hepbench", "hepbench", "0.1", specs=tuple(METRICS.values()))]
)
BASELINE = TESTS.parent / "results/baseline"
N = 400
LABELS = np.arange(N) % 2
WEIGHTS = 1e-3 * np.random.default_rng(1).lognormal(size=N)
NOISE = np.random.default_rng(0).normal(size=N)


def saved(results, name, arrays):
    """Write arrays into the folder of results; return the file as records of results name it."""

    def write(path):
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    stored = results.create("standard", name, write)
    return Stored(f"standard/{stored.path}", stored.sha256)


def row(results, model, separation, *, seeds=2, own=0.3, parts=("test",), **labels):
    """Records of a model with their predictions; all models share most of their noise."""
    columns = {"labels": LABELS, "ids": np.arange(N)} | labels
    columns = {f"{part}.{n}": a for part in parts for n, a in columns.items()}
    stored = saved(results, f"labels/{model}.npz", columns)
    records = []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, *model.encode()])
        signal = 1 / (1 + np.exp(-separation * LABELS - NOISE - own * rng.normal(size=N)))
        scores = dict.fromkeys(parts, np.stack([1 - signal, signal], axis=1).astype(np.float32))
        predictions = saved(results, f"predictions/{model}{seed}.npz", scores)
        records.append(record(model, seed, predictions=predictions, labels=stored))
    return records


@pytest.fixture
def results(tmp_path):
    """An empty results folder."""
    return ResultsFolder(tmp_path)


@pytest.mark.parametrize("metric", ["auc", "log_loss", "brier", "rejection_30"])
def test_the_rows_that_are_not_worse_are_found(results, metric):
    """By the AUC and, with a bootstrap, by any metric; better separated scores are better."""
    rows = [row(results, m, s) for m, s in (("a", 2.0), ("b", 1.97), ("c", 0.1))]
    found = row_comparison.compare(results, rows, METRICS[metric])
    assert (found.best, found.elsewhere) == ([0, 1], [])


def test_rows_on_other_test_examples_are_left_out(results):
    """Other ids, labels or weights are other examples, whatever the records say."""
    others = {
        "ids": {"ids": np.arange(N)[::-1]},
        "labels": {"labels": 1 - LABELS},
        "weights": {"weights": np.ones(N)},
    }
    first = [row(results, "a", 2.0), row(results, "b", 0.1)]
    rows = [*first, *(row(results, name, 1.0, **changed) for name, changed in others.items())]
    found = row_comparison.compare(results, rows, METRICS["auc"])
    assert (found.best, found.elsewhere) == ([0], [2, 3, 4])
    alone = row_comparison.compare(results, rows[:1] + rows[2:], METRICS["auc"])
    assert (alone.best, alone.elsewhere) == ([], [1, 2, 3])


def test_pairs_of_rows_are_tested_with_a_correction_for_their_number(results):
    """Their difference is that of the means; a row on other test examples is in no pair."""
    separations = {"a": 2.0, "b": 1.9, "c": 1.0}
    rows = [row(results, m, s) for m, s in separations.items()]
    rows.append(row(results, "d", 1.0, ids=np.arange(N)[::-1]))
    means = paired.auc_means(
        [[stored_predictions.of_test(results, r).scores for r in each] for each in rows[:3]],
        LABELS,
        None,
    )
    pairs = [(0, 2), (1, 0), (0, 3)]
    found = row_comparison.compare(results, rows, METRICS["auc"], pairs).differences
    expected = [paired.difference(means, *pair) for pair in pairs[:2]]
    corrected = [p < paired.LEVEL for p in paired_runs.holm([each.p for each in expected])]
    assert found[2] is None
    assert [(d.value, d.stderr) for d in found[:2]] == [(d.value, d.stderr) for d in expected]
    assert [d.significant for d in found[:2]] == corrected
    assert (found[0].value > 0, found[1].value > 0, found[0].significant) == (True, False, True)


def test_a_difference_without_an_error_is_not_tested(results, tmp_path):
    """Of a class with one test example; the comparison is known next time all the same."""
    labels = (np.arange(N) == 0).astype(int)
    rows = [row(results, m, s, labels=labels) for m, s in (("a", 2.0), ("b", 0.1))]
    compare = comparing(results, REGISTRY, tmp_path / "cache")
    first = compare(rows, "auc", [(0, 1)])
    assert first.differences == [None]
    assert compare(rows, "auc", [(0, 1)]) == first


def test_predictions_that_are_missing_or_changed_are_named(results):
    """With the cell and the file."""
    rows = [row(results, "a", 2.0), row(results, "b", 1.0)]
    path = results.root / rows[1][1].predictions.path
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"\1")
    with pytest.raises(ResultsError, match=r"b1\.npz"):
        row_comparison.compare(results, rows, METRICS["auc"])
    path.unlink()
    results = ResultsFolder(results.root)
    with pytest.raises(ResultsError, match=r"higgs/b/scratch#1: .*b1.npz is missing"):
        row_comparison.compare(results, rows, METRICS["auc"])


def test_test_predictions_that_were_left_out_are_named(results):
    """Results may be packed with other parts."""
    rows = [row(results, name, 1.0, parts=("validation",)) for name in "ab"]
    with pytest.raises(ResultsError, match="holds no predictions of test"):
        row_comparison.compare(results, rows, METRICS["auc"])


def test_a_metric_that_needs_validation_is_not_compared_without_it(results):
    """The accuracy's threshold is chosen there."""
    rows = [row(results, "a", 2.0), row(results, "b", 1.0)]
    with pytest.raises(ResultsError, match="accuracy cannot be compared: the validation part was"):
        row_comparison.compare(results, rows, METRICS["accuracy"])


@pytest.mark.parametrize("factor", [1.0, 1e-200])
@pytest.mark.parametrize("metric", ["auc", "log_loss", "accuracy"])
def test_rows_are_compared_by_weighted_examples(results, metric, factor):
    """One row is better on the examples with large weights, another on all the others."""
    heavy = np.arange(N) < N // 4
    weights = factor * np.where(heavy, 20.0, 1.0)
    places = (heavy, ~heavy)
    rows = [row(results, m, 4.0 * on, parts=("test", "validation"), weights=weights)
            for m, on in zip("ab", places, strict=True)]  # fmt: skip
    assert row_comparison.compare(results, rows, METRICS[metric]).best == [0]
    rows = [row(results, m, 4.0 * on, parts=("test", "validation"))
            for m, on in zip("cd", places, strict=True)]  # fmt: skip
    assert row_comparison.compare(results, rows, METRICS[metric]).best == [1]


@pytest.mark.parametrize("physical", [True, False])
def test_rows_are_compared_with_the_weights_that_their_values_were_computed_with(
    results, monkeypatch, physical
):
    """Physical ones only if the metric declares it; validation too."""
    seen = []
    monkeypatch.setattr(row_comparison, "resolve", lambda name: lambda p: seen.append(p) or 0.5)
    more = {"parts": ("test", "validation"), "weights": WEIGHTS}
    rows = [row(results, name, 1.0, **more) for name in "ab"]
    sums = Metric(name="s", compute="p:s", higher_is_better=True, physical_weights=physical)
    row_comparison.compare(results, rows, sums)
    expected = WEIGHTS if physical else event_weights.relative(WEIGHTS)
    for weights in (seen[0].weights, seen[0].validation.weights, seen[-1].validation.weights):
        np.testing.assert_array_equal(weights, expected)
    assert set(seen[-1].weights) <= set(expected)


def counted(monkeypatch):
    """Count the comparisons that are computed."""
    seen = []
    compute = row_comparison.compare
    monkeypatch.setattr(row_comparison, "compare", lambda *a: seen.append(1) or compute(*a))
    return seen


def test_a_comparison_is_computed_once(results, tmp_path, monkeypatch):
    """Until the number or order of its rows or trainings, or the metric, changes."""
    seen = counted(monkeypatch)
    compare = comparing(results, REGISTRY, tmp_path / "cache")
    rows = [row(results, "a", 2.0, seeds=3), row(results, "b", 1.0)]
    for _ in range(2):
        assert compare(rows, "auc") == Comparison([0], [])
    assert len(seen) == 1
    for other, metric in ((rows, "brier"), (rows[::-1], "auc"), ([rows[0][:2], rows[1]], "auc")):
        compare(other, metric)
    assert len(seen) == 4


@pytest.mark.parametrize("change", ["labels", "numerics", "direction", "weights"])
def test_another_comparison_is_not_taken_for_a_known_one(results, tmp_path, monkeypatch, change):
    """Of other labels of the same scores, by a newer hepbench, or by another metric."""
    rows = [row(results, "a", 2.0), row(results, "b", 1.0)]
    assert comparing(results, REGISTRY, tmp_path / "cache")(rows, "auc").best == [0]
    auc = METRICS["auc"]
    if change == "labels":
        other = saved(results, "labels/other.npz", {"test.labels": 1 - LABELS, "test.ids": LABELS})
        rows = [[msgspec.structs.replace(each, labels=other) for each in group] for group in rows]
    elif change == "numerics":
        monkeypatch.setitem(keys.NUMERICS, "compare", keys.NUMERICS["compare"] + 1)
    elif change == "direction":
        auc = replace(auc, higher_is_better=False)
    else:
        auc = replace(auc, physical_weights=True)
    registry = Registry([Plugin("hepbench", "hepbench", "hepbench", "0.1", specs=(auc,))])
    seen = counted(monkeypatch)
    found = comparing(results, registry, tmp_path / "cache")(rows, "auc")
    assert len(seen) == 1
    assert found.best == ([1] if change in {"labels", "direction"} else [0])


@pytest.mark.parametrize("packed", [False, True])
def test_changed_predictions_are_told_although_the_comparison_is_known(results, tmp_path, packed):
    """Of a folder and of a packed file, whatever their size."""
    rows = [row(results, "a", 2.0), row(results, "b", 1.0)]
    path = results.root / rows[1][1].predictions.path

    def compare():
        opened = Results(zipped(results.root, tmp_path)) if packed else Results(results.root)
        return comparing(opened, REGISTRY, tmp_path / "cache")(rows, "auc")

    assert compare().best == [0]
    changed, time = path.read_bytes()[:-1] + b"\1", path.stat().st_mtime_ns
    path.write_bytes(changed)
    # a file system may not tell times apart that are nearly equal
    os.utime(path, ns=(time, time + 10**9))
    with pytest.raises(ResultsError, match="was changed after the record was written"):
        compare()


def zipped(folder, where):
    """Pack a folder of results as it is; return the file."""
    file = where / "packed.zip"
    with ZipFile(file, "w") as opened:
        for path in sorted(folder.rglob("*.npz")):
            opened.write(path, path.relative_to(folder).as_posix())
    return file


@pytest.mark.parametrize(
    "damage",
    [
        *(b"", b"{}", b"\xff", b'{"best": [7], "elsewhere": []}'),
        b'{"best": [0], "elsewhere": [], "differences": [[1.0, 1.0, true]]}',
    ],
)
def test_a_damaged_entry_of_the_cache_is_computed_again(results, tmp_path, monkeypatch, damage):
    """Cut short, of another form, about rows that do not exist, or pairs that were not asked for."""
    rows = [row(results, "a", 2.0), row(results, "b", 1.0)]
    compare = comparing(results, REGISTRY, tmp_path / "cache")
    compare(rows, "auc")
    (path,) = (tmp_path / "cache" / "comparisons").iterdir()
    path.write_bytes(damage)
    seen = counted(monkeypatch)
    assert [compare(rows, "auc").best for _ in range(2)] == [[0], [0]]
    assert len(seen) == 1


def test_what_is_missing_is_told_although_the_comparison_is_known(results, tmp_path):
    """A table of the same results is the same on every machine."""
    rows = [row(results, "a", 2.0), row(results, "b", 1.0)]
    compare = comparing(results, REGISTRY, tmp_path / "cache")
    compare(rows, "auc")
    (results.root / rows[1][0].predictions.path).unlink()
    results = ResultsFolder(results.root)
    with pytest.raises(ResultsError, match="is missing"):
        comparing(results, REGISTRY, tmp_path / "cache")(rows, "auc")


def test_without_a_cache_folder_rows_are_compared_all_the_same(results, tmp_path):
    """None is known, or it is a file."""
    rows = [row(results, "a", 2.0), row(results, "b", 1.0)]
    (tmp_path / "file").write_text("")
    for folder in (None, tmp_path / "file"):
        assert comparing(results, REGISTRY, folder)(rows, "auc").best == [0]


def fails(predictions):
    """Fail, as the metric of a plugin may."""
    raise ZeroDivisionError


def undefined(predictions):
    """Have no value."""
    msg = "no mass"
    raise UndefinedMetricError(msg)


@pytest.mark.parametrize("name", ["fails", "undefined"])
def test_a_metric_that_fails_costs_the_marks_and_not_the_table(results, name):
    """Its error is the sentence below the table."""
    rows = [row(results, "a", 2.0), row(results, "b", 1.0)]
    metric = Metric(name=name, compute=f"test_row_comparison:{name}", higher_is_better=True)
    with pytest.raises(ResultsError, match=f"{name} cannot be compared: "):
        row_comparison.compare(results, rows, metric)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A workbench whose suite ``pair`` ran once; one of its two rows is the other one reversed."""
    return run_pair(tmp_path_factory.mktemp("pair"), "line", "line[slope=-1.0]")


def test_a_table_imports_numpy_only_to_compare_new_rows_and_never_torch(bench):
    """What was shown before is there at once."""
    code = (
        "import sys; from hepbench.cli.commands import cli; cli(sys.argv[1:], standalone_mode=False)"
        "; print(sorted({'numpy', 'torch'} & set(sys.modules)), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "table", BASELINE / "quickstart.zip"]
    how = {"cwd": bench.folder, "env": bench.variables(), "capture_output": True, "text": True}
    first, again = (subprocess.run(command, check=True, **how) for _ in range(2))
    assert " *0." in first.stdout
    assert first.stdout == again.stdout
    assert (first.stderr, again.stderr) == ("['numpy']\n", "[]\n")


def stars_of(done):
    """The models of the marked rows of a plain table."""
    assert (done.code, done.err) == (0, "")
    return [line.split()[0] for line in done.out.splitlines() if " *0." in line]


def test_tables_on_the_command_line_mark_the_best_row(ran, tmp_path):
    """Of a folder, of a packed file, and of a run that finds everything done."""
    assert stars_of(ran("table")) == ["line"]
    assert stars_of(ran("run", "pair.toml", "--quiet")) == ["line"]
    file = tmp_path / "all.zip"
    assert ran("pack", "results", "-o", file, "--parts", "test").code == 0
    assert stars_of(ran("table", file)) == ["line"]
    rows = ran("table", file, "--format", "json").json
    assert [(row["model"], row["best"]) for row in rows] == [("line", 1), ("line[slope=-1.0]", 0)]
    with ZipFile(file) as opened:
        assert "**0." in opened.read("pair/table.md").decode()


def test_results_without_test_predictions_mark_no_row(ran, tmp_path):
    """Packed without them, or a folder of records alone: one sentence, and nothing else is lost."""
    file = tmp_path / "all.zip"
    assert ran("pack", "results", "-o", file, "--parts", "validation").code == 0
    done = ran("table", file)
    assert stars_of(done) == []
    assert "holds no predictions of test, only of validation" in " ".join(done.out.split())
    folder = tmp_path / "records"
    shutil.copytree(ran.folder / "results", folder, ignore=shutil.ignore_patterns("*.npz"))
    done = ran("table", folder)
    assert stars_of(done) == []
    assert done.out.count("differences are not tested:") == 1
    assert re.search(r"is missing; run it again", " ".join(done.out.split()))
