"""Devices: found without torch, named in one line where they are not there, and parts of keys."""

from __future__ import annotations

import pytest
import torch

from hepbench import Examples, UsageError
from hepbench.conformance.suites import SampleEnvironment
from hepbench.planning import plan
from hepbench.planning.matrix import Choice
from hepbench.planning.suite_file import Matrix, SuiteFile
from hepbench.registry.plugins import installed
from hepbench.storage import devices
from hepbench.storage.devices import Device
from hepbench.training.networks import batches
from hepbench.training.networks.preprocessing import Steps


@pytest.fixture
def gpus(tmp_path, monkeypatch):
    """Stand in for NVIDIA's driver: two GPUs of different models."""
    for bus, model in ((1, "NVIDIA H200"), (2, "NVIDIA L4")):
        folder = tmp_path / f"0000:0{bus}:00.0"
        folder.mkdir()
        lines = [f"Model: \t\t {model}", "IRQ: 7", f"GPU UUID: \t GPU-{bus}{bus}ab"]
        (folder / "information").write_text("\n".join(lines))
    monkeypatch.setattr(devices, "NVIDIA", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def no_gpu(tmp_path, monkeypatch):
    """Stand in for a machine without a driver."""
    monkeypatch.setattr(devices, "NVIDIA", tmp_path / "absent")


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cpu", Device()),
        ("auto", Device("cuda", "NVIDIA H200", 0)),
        ("cuda", Device("cuda", "NVIDIA H200", 0)),
        ("cuda:1", Device("cuda", "NVIDIA L4", 1)),
    ],
)
def test_a_device_is_found_by_its_name(text, found):
    """Kind, model and index; auto takes the first GPU."""
    assert devices.find(text) == found


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize(("visible", "models"), [
    ("-1", []), ("0,-1,1", ["NVIDIA H200"]), ("GPU-22", ["NVIDIA L4"]), ("GPU-3", []),
    ("1", ["NVIDIA L4"]), ("1,0", ["NVIDIA L4", "NVIDIA H200"]), ("", []), ("0,7,1", ["NVIDIA H200"]),
])  # fmt: skip
def test_hidden_gpus_are_not_there(monkeypatch, visible, models):
    """CUDA_VISIBLE_DEVICES chooses and orders them, up to the first that does not exist."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices.nvidia_gpus() == models


@pytest.mark.usefixtures("gpus")
def test_a_gpu_that_is_not_there_is_named():
    """With those that are."""
    with pytest.raises(UsageError, match="cuda:2: the GPUs of this machine are cuda:0 to cuda:1"):
        devices.find("cuda:2")


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("text", ["tpu", "cuda:x", "cpu:1", "", "auto:0"])
def test_another_name_is_refused(text):
    """The message lists what is allowed."""
    with pytest.raises(UsageError, match="cpu, auto, cuda, cuda:N and mps are allowed"):
        devices.find(text)


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_auto_is_the_processor(monkeypatch):
    """Without an Apple GPU, too."""
    monkeypatch.setattr(devices, "_has_mps", lambda: False)
    assert devices.find("auto") == Device()


def test_a_run_on_a_gpu_that_is_not_there_is_one_line(bench):
    """Exit code 2, before anything is read or written."""
    bench.environment["CUDA_VISIBLE_DEVICES"] = ""
    done = bench("run", "smoke", "--device", "cuda")
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line == (
        "hepbench: --device cuda: no NVIDIA GPU is visible on this machine; use cpu or auto"
    )
    assert not (bench.folder / "results").exists()


def keys_on(device, model="mlp"):
    """Return the key of each stage of one cell, planned for a device."""
    matrix = Matrix(datasets=["higgs"], models=[model], methods=["scratch"])
    environment = SampleEnvironment(device=device)
    suite = SuiteFile(name="s", run=[matrix])
    return plan.make(suite, installed(), environment, Choice()).cells[0].stage_keys


def test_kind_and_model_of_a_device_are_parts_of_keys_and_the_index_is_not():
    """Training and cost depend on the device; reading data does not."""
    cpu, first = keys_on(Device()), keys_on(Device("cuda", "NVIDIA H200", 0))
    second, other = (
        keys_on(Device("cuda", "NVIDIA H200", 1)),
        keys_on(Device("cuda", "NVIDIA L4", 0)),
    )
    assert first == second
    for stage in ("read", "split", "inputs"):
        assert cpu[stage] == first[stage] == other[stage]
    for stage in ("scratch mlp", "cost"):
        assert len({cpu[stage], first[stage], other[stage]}) == 3


def test_an_estimator_has_the_same_keys_on_every_device():
    """It uses the processor, so a GPU changes neither its training nor its cost."""
    assert keys_on(Device(), "gbdt") == keys_on(Device("cuda", "NVIDIA H200", 0), "gbdt")


@pytest.mark.parametrize("limit", [0, batches.IN_MEMORY_BYTES])
def test_batches_are_on_the_device(limit):
    """A stand-in device that holds no numbers: streamed or in memory, every tensor is there."""
    import numpy as np

    examples = Examples(
        inputs={"table": np.zeros((8, 3), np.float32)},
        ids=np.arange(8),
        labels=np.zeros(8, np.int64),
        weights=np.ones(8),
    )
    source = batches.source(examples, Steps([]), device=torch.device("meta"), limit=limit)
    batch = source.batch(slice(0, 4))
    tensors = [batch.inputs["table"], batch.labels, batch.weights, batch.ids]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
