"""Cost of scoring, with warnings. Times are compared with wide margins."""

from __future__ import annotations

import time
from typing import ClassVar

import msgspec
import numpy as np
import pytest
import torch
from needs import needs_extra

from hepbench import Examples, TrainingData
from hepbench.cost import export, measure, timing
from hepbench.cost.messages import CostResult
from hepbench.running import recording
from hepbench.specs.errors import PluginError
from hepbench.specs.parameters import defaults
from hepbench.storage.records import Cost, Device, Latency, Record, decode, encode, same
from hepbench.tables import columns
from hepbench.training.messages import MethodResult, Trained

rng = np.random.default_rng(0)
TABLE = rng.normal(size=(500, 8)).astype(np.float32)
LABELS = (TABLE[:, 0] * TABLE[:, 1] + rng.normal(size=500) > 0).astype(np.int64)
DATA = TrainingData(
    train=Examples(inputs={"table": TABLE[:400]}, ids=np.arange(400), labels=LABELS[:400]),
    validation=Examples(
        inputs={"table": TABLE[400:]}, ids=np.arange(400, 500), labels=LABELS[400:]
    ),
    classes=2,
)
QUICK = {"limit_s": 0.2, "large": 64}


def recorded(result):
    """Return what a record says of the result of a cost stage, which has been in the cache."""
    read = msgspec.json.decode(msgspec.json.encode(result), type=CostResult)
    trained = MethodResult(trained=Trained(seconds=1.0), examples=400, peak_memory_mb=0.0)
    return recording._cost([trained], read, Device(kind="cpu"), measured_on="last")


# --- estimators


class ReportsCost:
    """An estimator that reports its cost."""

    parameters = 12

    def __init__(self, report):
        self.report, self.seen = report, set()

    def fit(self, data, *, seed):
        pass

    def scores(self, inputs):
        self.seen.add(len(inputs["table"]))
        return np.full((len(inputs["table"]), 2), 0.5)

    def cost(self):
        return self.report


def test_an_estimator_reports_its_operations(tmp_path):
    """FLOPs are twice the MACs; comparisons do not count as FLOPs."""
    estimator = ReportsCost({"macs": 8, "comparisons": 2.5})
    result = measure.measure(estimator, {"table": TABLE[:10]}, folder=tmp_path, **QUICK)
    found = recorded(result)
    assert (found.parameters, found.macs, found.flops, found.comparisons) == (12, 8, 16, 2.5)
    assert {(each.runtime, each.batch) for each in found.latencies} == {
        ("native", 1),
        ("native", 64),
    }
    assert estimator.seen == {1, 64}
    assert found.peak_memory_mb > 0
    assert not found.gaps


@pytest.mark.parametrize("report", [{"flops": 3}, {"macs": -1}, {"comparisons": float("nan")}])
def test_a_wrong_cost_report_is_an_error(report, tmp_path):
    """The report must name known operations and give finite numbers."""
    with pytest.raises(PluginError, match=r"ReportsCost.cost\(\) returns"):
        measure.measure(ReportsCost(report), {"table": TABLE}, folder=tmp_path, **QUICK)


def test_an_estimator_without_cost_report_has_a_gap(tmp_path):
    """The latency is measured anyway."""

    class ReportsNothing:
        fit, scores = ReportsCost.fit, ReportsCost.scores
        seen: ClassVar = set()

    result = measure.measure(ReportsNothing(), {"table": TABLE}, folder=tmp_path, **QUICK)
    assert result.cost.gaps == ["operations: ReportsNothing has no cost() that counts them"]
    assert result.cost.flops is None
    assert result.cost.latency > 0


def test_boosted_trees_count_comparisons_along_their_paths():
    """The report is the mean path length of training examples, summed over all trees."""
    from hepbench_models import GBDT, gbdt

    estimator = gbdt.GradientBoosting({"table": (8,)}, **{**defaults(GBDT.params), "max_trees": 10})
    # with more threads than idle cores, threads wait for each other
    with measure._native_threads(1):
        estimator.fit(DATA, seed=0)
    comparisons = 0
    trees = [tree.nodes for step in estimator.trees._predictors for tree in step]
    for row in DATA.train.inputs["table"].astype(np.float64):
        for nodes in trees:
            node = nodes[0]
            while not node["is_leaf"]:
                comparisons += 1
                below = row[node["feature_idx"]] <= node["num_threshold"]
                node = nodes[node["left"] if below else node["right"]]
    assert trees
    assert estimator.cost() == {"comparisons": pytest.approx(comparisons / 400)}


def test_logistic_regression_has_one_mac_per_feature():
    """With eight features and two classes it has 8 MACs."""
    from hepbench_models import logistic

    estimator = logistic.Logistic({"table": (8,)}, strengths=[1.0], max_iterations=1000)
    estimator.fit(DATA, seed=0)
    assert estimator.cost() == {"macs": 8}


def test_the_macs_of_an_svm_are_support_vectors_times_features(tmp_path):
    """An estimator with a kernel can report its MACs in one line."""
    from sklearn import svm

    class SVM(ReportsCost):
        def __init__(self):
            self.svc = svm.SVC().fit(TABLE[:400], LABELS[:400])

        def scores(self, inputs):
            signal = 1 / (1 + np.exp(-self.svc.decision_function(inputs["table"])))
            return np.stack([1 - signal, signal], 1)

        def cost(self):
            return {"macs": self.svc.support_vectors_.size}

    estimator = SVM()
    result = measure.measure(estimator, {"table": TABLE}, folder=tmp_path, **QUICK)
    assert result.cost.macs == len(estimator.svc.support_) * 8
    assert result.cost.flops == 2 * result.cost.macs


# --- networks


@pytest.fixture
def network():
    """Return a small network with named inputs."""
    torch.manual_seed(0)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            layers = (torch.nn.Linear(8, 256), torch.nn.ReLU(), torch.nn.Linear(256, 2))
            self.layers = torch.nn.Sequential(*layers)

        def forward(self, inputs):
            return self.layers(inputs["table"])

    return Net()


@needs_extra("hepbench[onnx]")
def test_a_network_is_counted_exported_and_timed(network, tmp_path):
    """All fields of the cost of scoring are set."""
    threads = torch.get_num_threads()
    result = measure.measure(network, {"table": TABLE}, folder=tmp_path, **QUICK)
    found = recorded(result)
    assert found.parameters == found.nonzero_parameters == 8 * 256 + 256 + 256 * 2 + 2
    assert found.macs == 8 * 256 + 256 * 2
    assert found.flops == 2 * found.macs
    assert found.theoretical_macs is None
    assert {(each.runtime, each.batch) for each in found.latencies} == {
        (runtime, batch) for runtime in ("torch", "onnxruntime") for batch in (1, 64)
    }
    for each in found.latencies:
        assert 0 < each.median_ms <= each.p95_ms
        assert (each.measured_on, each.device.kind) == ("last", "cpu")
        assert len(each.rounds) == timing.ROUNDS
        assert all(0 < r.median_ms / 1e3 * r.calls / 2 < r.wall_s for r in each.rounds)
    assert not found.gaps
    assert result.export_difference < 1e-5
    assert (tmp_path / "network.onnx").exists()
    assert result.counted.ratio == 1
    assert torch.get_num_threads() == threads
    assert network.training


@needs_extra("hepbench[onnx]")
def test_measuring_keeps_the_mode_of_every_module(network, tmp_path):
    """Batch norm in eval mode inside of a module in training mode: the export leaves both."""
    network.layers.append(torch.nn.BatchNorm1d(2))
    network.layers.eval()
    before = [module.training for module in network.modules()]
    result = measure.measure(network, {"table": TABLE}, folder=tmp_path, **QUICK)
    assert result.export_difference < 1e-5
    assert [module.training for module in network.modules()] == before


def test_a_mask_saves_no_flops(network, tmp_path):
    """With half of the weights zero FLOPs are unchanged; ``theoretical_macs`` is smaller."""
    with torch.no_grad():
        network.layers[0].weight[::2] = 0
    result = measure.measure(network, {"table": TABLE}, folder=tmp_path, **QUICK)
    assert result.cost.flops == 2 * (8 * 256 + 256 * 2)
    assert result.cost.theoretical_macs == 4 * 256 + 256 * 2
    assert result.cost.nonzero_parameters == result.cost.parameters - 4 * 256


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
@needs_extra("hepbench[onnx]")
def test_latency_grows_with_the_batch(network, tmp_path, runtime):
    """20,000 examples at once take longer than one."""
    result = measure.measure(network, {"table": TABLE}, folder=tmp_path, limit_s=0.2, large=20_000)
    found = result.cost.latencies
    times = {each.batch: each.median_ms for each in found if each.runtime == runtime}
    assert times[20_000] > 3 * times[1]


class Slow:
    """An estimator that takes the same time for each example."""

    def fit(self, data, *, seed):
        pass

    def scores(self, inputs):
        time.sleep(0.002 * len(inputs["table"]))
        return np.full((len(inputs["table"]), 2), 0.5)


def test_a_large_batch_is_halved_until_one_call_is_short_enough(tmp_path, monkeypatch):
    """The record and its columns name its size; there is none if one example takes too long."""
    monkeypatch.setattr(measure, "CALL_LIMIT_S", 0.05)
    cost = recorded(measure.measure(Slow(), {"table": TABLE}, folder=tmp_path, **QUICK))
    assert {each.batch for each in cost.latencies} == {1, cost.large_batch}
    assert 2 <= cost.large_batch < 64
    assert cost.batch_latency > cost.latency
    monkeypatch.setattr(measure, "CALL_LIMIT_S", 0.0001)
    cost = recorded(measure.measure(Slow(), {"table": TABLE}, folder=tmp_path, **QUICK))
    assert [each.batch for each in cost.latencies] == [1]
    assert (cost.large_batch, cost.batch_latency) == (None, None)


def test_without_onnx_runtime_its_latency_is_a_gap(network, tmp_path, monkeypatch):
    """A missing package is not a fault of the network, so there is no warning."""
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxruntime" else 1)
    result = measure.measure(network, {"table": TABLE}, folder=tmp_path, **QUICK)
    assert {each.runtime for each in result.cost.latencies} == {"torch"}
    assert result.cost.gaps[0].startswith("onnxruntime: onnxruntime not installed")
    assert not any(warning.startswith("export") for warning in result.warnings)


@needs_extra("hepbench[onnx]")
def test_a_failed_export_gives_a_warning(network, tmp_path):
    """The latency in torch is measured; ONNX Runtime is a gap with a warning."""
    layers = network.layers
    network.forward = lambda inputs: layers(inputs["table"]) * torch.rand(())
    result = measure.measure(network, {"table": TABLE}, folder=tmp_path, **QUICK)
    assert {each.runtime for each in result.cost.latencies} == {"torch"}
    assert any(
        warning.startswith("export: scores of the ONNX graph") for warning in result.warnings
    )
    assert not (tmp_path / "network.onnx").exists()


# --- the record


def test_records_with_other_latencies_are_the_same():
    """Two runs must agree in operations, not in times and memory."""
    names = ("suite", "dataset", "model", "method", "chain", "preset", "key")
    common = {**dict.fromkeys(names, "x"), "seed": 0, "params": {}, "status": "ok"}

    def record(macs, median):
        latency = Latency(runtime="torch", batch=1, median_ms=median, p95_ms=2 * median)
        return Record(**common, cost=Cost(macs=macs, flops=2 * macs, latencies=[latency]))

    assert decode(encode(record(5, 0.1))) == record(5, 0.1)
    assert same(record(5, 0.1), record(5, 0.2))
    assert not same(record(5, 0.1), record(6, 0.1))


def test_numbers_of_the_cost_are_columns():
    """Latencies and gaps have no such column."""
    assert {"macs", "flops", "theoretical_macs", "comparisons"} <= set(columns.COUNTS)
    assert not {"latencies", "gaps"} & set(columns.COUNTS)
