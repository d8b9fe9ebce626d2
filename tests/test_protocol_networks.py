"""The protocol, points 3 and 5 to 9, for faults without a message, on the real command line.

``faults/README.md`` and ``test_faults.py`` hold the messages of all other faults.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TESTS, Workbench
from needs import needs_linux
from safetensors.numpy import load_file

FAULTS = TESTS / "faults"
MEASURED_LONG = 300


def install(bench: Workbench, *names: str) -> Workbench:
    """Install the tiny networks, the toys and some faults."""
    for path in (TESTS / "plugins/nets.py", TESTS / "plugins/toys.py"):
        bench.plugin(path)
    for name in names:
        bench.plugin(FAULTS / f"{name}.py")
    return bench


def suite(bench: Workbench, models: str, methods: str, *, cost: bool, dataset: str = "toy") -> None:
    """Write ``suite.toml``."""
    lists = {"datasets": dataset, "models": models, "methods": methods}
    lines = [f"{name} = {names.split()}" for name, names in lists.items()]
    head = ['name = "suite"', f"cost = {str(cost).lower()}", "[[run]]"]
    bench.write("suite.toml", "\n".join([*head, *lines]))


# --- 3: preprocessing

RECORDS = """
import torch
from torch import nn
from hepbench import Model, hookimpl


class Records(nn.Module):
    def __init__(self, shapes):
        super().__init__()
        self.register_buffer("seen", torch.zeros(2000))

    def fit(self, batches):
        rows = torch.cat([batch["table"] for batch in batches])[:, 0].sort().values
        self.seen[: len(rows)] = rows

    def forward(self, inputs):
        return inputs


class Dense(nn.Module):
    def __init__(self, shapes):
        super().__init__()
        self.layer = nn.Linear(shapes["table"][0], 4)

    def encode(self, inputs):
        return self.layer(inputs["table"])


@hookimpl
def hepbench_models():
    return [Model(name="recorder", summary="", inputs=("table",), build="recorder:Dense",
                  preprocess=("recorder:Records",))]
"""


def test_a_step_is_fitted_on_training_inputs_only(bench):
    """It receives exactly the training part, row by row."""
    import numpy as np

    install(bench).plugin(RECORDS, "recorder")
    suite(bench, "recorder", "scratch-net", cost=False, dataset="blobs[n=500]")
    assert bench("run", "suite.toml").code == 0
    stages = bench.folder / "cache" / "stages"
    (path,) = stages.glob("*/*/weights.safetensors")
    (training,) = stages.glob("*/*/train/input.table.npy")
    expected = np.sort(np.load(training)[:, 0])
    seen = load_file(path)["preprocess.steps.0.seen"]
    np.testing.assert_array_equal(seen[: len(expected)], expected)
    assert not seen[len(expected) :].any()


# --- 5: annealed losses


def test_losses_are_compared_at_final_term_weights(bench):
    """The weight of a term is 0 in the first step; the loss of every epoch holds all of it."""
    install(bench)
    suite(bench, "vae", "both", cost=False, dataset="blobs[n=500]")
    assert bench("run", "suite.toml").code == 0
    (record,) = bench.records().values()
    assert record.warnings[0].startswith("values: the encoder saw labels too")
    for row in record.history:
        whole = row["reconstruction"] + row["kl"] + row["cross_entropy"]
        assert row["loss"] == pytest.approx(whole)
    assert record.best_epoch == min(record.history, key=lambda row: row["loss"])["epoch"]


# --- 7: what is pruned


def test_lost_masks_do_not_count_as_zeros(bench):
    """Zero weights are counted in the network itself; with a mask, half of them are zero."""
    install(bench, "lost_masks")
    lost = ("prune-then-forget", "prune-without-masks", "prune+finetune-unmasked")
    chains = " ".join(f"scratch-net+{name}" for name in ("prune", *lost))
    suite(bench, "dense", chains, cost=False, dataset="blobs[n=500]")
    assert bench("run", "suite.toml", "--jobs", "2").code == 0
    costs = {record.chain: record.cost for record in bench.records().values()}
    assert len(costs) == 1 + len(lost)
    kept = costs.pop("scratch-net+prune")
    assert kept.parameters - kept.nonzero_parameters >= 24
    for cost in costs.values():
        # a bias may be zero by chance, a weight may not
        assert cost.nonzero_parameters == cost.parameters


# --- 8: cost


@pytest.fixture(scope="module")
def costed(tmp_path_factory) -> Workbench:
    """Return a workbench with the costs of networks with hidden operations and of a claim."""
    bench = install(Workbench(tmp_path_factory.mktemp("costed")), "hidden_work", "claims_flops")
    cells = {"in-a-step fused recurrent dense": "scratch-net", "dense": "scratch-net+claim-flops"}
    runs = [
        f'[[run]]\ndatasets = ["blobs[n=500]"]\nmodels = {models.split()}\nmethods = ["{method}"]'
        for models, method in cells.items()
    ]
    bench.write("suite.toml", "\n".join(['name = "suite"', *runs]))
    done = bench("run", "suite.toml", timeout=MEASURED_LONG)
    assert done.code == 0, done.err
    return bench


TOKENS, WIDTH, LAYER, HEAD = 6, 8, 6 * 8, 8 * 2
ATTENTION = TOKENS * WIDTH * 4 * WIDTH + 2 * TOKENS * TOKENS * WIDTH
HIDDEN = {
    "in-a-step": TOKENS * TOKENS,
    "fused": ATTENTION + 2 * TOKENS * WIDTH * 16,
    "recurrent": TOKENS * 4 * WIDTH * (1 + WIDTH),
}


@pytest.mark.parametrize("model", HIDDEN)
def test_all_operations_of_a_network_are_counted(costed, model):
    """Worked by hand: a product in preprocessing, a fused attention block, an LSTM."""
    found = costed.records()[f"blobs[n=500]/{model}/scratch-net#0"].cost
    assert found.macs == LAYER + HEAD + HIDDEN[model]
    assert found.flops == 2 * found.macs
    assert not found.gaps


def test_a_mask_does_not_lower_the_flops(costed):
    """They equal those of the dense network; savings by zeros have their own column."""
    names = ("auc", "parameters", "nonzero_parameters", "flops", "theoretical_macs")
    table = costed("table", "--format", "json", "--columns", ",".join(names)).json
    rows = {row["chain"]: row for row in table if row["model"] == "dense"}
    dense, masked = rows["scratch-net"], rows["scratch-net+claim-flops"]
    assert masked["flops"] == dense["flops"] == 2 * (6 * 8 + 8 * 8 + 8 * 2)
    assert masked["parameters"] == dense["parameters"]
    assert masked["nonzero_parameters"] < dense["nonzero_parameters"]
    assert dense["theoretical_macs"] is None
    assert masked["theoretical_macs"] == (6 * 8 + 8 * 8 + 8 * 2) // 4
    plain = costed("table", "--columns", ",".join(names)).out
    assert re.search(r"AUC.* params +nonzero( parameters)? +FLOPs +theoretical", plain)


def test_a_network_without_countable_operations_has_a_dash(tmp_path):
    """If all work happens outside torch, the FLOPs are unknown, not zero."""
    import torch

    from hepbench.cost import measure

    class Outside(torch.nn.Module):
        def forward(self, inputs):
            return torch.from_numpy(inputs["table"].numpy() @ torch.ones(6, 2).numpy())

    inputs = {"table": torch.ones(1, 6).numpy()}
    found = measure.measure(Outside(), inputs, folder=tmp_path, large=2, limit_s=0.1)
    assert (found.cost.flops, found.cost.macs) == (None, None)
    assert "macs: not counted: values taken out of torch as a NumPy array" in found.warnings


# --- 9: alone on the machine


def running(*pids: int) -> list[int]:
    """Return the processes of a list that still run."""
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            continue
        found += [pid] if state != "Z" else []
    return found


@needs_linux("/proc", found=Path("/proc/self").exists())
def test_no_process_of_a_plugin_outlives_its_stage(bench):
    """A child, and one in its own session, are killed when the method has ended."""
    import json

    install(bench, "works_on")
    suite(bench, "leaves-child leaves-daemon", "fit", cost=False)
    assert bench("run", "suite.toml").code == 0
    states = (bench.folder / "cache" / "stages").glob("*/*/state.json")
    children = [json.loads(path.read_text())["child"] for path in states]
    assert len(children) == 2
    assert all(child > 0 for child in children)
    assert running(*children) == []


@needs_linux("/proc", found=Path("/proc/stat").exists())
def test_background_load_is_reported_with_latencies(bench):
    """While an unrelated process keeps a core busy, the record states the load."""
    install(bench)
    suite(bench, "line", "fit", cost=True)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            done = bench("run", "suite.toml")
        finally:
            other.kill()
    assert done.code == 0
    (record,) = bench.records().values()
    (note,) = [w for w in record.warnings if w.startswith("latency under load: other work")]
    found = re.fullmatch(
        r"latency under load: other work kept (\d+\.\d) of \d+ cores busy while latencies were "
        r"measured",
        note,
    )
    assert float(found.group(1)) > 0.2
    assert record.cost.load == pytest.approx(float(found.group(1)), abs=0.051)


SPANS = """
import os, time
from pathlib import Path
import numpy as np
from hepbench import Model, hookimpl


class Logs:
    fitted = 0

    def fit(self, data, *, seed):
        began = time.monotonic()
        time.sleep(0.4)
        self.fitted = os.getpid()
        self.log(began)

    def scores(self, inputs):
        began = time.monotonic()
        signal = 1 / (1 + np.exp(-inputs["table"][:, 0].astype(float)))
        self.log(began)
        return np.stack([1 - signal, signal], 1)

    def log(self, began):
        name = f"{'method' if self.fitted == os.getpid() else 'cost'}-{os.getpid()}"
        with Path(os.environ["SPANS"], name).open("a") as file:
            file.write(f"{began} {time.monotonic()}\\n")


def build(shapes, *, number):
    return Logs()


@hookimpl
def hepbench_models():
    return [Model(name="logs", summary="", inputs=("table",), build="logs:build",
                  offers=frozenset({"estimate"}), params={"number": 0})]
"""


@pytest.mark.slow
def test_costs_are_measured_alone_across_runs(bench, tmp_path):
    """During a measurement no stage of another run works; their methods do overlap."""
    install(bench).plugin(SPANS, "logs")
    (tmp_path / "spans").mkdir()
    suite(bench, " ".join(f"logs[number={i}]" for i in range(4)), "fit", cost=True)
    processes = []
    for name in ("one", "other"):
        caches = {"HEPBENCH_CACHE": str(tmp_path / name), "SPANS": str(tmp_path / "spans")}
        bench.environment |= caches
        processes.append(bench.start("run", "suite.toml", "--results", name, "--jobs", "2"))
    ends = [process.communicate(timeout=MEASURED_LONG) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    spans = []
    for path in (tmp_path / "spans").iterdir():
        times = [float(word) for word in path.read_text().split()]
        spans.append((min(times), max(times), path.name.partition("-")[0]))
    assert sorted(kind for *_, kind in spans) == ["cost"] * 8 + ["method"] * 8
    together = [
        {a[2], b[2]} for i, a in enumerate(spans) for b in spans[:i] if a[0] < b[1] and b[0] < a[1]
    ]
    assert {"method"} in together
    assert not any("cost" in kinds for kinds in together)
