"""Counts and latencies of networks of one form are measured once; records say whose was measured."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
import torch
from conftest import TESTS, Workbench
from needs import needs_extra

from hepbench.cost import measure, onnx_runtime
from hepbench.cost.messages import CostResult
from hepbench.running.messages import Started, Waiting
from hepbench.running.shared_results import SharedResults
from hepbench.running.turns import Turns
from hepbench.specs.errors import ExportError
from hepbench.storage import locks, stage_cache
from hepbench.storage.costs import Cost
from hepbench.storage.records import Usage
from hepbench.storage.stage_cache import Manifest, StageCache

SUITE = """
name = "nets"
seeds = 2
[[run]]
datasets = ["blobs[n=500]"]
models = ["dense"]
methods = ["scratch-net", "prune"]
"""
RUN = ("run", "nets.toml", "--jobs", "2")


def install(folder, suite=SUITE):
    bench = Workbench(folder)
    bench.plugin(TESTS / "plugins" / "nets.py")
    bench.write("nets.toml", suite)
    return bench


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Return a workbench with the results of two seeds of a network, pruned and not."""
    bench = install(tmp_path_factory.mktemp("shared"))
    done = bench(*RUN, timeout=300)
    assert done.code == 0, done.err
    return bench


def folder_of(bench, key):
    return bench.folder / "cache" / "stages" / key[:2] / key


def shared_entries(bench):
    """Return the cache folders of measurements that cells share."""
    cells = {key for record in bench.records().values() for key in record.stage_keys.values()}
    found = (bench.folder / "cache" / "stages").glob("*/*")
    return [path for path in found if path.name not in cells and path.name[0] != "."]


def measured_on(records):
    return {latency.measured_on for record in records for latency in record.cost.latencies}


def test_seeds_and_chains_that_end_in_equal_networks_share_a_measurement(ran):
    """The records name the method stage whose network was timed; masks do not change the work."""
    records = ran.records().values()
    assert len(records) == 4
    (timed,) = measured_on(records)
    assert timed in {key for record in records for key in record.stage_keys.values()}
    assert len({tuple(x.median_ms for x in r.cost.latencies) for r in records}) == 1
    assert len({r.cost.macs for r in records}) == 1
    assert len(shared_entries(ran)) == 1


def test_zeros_and_the_export_are_those_of_each_cell(ran):
    """Half of the first weights of a pruned network are zero; each graph has its own weights."""
    by_chain = {}
    graphs = set()
    for record in ran.records().values():
        by_chain.setdefault(record.chain, set()).add(record.cost.theoretical_macs is None)
        graphs.add((folder_of(ran, record.stage_keys["cost"]) / "network.onnx").read_bytes())
    assert by_chain == {"scratch-net": {True}, "scratch-net+prune": {False}}
    assert len(graphs) == 4


def test_what_is_shared_survives_the_loss_of_the_cells_and_not_its_own_damage(ran):
    """A damaged entry is noticed by its checksum and measured again."""
    (entry,) = shared_entries(ran)
    cells = {record.stage_keys["cost"] for record in ran.records().values()}

    def run_again(change):
        before = measured(ran)
        for path in (ran.folder / "results" / "nets").glob("*.json"):
            path.unlink()
        change()
        for key in cells:
            for path in sorted(folder_of(ran, key).glob("*")):
                path.unlink()
            folder_of(ran, key).rmdir()
        assert ran(*RUN, timeout=300).code == 0
        return measured(ran) == before

    assert run_again(lambda: None)
    manifest = entry / stage_cache.MANIFEST
    assert not run_again(lambda: manifest.write_bytes(manifest.read_bytes().replace(b"1", b"2")))


def measured(bench):
    """Return the latencies of all cells."""
    return [[x.median_ms for x in r.cost.latencies] for r in bench.records().values()]


def test_fresh_measures_anew(ran):
    """Nothing that an earlier run measured is used, and seeds share what is measured now."""
    before = measured(ran)
    assert ran(*RUN, "--fresh", timeout=300).code == 0
    now = measured(ran)
    assert now[0] == now[-1]
    assert not set(map(tuple, before)) & set(map(tuple, now))


def test_a_suite_may_measure_each_seed(tmp_path):
    """So that a comparison of latencies knows how much they vary."""
    one_model = SUITE.replace('"prune"', "").replace("seeds = 2", 'seeds = 2\ncost = "each seed"')
    bench = install(tmp_path, one_model)
    assert bench(*RUN, timeout=300).code == 0
    records = bench.records().values()
    assert len(measured_on(records)) == 2
    for record in records:
        assert measured_on([record]) <= set(record.stage_keys.values())
    bench.write("nets.toml", one_model.replace("each seed", "each cell"))
    done = bench(*RUN)
    assert done.code == 2
    assert "cost at $.cost is 'each cell'; true, false or 'each seed' is expected" in done.err


class Net(torch.nn.Module):
    """A network with one layer, which is used as often as is asked."""

    def __init__(self, times=1):
        super().__init__()
        self.layer, self.times = torch.nn.Linear(4, 4), times

    def forward(self, inputs):
        """Return logits of the columns."""
        values = inputs["table"]
        for _ in range(self.times):
            values = torch.relu(self.layer(values))
        return values


TABLE = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)


def measure_shared(network, folder, share):
    folder.mkdir()
    return measure.measure(
        network, {"table": TABLE}, folder=folder, limit_s=0.05, large=8, share=share
    )


@needs_extra("hepbench[onnx]")
def test_networks_that_compute_otherwise_do_not_share(tmp_path):
    """Equal layers may be used otherwise, which the exported graph shows."""
    known = {}

    def share(graph, compute):
        if graph not in known:
            known[graph] = compute()
        return known[graph]

    once = measure_shared(Net(), tmp_path / "once", share)
    again = measure_shared(Net(), tmp_path / "again", share)
    twice = measure_shared(Net(times=2), tmp_path / "twice", share)
    assert again.cost.latencies == once.cost.latencies
    assert again.graph == once.graph != twice.graph
    assert twice.cost.macs == 2 * once.cost.macs
    assert twice.cost.latencies != once.cost.latencies
    # its export came first, to see that it computes otherwise
    assert once.cost.peak_memory_mb == again.cost.peak_memory_mb > 0
    assert twice.cost.peak_memory_mb is None
    assert [gap.partition(": ")[0] for gap in twice.cost.gaps] == ["memory"]
    assert set(known) == {None, twice.graph}


@needs_extra("hepbench[onnx]")
def test_a_network_that_cannot_be_exported_takes_no_latency_of_one_that_can(tmp_path, monkeypatch):
    """Its latency in ONNX Runtime is missing, with the reason."""

    def share(graph, compute):
        return compute() if graph == "" else CostResult(cost=Cost(macs=16), graph="exported")

    def fails(*_):
        msg = "no graph"
        raise ExportError(msg)

    monkeypatch.setattr("hepbench.cost.export.export", fails)
    found = measure_shared(Net(), tmp_path / "net", share)
    assert {each.runtime for each in found.cost.latencies} == {"torch"}
    assert found.cost.gaps[-1] == "onnxruntime: no graph"


@needs_extra("hepbench[onnx]")
def test_the_form_of_a_graph_has_no_weights(tmp_path):
    """But whole numbers, such as the sizes of a reshape."""
    from onnx import TensorProto, helper, numpy_helper

    def form(weights, size):
        nodes = [
            helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(weights)),
            helper.make_node("Mul", ["x", "w"], ["y"]),
            helper.make_node("Reshape", ["y", "size"], ["z"]),
        ]
        values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None]) for n in "xz"]
        shape = [numpy_helper.from_array(np.array([size, -1]), "size")]
        graph = helper.make_graph(nodes, "g", values[:1], values[1:], shape)
        path = tmp_path / "graph.onnx"
        path.write_bytes(helper.make_model(graph).SerializeToString())
        return onnx_runtime.form(path)

    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    assert form(ones, 2) == form(zeros, 2)
    assert form(ones, 2) != form(ones, 3)
    assert form(ones, 2) != form(np.ones(4, np.float32), 2)


def test_an_entry_that_another_run_removes_meanwhile_is_measured_anew(tmp_path, monkeypatch):
    """Such as one that measures with --fresh, between the two looks at the entry."""
    known = Manifest(files={}, used=Usage(), result=msgspec.Raw(b"{}"))
    monkeypatch.setattr(StageCache, "find_valid", lambda *_: known)
    monkeypatch.setattr("hepbench.running.usage.used", lambda *_: Usage())
    job = SimpleNamespace(cache=str(tmp_path), usage=SimpleNamespace(digests=tmp_path / "digests"))
    stage = SimpleNamespace(parents=[str(tmp_path)])
    shared = SharedResults(stage, job, None, SimpleNamespace(alone=nullcontext), {})
    measured = CostResult(cost=Cost(macs=3))
    assert shared("parts", lambda: measured, CostResult) == measured
    assert shared.used == []


def test_two_that_want_to_be_alone_take_turns():
    """Each gives up its share first, else both would wait without end."""
    inside, most = [], []

    def work():
        with locks.machine() as machine:
            both.wait(20)
            with machine.alone():
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    both = threading.Barrier(2)
    threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert most == [1, 1]


def test_a_process_that_was_alone_shares_the_machine_again_afterwards():
    """Meanwhile no other process gets it."""
    with locks.machine() as machine:
        with machine.alone(), locks.machine_now() as free:
            assert not free
        with locks.machine_now() as free:
            assert free


def test_waiting_for_the_machine_is_reported_and_not_counted():
    """The time limit of a stage counts from when it goes on."""
    events = []
    with locks.machine() as machine:
        turns = Turns("key", machine, events.append)
        with turns.alone():
            assert [*map(msgspec.to_builtins, events)] == [
                msgspec.to_builtins(Waiting("key")),
                msgspec.to_builtins(Started("key")),
            ]
    assert turns.waited >= 0
