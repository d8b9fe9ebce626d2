"""Cost: measured on what was scored, with its doubts told. Times are compared with wide margins."""

from __future__ import annotations

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


class Says:
    """An estimator that says what it costs."""

    parameters = 12

    def __init__(self, said):
        self.said, self.seen = said, set()

    def fit(self, data, *, seed):
        pass

    def scores(self, inputs):
        self.seen.add(len(inputs["table"]))
        return np.full((len(inputs["table"]), 2), 0.5)

    def cost(self):
        return self.said


def test_an_estimator_says_its_operations(tmp_path):
    """FLOPs are twice the MACs; comparisons are no FLOPs."""
    estimator = Says({"macs": 8, "comparisons": 2.5})
    facts = measure.measure(estimator, {"table": TABLE[:10]}, folder=tmp_path, **QUICK)
    found = recorded(facts)
    assert (found.parameters, found.macs, found.flops, found.comparisons) == (12, 8, 16, 2.5)
    assert {(each.runtime, each.batch) for each in found.latencies} == {
        ("native", 1),
        ("native", 64),
    }
    assert estimator.seen == {1, 64}
    assert found.peak_memory_mb > 0
    assert not found.gaps


@pytest.mark.parametrize("said", [{"flops": 3}, {"macs": -1}, {"comparisons": float("nan")}])
def test_an_estimator_that_says_something_else_is_refused(said, tmp_path):
    """Another kind of operation, or no finite number of them."""
    with pytest.raises(PluginError, match=r"Says.cost\(\) returns"):
        measure.measure(Says(said), {"table": TABLE}, folder=tmp_path, **QUICK)


def test_an_estimator_that_says_nothing_has_a_gap(tmp_path):
    """Its latency is measured all the same."""

    class Mute:
        fit, scores = Says.fit, Says.scores
        seen: ClassVar = set()

    facts = measure.measure(Mute(), {"table": TABLE}, folder=tmp_path, **QUICK)
    assert facts.cost.gaps == ["operations: Mute has no cost() that counts them"]
    assert facts.cost.flops is None
    assert facts.cost.latency > 0


def test_boosted_trees_compare_along_their_paths():
    """Each training example is walked down every tree; the mean is what the estimator says."""
    from hepbench_models import GBDT, gbdt

    estimator = gbdt.GradientBoosting({"table": (8,)}, **{**defaults(GBDT.params), "max_trees": 10})
    # more threads than idle cores wait for one another
    with measure._native_threads(1):
        estimator.fit(DATA, seed=0)
    made = 0
    trees = [tree.nodes for step in estimator.trees._predictors for tree in step]
    for row in DATA.train.inputs["table"].astype(np.float64):
        for nodes in trees:
            node = nodes[0]
            while not node["is_leaf"]:
                made += 1
                below = row[node["feature_idx"]] <= node["num_threshold"]
                node = nodes[node["left"] if below else node["right"]]
    assert trees
    assert estimator.cost() == {"comparisons": pytest.approx(made / 400)}


def test_logistic_regression_is_one_multiply_add_a_feature():
    """Eight features, two classes."""
    from hepbench_models import logistic

    estimator = logistic.Logistic({"table": (8,)}, strengths=[1.0], max_iterations=1000)
    estimator.fit(DATA, seed=0)
    assert estimator.cost() == {"macs": 8}


def test_an_svm_costs_its_support_vectors_times_its_features(tmp_path):
    """How an estimator with a kernel counts, and what becomes of it."""
    from sklearn import svm

    class SVM(Says):
        def __init__(self):
            self.svc = svm.SVC().fit(TABLE[:400], LABELS[:400])

        def scores(self, inputs):
            signal = 1 / (1 + np.exp(-self.svc.decision_function(inputs["table"])))
            return np.stack([1 - signal, signal], 1)

        def cost(self):
            return {"macs": self.svc.support_vectors_.size}

    estimator = SVM()
    facts = measure.measure(estimator, {"table": TABLE}, folder=tmp_path, **QUICK)
    assert facts.cost.macs == len(estimator.svc.support_) * 8
    assert facts.cost.flops == 2 * facts.cost.macs


# --- networks


@pytest.fixture
def network():
    """Return a small net that is called as scored networks are."""
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
    """Every field of the record's cost that scoring can fill."""
    threads = torch.get_num_threads()
    facts = measure.measure(network, {"table": TABLE}, folder=tmp_path, **QUICK)
    found = recorded(facts)
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
    assert facts.export_difference < 1e-5
    assert (tmp_path / "network.onnx").exists()
    assert facts.counted.ratio == 1
    assert torch.get_num_threads() == threads
    assert network.training


def test_a_mask_earns_no_flops(network, tmp_path):
    """Half of the weights at zero: the same FLOPs, and a theoretical count beside."""
    with torch.no_grad():
        network.layers[0].weight[::2] = 0
    facts = measure.measure(network, {"table": TABLE}, folder=tmp_path, **QUICK)
    assert facts.cost.flops == 2 * (8 * 256 + 256 * 2)
    assert facts.cost.theoretical_macs == 4 * 256 + 256 * 2
    assert facts.cost.nonzero_parameters == facts.cost.parameters - 4 * 256


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
@needs_extra("hepbench[onnx]")
def test_latency_grows_with_the_batch(network, tmp_path, runtime):
    """20,000 examples at once take longer than one."""
    facts = measure.measure(network, {"table": TABLE}, folder=tmp_path, limit_s=0.2, large=20_000)
    times = {each.batch: each.median_ms for each in facts.cost.latencies if each.runtime == runtime}
    assert times[20_000] > 3 * times[1]


def test_without_onnx_runtime_its_latency_is_a_named_gap(network, tmp_path, monkeypatch):
    """What is not installed is no fault of the network, so nothing else is said."""
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxruntime" else 1)
    facts = measure.measure(network, {"table": TABLE}, folder=tmp_path, **QUICK)
    assert {each.runtime for each in facts.cost.latencies} == {"torch"}
    assert facts.cost.gaps[0].startswith("onnxruntime: onnxruntime not installed")
    assert not any(warning.startswith("export") for warning in facts.warnings)


@needs_extra("hepbench[onnx]")
def test_a_network_that_cannot_be_exported_is_marked(network, tmp_path):
    """Its latency in torch is there; the rest is a gap and a warning."""
    layers = network.layers
    network.forward = lambda inputs: layers(inputs["table"]) / int(inputs["table"].shape[0])
    facts = measure.measure(network, {"table": TABLE}, folder=tmp_path, **QUICK)
    assert {each.runtime for each in facts.cost.latencies} == {"torch"}
    assert any(warning.startswith("export: scores of the ONNX graph") for warning in facts.warnings)
    assert not (tmp_path / "network.onnx").exists()


# --- the record


def test_a_record_keeps_its_cost_and_is_the_same_at_another_speed():
    """Operations are part of what two runs must agree in; times and memory are not."""
    names = ("suite", "dataset", "model", "method", "chain", "preset", "key")
    common = {**dict.fromkeys(names, "x"), "seed": 0, "params": {}, "status": "ok"}

    def record(macs, median):
        latency = Latency(runtime="torch", batch=1, median_ms=median, p95_ms=2 * median)
        return Record(**common, cost=Cost(macs=macs, flops=2 * macs, latencies=[latency]))

    assert decode(encode(record(5, 0.1))) == record(5, 0.1)
    assert same(record(5, 0.1), record(5, 0.2))
    assert not same(record(5, 0.1), record(6, 0.1))


def test_what_is_a_number_is_a_column():
    """Latencies and gaps are not."""
    assert {"macs", "flops", "theoretical_macs", "comparisons"} <= set(columns.COUNTS)
    assert not {"latencies", "gaps"} & set(columns.COUNTS)
