"""``hepbench export``: the ONNX file of a cell gives the recorded scores, or there is no file."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from hepbench.data import stored_parts
from hepbench.evaluation import stored_predictions
from hepbench.sharing import timed_in_turn
from hepbench.specs.errors import ResultsError
from hepbench.storage.results import Results
from hepbench.storage.stage_cache import StageCache

SUITE = """
name = "two"

[[run]]
datasets = ["toy[n=400]"]
models = ["mlp", "logistic", "line"]
methods = ["scratch[epochs=1]", "fit"]
exclude = ["toy/mlp/fit", "toy/logistic/fit"]
"""


@pytest.fixture
def done(toys):
    """Return a workbench where a network and two estimators were trained and timed."""
    toys.write("two.toml", SUITE)
    ran = toys("run", "two.toml", "--quiet")
    assert ran.code == 0, ran.err
    return toys


def test_the_printed_lines_score_as_the_record_does(done, monkeypatch):
    """Of a network whose preprocessing is in the file, and of an estimator."""
    monkeypatch.chdir(done.folder)
    results, cache = Results(Path("results")), StageCache(done.folder / "cache")
    for model, chain in (("mlp", "scratch[epochs=1]"), ("logistic", "scratch[epochs=1]")):
        cell = f"toy[n=400]/{model}/{chain}#0"
        record = done.records()[cell]
        text = done("export", cell, "-o", f"{model}.onnx").out
        described, _, code = text.partition("\n\n")
        assert f"{model}.onnx: {cell}" in described
        assert "table: float32 (N, 2)" in described
        test = stored_parts.load_part(cache.folder(record.stage_keys["inputs"]), "test")
        names = {"table": np.asarray(test.inputs["table"], np.float32)}
        exec(code, names)  # noqa: S102
        recorded = stored_predictions.of_test(results, record).scores
        assert np.abs(names["scores"] - recorded).max() < 1e-5
        stated = {p.key: p.value for p in onnx.load(f"{model}.onnx").metadata_props}
        assert stated["hepbench.cell"] == cell
        assert stated["hepbench.key"] == record.key


def test_what_cannot_be_exported_is_one_line_and_no_file(done):
    """Another suffix, an unknown cell, a model without a graph, a cell that left the cache."""
    cell = "toy[n=400]/mlp/scratch[epochs=1]#0"
    for arguments, code, words in (
        ((cell, "-o", "net.zip"), 2, "ends in .onnx"),
        (("toy/mlp", "-o", "net.onnx"), 2, "no cell named 'toy/mlp'"),
        (("toy[n=400]/line/fit#0", "-o", "net.onnx"), 2, "ONNX"),
    ):
        failed = done("export", *arguments)
        assert (failed.code, failed.err.count("\n")) == (code, 1), failed.err
        assert words in failed.err
    done.forget()
    done.write("two.toml", SUITE.replace('"two"\n', '"two"\ncost = false\n'))
    assert done("run", "two.toml", "--quiet").code == 0
    assert "costs were not measured" in done("export", cell, "-o", "net.onnx").err
    assert not list(done.folder.glob("net.*"))


def test_folders_of_the_file_are_made_or_refused_in_one_line(done):
    """A file in the place of a folder is named."""
    cell = "toy[n=400]/mlp/scratch[epochs=1]#0"
    assert done("export", cell, "-o", "new/folder/net.onnx").code == 0
    assert (done.folder / "new" / "folder" / "net.onnx").exists()
    failed = done("export", cell, "-o", "two.toml/net.onnx")
    assert (failed.code, failed.err.count("\n")) == (2, 1), failed.err
    assert "cannot write two.toml/net.onnx" in failed.err


def test_a_graph_whose_scores_differ_is_not_written(done):
    """As after an edit of the stored predictions, whatever the reason is."""
    cell = "toy[n=400]/mlp/scratch[epochs=1]#0"
    record = done.records()[cell]
    cache = StageCache(done.folder / "cache")
    path = cache.folder(record.stage_keys["cost"]) / "network.onnx"
    graph = onnx.load(path)
    # the largest array of weights
    weights = max(graph.graph.initializer, key=lambda each: len(each.raw_data))
    weights.raw_data = (np.frombuffer(weights.raw_data, np.float32) * 1.5).tobytes()
    onnx.save(graph, path)
    failed = done("export", cell, "-o", "net.onnx")
    assert failed.code == 2
    assert "differ from the recorded ones by" in failed.err
    assert not (done.folder / "net.onnx").exists()


def test_graphs_are_timed_in_turn_and_equal_ones_not(done, monkeypatch):
    """Every round of every turn is a time; what has no graph, or no test inputs any more, is left out."""
    monkeypatch.setattr(timed_in_turn, "TURNS", 2)
    monkeypatch.setenv("HEPBENCH_LOCKS", str(done.folder / "cache"))
    results = Results(done.folder / "results")
    cache = StageCache(done.folder / "cache")
    records = {cell.split("/")[1]: record for cell, record in done.records().items()}
    cells = {
        "other": (records["mlp"], records["logistic"]),
        "same": (records["mlp"], records["mlp"]),
        "none": (records["mlp"], records["line"]),
    }
    found = timed_in_turn.rounds((results, results), cells, cache.root)
    assert found["same"] == ([], [])
    assert found.keys() == {"other", "same"}
    for times in found["other"]:
        assert np.shape(times) == (2, timed_in_turn.ROUNDS)
        assert np.min(times) > 0
    shutil.rmtree(cache.folder(records["logistic"].stage_keys["inputs"]))
    found = timed_in_turn.rounds((results, results), {"other": cells["other"]}, cache.root)
    assert not found


def test_a_process_that_has_ended_is_an_error_in_one_line(tmp_path):
    """Also where it ended before it was asked, so that nothing can be written to it."""
    with timed_in_turn._Process(tmp_path, tmp_path) as process:
        process._process.kill()
        process._process.wait()
        for _ in range(2):
            with pytest.raises(ResultsError, match="has ended with exit code -9"):
                process.time()
