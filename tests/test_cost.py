"""Cost of scoring, with warnings. Times are compared with wide margins."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import ClassVar

import msgspec
import numpy as np
import pytest
import torch
from needs import needs_extra

from hepbench import Examples, TrainingData
from hepbench.cost import estimator_cost, estimator_export, measure, onnx_runtime, report, timing
from hepbench.cost.messages import CostResult
from hepbench.running import recorded_cost
from hepbench.specs.errors import PluginError
from hepbench.specs.parameters import defaults
from hepbench.storage.costs import LATENCIES, Cost, Device, Latency, Round
from hepbench.storage.records import Record, decode, encode, same
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
    return recorded_cost.cost([trained], read, Device(kind="cpu"), measured_on="last")


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
    assert found.gaps == ["onnxruntime: ReportsCost offers no ONNX graph"]
    assert found.stated == ["parameters", "macs", "comparisons", "flops"]


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
    assert result.cost.gaps == [
        "operations: ReportsNothing has no cost() that counts them",
        "onnxruntime: ReportsNothing offers no ONNX graph",
    ]
    assert result.cost.flops is None
    assert result.cost.milliseconds("latency_python") > 0


class Remembers(ReportsCost):
    """An estimator that scores each batch once, slowly, and then remembers its scores."""

    def __init__(self):
        self.known = {}

    def scores(self, inputs):
        key = inputs["table"].tobytes()
        if key not in self.known:
            time.sleep(0.002)
            self.known[key] = np.full((len(inputs["table"]), 2), 0.5)
        return self.known[key]

    def cost(self):
        return {"macs": 1}


def test_a_model_that_remembers_its_scores_gains_nothing(tmp_path):
    """No call gets inputs that another call had."""
    found = measure.measure(Remembers(), {"table": TABLE[:5]}, folder=tmp_path, **QUICK).cost
    assert found.milliseconds("latency_python") > 1.9
    assert found.milliseconds("batch_latency_python") > 1.9


def test_a_model_that_sleeps_on_an_idle_machine_is_named(tmp_path, monkeypatch):
    """It does so for one example only, and would hide this in another runtime."""

    class Sleeps(ReportsCost):
        def scores(self, inputs):
            time.sleep(0.002 * (len(inputs["table"]) == 1))
            np.linalg.svd(np.ones((60, 60)))
            return np.full((len(inputs["table"]), 2), 0.5)

    monkeypatch.setattr(timing.machine, "worked_seconds", lambda: None)
    result = measure.measure(Sleeps({}), {"table": TABLE}, folder=tmp_path, **QUICK)
    (warning,) = [w for w in result.warnings if w.startswith("waits: ")]
    assert "waits: a call in Python at batch 1 computes for only" in warning


def linear_graph(weights):
    """Return an ONNX graph of a linear classifier of two classes."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("MatMul", ["table", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("table", TensorProto.FLOAT, [None, len(weights)])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class Linear(ReportsCost):
    """An estimator that offers an ONNX graph; ``exported`` are the weights of the graph."""

    weights = rng.normal(size=(8, 2)).astype(np.float32)

    def __init__(self, exported=weights):
        self.exported = exported

    def scores(self, inputs):
        odds = np.exp(inputs["table"] @ self.weights)
        return odds / odds.sum(1, keepdims=True)

    def cost(self):
        return {"macs": 16}

    def onnx(self):
        return linear_graph(self.exported)


def measured_with_graph(estimator, folder):
    """Return the measured cost of an estimator that offers a graph by its method ``onnx``."""
    make_graph = estimator_export.offered(estimator, "")
    return measure.measure(
        estimator, {"table": TABLE}, folder=folder, make_graph=make_graph, **QUICK
    )


@needs_extra("hepbench[onnx]")
def test_an_estimator_that_offers_a_graph_is_timed_in_onnx_runtime_too(tmp_path):
    """Its latency stands beside that of networks, its time in Python in a column of its own."""
    result = measured_with_graph(Linear(), tmp_path)
    assert {(each.runtime, each.batch) for each in result.cost.latencies} == {
        (runtime, batch) for runtime in ("native", "onnxruntime") for batch in (1, 64)
    }
    assert not result.cost.gaps
    assert result.export_difference < 1e-5
    assert (tmp_path / "estimator.onnx").exists()
    values = {name: result.cost.milliseconds(name) for name in LATENCIES}
    missing = {name for name, value in values.items() if value is None}
    assert missing == {name for name in LATENCIES if "torch" in name}


@needs_extra("hepbench[onnx]")
@pytest.mark.parametrize(
    ("exported", "says"),
    [
        (-Linear.weights, "scores of the ONNX graph differ from the estimator's by"),
        (Linear.weights[:5], "the ONNX graph fails: "),
        (None, "the estimator has no ONNX graph: "),
    ],
    ids=["other", "narrower", "error"],
)
def test_a_graph_that_does_not_give_the_scores_is_a_gap_with_a_warning(exported, says, tmp_path):
    """The latency in Python is measured; there is none in ONNX Runtime, and no file."""
    result = measured_with_graph(Linear(exported), tmp_path)
    assert {each.runtime for each in result.cost.latencies} == {"native"}
    (gap,) = result.cost.gaps
    assert gap.startswith(f"onnxruntime: {says}")
    assert f"export: {gap.removeprefix('onnxruntime: ')}" in result.warnings
    assert "\n" not in gap
    assert not list(tmp_path.iterdir())


def test_without_onnx_runtime_an_estimator_is_timed_in_python(tmp_path, monkeypatch):
    """As for networks, a missing package is no fault of the estimator."""
    monkeypatch.setattr(onnx_runtime, "find_spec", lambda name: None if name == "onnx" else 1)
    result = measured_with_graph(Linear(), tmp_path)
    assert result.cost.gaps == ["onnxruntime: onnx not installed: pip install 'hepbench[onnx]'"]
    assert not any(warning.startswith("export") for warning in result.warnings)


def test_estimators_are_measured_without_torch():
    """Importing it takes longer than their measurement."""
    code = "import sys; import hepbench.cost.cost_stage, hepbench.cost.estimator_cost; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_boosted_trees_count_comparisons_along_their_paths():
    """The report is the mean path length of training examples, summed over all trees."""
    from hepbench_models import GBDT, gbdt

    estimator = gbdt.GradientBoosting({"table": (8,)}, **{**defaults(GBDT.params), "max_trees": 10})
    # with more threads than idle cores, threads wait for each other
    with estimator_cost._native_threads(1):
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
        assert each.cpu_ms > 0
        assert each.reference_ms == found.latencies[0].reference_ms > 0
        assert each.precision >= 0
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
    times = {each.batch: each.cpu_ms for each in found if each.runtime == runtime}
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
    monkeypatch.setattr(report, "CALL_LIMIT_S", 0.05)
    cost = recorded(measure.measure(Slow(), {"table": TABLE}, folder=tmp_path, **QUICK))
    assert {each.batch for each in cost.latencies} == {1, cost.large_batch}
    assert 2 <= cost.large_batch < 64
    assert cost.milliseconds("batch_latency_python") > cost.milliseconds("latency_python")
    monkeypatch.setattr(report, "CALL_LIMIT_S", 0.0001)
    cost = recorded(measure.measure(Slow(), {"table": TABLE}, folder=tmp_path, **QUICK))
    assert [each.batch for each in cost.latencies] == [1]
    assert (cost.large_batch, cost.timed("batch_latency_python")) == (None, None)


def test_without_onnx_runtime_its_latency_is_a_gap(network, tmp_path, monkeypatch):
    """A missing package is not a fault of the network, so there is no warning."""
    monkeypatch.setattr(
        onnx_runtime, "find_spec", lambda name: None if name == "onnxruntime" else 1
    )
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
    """Latencies have one for each runtime and clock; gaps are notes."""
    assert {"macs", "flops", "theoretical_macs", "comparisons", *LATENCIES} <= set(columns.COUNTS)
    assert not {"latencies", "gaps", "stated"} & set(columns.COUNTS)


def latency(median_ms=10.0, **fields):
    """Return a latency in ONNX Runtime of one example."""
    return Latency(
        runtime="onnxruntime", batch=1, median_ms=median_ms, p95_ms=2 * median_ms, **fields
    )


def rounds(*medians, cpu=1.0):
    """Return rounds of a latency, of which a fraction is CPU time."""
    return [Round(calls=9, wall_s=m, cpu_s=cpu * m, median_ms=m, cpu_ms=cpu * m) for m in medians]


@pytest.mark.parametrize(
    ("found", "doubts"),
    [
        (latency(cpu_ms=9.9, precision=0.02, rounds=rounds(10, 10, 10)), []),
        # one slow round does not move the median, but the machine was not steady
        (
            latency(cpu_ms=9.9, rounds=rounds(10, 10, 20)),
            ["repeated timings differ by more than 20%"],
        ),
        (latency(cpu_ms=9.9, rounds=rounds(9, 10, 10.9)), []),
        (
            latency(cpu_ms=9.9, rounds=rounds(7, 10, 20)),
            ["repeated timings differ by more than 20%"],
        ),
        (latency(precision=0.2), ["the median is known to no better than 10%"]),
        (
            latency(cpu_ms=8.0, rounds=rounds(10, 10, 10, cpu=0.8)),
            ["more than 10% of it is no CPU"],
        ),
        # as recorded by older versions
        (latency(rounds=rounds(10, 10, 10, cpu=0.5)), ["more than 10% of it is no CPU time"]),
        (latency(), []),
    ],
)
def test_a_wall_time_is_in_doubt_if_any_two_rounds_differ(found, doubts):
    """Or if its median is not known well, or is not all CPU time."""
    said = list(found.wall_doubts(threads=1))
    assert len(said) == len(doubts)
    assert all(map(str.startswith, said, doubts))


def test_with_several_threads_waiting_is_no_doubt():
    """The calling thread waits for the others."""
    assert not list(latency(rounds=rounds(10, 10, 10, cpu=0.3)).wall_doubts(threads=2))


def test_cpu_times_are_in_doubt_if_their_rounds_differ():
    """A busy machine makes wall times longer, not CPU times."""
    steady = rounds(10, 13, 30)
    alike = [msgspec.structs.replace(each, cpu_ms=9.0) for each in steady]
    assert not list(latency(cpu_ms=9.0, rounds=alike).cpu_doubts())
    assert list(latency(cpu_ms=13.0, rounds=steady).cpu_doubts())


def test_training_is_timed_by_wall_clock_and_in_cpu_seconds():
    """Examples count in each epoch anew; an estimator that fits itself has no such rate."""

    def result(**facts):
        return MethodResult(trained=Trained(**facts), examples=400, peak_memory_mb=0.0)

    def cost(*chain):
        return recorded_cost.cost(chain, None, Device(kind="cpu"), measured_on="")

    first = result(seconds=2.0, cpu_seconds=1.5, processed=8000)
    second = result(seconds=3.0, cpu_seconds=2.5, processed=2000)
    found = cost(first, second)
    assert (found.train_seconds, found.train_cpu_seconds, found.trained_per_second) == (5, 4, 2000)
    assert cost(result(seconds=2.0, cpu_seconds=1.5)).trained_per_second is None
    # from the cache of an older version
    assert cost(first, result(seconds=3.0)).train_cpu_seconds is None


def test_the_cost_of_a_pretraining_is_that_of_its_methods():
    """None where there is none, or where a stage of an older version did not measure it."""

    def cost(*trained, pretraining):
        chain = [MethodResult(trained=each, examples=400, peak_memory_mb=0.0) for each in trained]
        found = recorded_cost.cost(
            chain, None, Device(kind="cpu"), measured_on="", pretraining=pretraining
        )
        return found.pretrain_cpu_seconds, found.pretrain_examples

    first = Trained(seconds=2.0, cpu_seconds=1.5, processed=8000)
    second = Trained(seconds=3.0, cpu_seconds=2.5, processed=2000)
    assert cost(first, second, pretraining=1) == (1.5, 8000)
    assert cost(first, second, second, pretraining=2) == (4.0, 10_000)
    assert cost(first, second, pretraining=0) == (None, None)
    assert cost(Trained(seconds=2.0), second, pretraining=1) == (None, None)
