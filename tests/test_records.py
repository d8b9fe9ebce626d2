"""Records: what is written is read, what an older hepbench wrote is converted."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hepbench.evaluation import joining, verify
from hepbench.specs.errors import ResultsError
from hepbench.storage import old_records
from hepbench.storage.costs import Device
from hepbench.storage.records import SCHEMA_VERSION, Value, decode, encode
from hepbench.storage.results import ResultsFolder

OLD = Path(__file__).parent / "data" / "record_schema_1.json"


@pytest.fixture
def old():
    """The kept record of schema 1, as builtins."""
    return json.loads(OLD.read_text())


def failed(old):
    """A record of schema 1 whose cell failed in a stage of another cell."""
    error = {
        "stage": "pretrain conv-vae",
        "type": "MemoryError",
        "message": "out of memory",
        "traceback": "",
        "stderr": "",
        "cell": "jets/net[code=8]/pretrain[rate=0.1]#0",
    }
    return old | {
        "status": "failed",
        "error": error,
        "metrics": {},
        "metrics_train": {},
        "metrics_validation": {},
        "cost": {},
        "data": None,
        "history": [],
        "predictions": None,
        "labels": None,
    }


def test_a_record_of_schema_1_has_the_same_numbers(old):
    """Metrics, history, cost, key and stored files are what they were."""
    found = decode(OLD.read_bytes())
    assert found.schema_version == SCHEMA_VERSION
    assert found.metrics["auc"].value == old["metrics"]["auc"]["value"]
    assert (
        found.metrics["latent_sparsity"].undefined == old["metrics"]["code_sparsity"]["undefined"]
    )
    assert found.metrics.keys() == old["metrics"].keys() - {"code_sparsity"} | {"latent_sparsity"}
    assert [list(row.values()) for row in found.history] == [
        list(row.values()) for row in old["history"]
    ]
    assert found.cost.flops == old["cost"]["flops"]
    assert found.cost.load == old["cost"]["load"]
    assert (
        found.cost.milliseconds("latency")
        == old["cost"]["latency_ms"]["onnxruntime"]["1"]["median"]
    )
    assert (found.key, found.seed, found.preset) == (old["key"], old["seed"], old["preset"])
    assert found.predictions.sha256 == old["predictions"]["sha256"]
    # relative to the suite's folder, not to that of all results
    assert old["labels"]["path"] == f"{found.suite}/{found.labels.path}"


def test_a_record_of_schema_1_has_todays_names(old):
    """In parameters, labels, key parts, history and published results."""
    assert old["chain"] == CHAIN.replace("reinitialise", "restart")
    found = decode(OLD.read_bytes())
    assert found.chain == CHAIN
    finetune, pruning = (found.params["methods"][n] for n in ("finetune", "prune-structured"))
    assert finetune["encoder_learning_rate"] == old["params"]["methods"]["finetune"]["encoder_rate"]
    assert {"monitor", "min_steps", "gradient_clip"} <= pruning.keys()
    assert (pruning["after"], pruning["learning_rate"]) == ("reinitialise", 0.002)
    model = found.params["model"]
    assert {"latent_dim", "kl_warmup"} <= model.keys()
    parts = found.key_parts
    assert parts["pretrain conv-vae"]["model_params"].items() <= model.items()
    assert parts["pretrain+finetune conv-vae"]["params"] == finetune
    assert parts["evaluate"]["cell"] == [found.dataset, found.model, found.chain, found.seed]
    assert "latent_sparsity" in parts["evaluate"]["metrics"]
    # digests of sources are no parameter
    assert parts["read"]["code"] == old["key_parts"]["read"]["code"]
    terms = {name for row in found.history for name in row}
    assert "learning_rate.encoder" in terms
    assert not any(name.startswith("rate") for name in terms)


CHAIN = "pretrain+finetune+prune-structured[ratio=0.4,after=reinitialise]"


def test_a_record_of_schema_1_has_todays_provenance_and_latencies(old):
    """The processor stands in the device, the load beside each latency."""
    found = decode(OLD.read_bytes())
    made = old["provenance"]
    assert found.provenance.machine.processor == made["machine"]["processor"]
    assert found.provenance.finished == made["finished"]
    assert found.provenance.plugins == made["plugins"]
    device = Device(kind="cpu", name=made["machine"]["processor"], precision="float32")
    assert found.provenance.device == device
    assert {(each.runtime, each.batch) for each in found.cost.latencies} == {
        (runtime, int(batch))
        for runtime, batches in old["cost"]["latency_ms"].items()
        for batch in batches
    }
    last = found.stage_keys["pretrain+finetune+prune-structured conv-vae"]
    assert all(each.measured_on == last for each in found.cost.latencies)
    assert all(each.device == device for each in found.cost.latencies)


def test_keys_of_stages_are_found_from_a_record_of_schema_1(old):
    """They name the folders of the cache: labels stand under that of the split."""
    found = decode(OLD.read_bytes())
    assert found.stage_keys.keys() == old["key_parts"].keys() - {"evaluate"}
    assert found.labels.path == f"labels/{found.stage_keys['split']}.npz"
    # where keys were hashed in another way, none is named
    old["key_parts"]["read"]["numerics"] = 99
    assert decode(json.dumps(old).encode()).stage_keys == {}


def test_a_failed_record_of_schema_1_says_why_with_todays_names(old):
    """The cell that it names is a label, too."""
    found = decode(json.dumps(failed(old)).encode())
    assert found.error.cell == "jets/net[latent_dim=8]/pretrain[learning_rate=0.1]#0"
    assert (found.error.message, found.metrics) == ("out of memory", {})


def test_a_converted_record_is_written_and_read_again_as_it_is(old):
    """Written twice it has the same bytes."""
    for data in (OLD.read_bytes(), json.dumps(failed(old)).encode()):
        first = decode(data)
        written = encode(first)
        assert decode(written) == first
        assert encode(decode(written)) == written


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "scratch[epochs=20,choose=auc,rate=0.002]",
            "scratch[epochs=20,monitor=auc,learning_rate=0.002]",
        ),
        (
            "gbdt[feature_share=0.5]+prune[after=restart]",
            "gbdt[feature_fraction=0.5]+prune[after=reinitialise]",
        ),
        (
            "net[preprocess=['code', 'rate'],code=8]",
            "net[preprocess=['code', 'rate'],latent_dim=8]",
        ),
        ("prune[after=restarted,ratio=0.1]", "prune[after=restarted,ratio=0.1]"),
        ("rate", "rate"),
    ],
)
def test_labels_name_parameters_as_they_are_called_now(old, before, after):
    """Only names before '=' and whole values change."""
    found = old_records.convert(old | {"chain": before})
    assert found["chain"] == after


def test_a_record_of_a_newer_hepbench_is_refused_in_one_line(tmp_path, old):
    """Whether or not its fields could be read: file, its version, versions read, what to do."""
    data = json.loads(encode(decode(OLD.read_bytes())))
    folder = tmp_path / "pruning"
    folder.mkdir()
    for changed in ({"schema_version": 4}, {"schema_version": 4, "seed": "zero"}):
        path = folder / f"{old['key']}.json"
        path.write_text(json.dumps(data | changed))
        for read in (
            ResultsFolder(tmp_path).records,
            lambda: ResultsFolder(tmp_path).read("pruning", old["key"]),
        ):
            with pytest.raises(ResultsError) as refused:
                read()
            said = str(refused.value)
            assert said.startswith(f"{path} has schema version 4, but hepbench ")
            assert said.endswith("reads only 1 to 3; update hepbench")
            assert "\n" not in said


def test_a_table_of_a_newer_record_exits_2_with_that_line(bench, old):
    """Nothing else is printed."""
    data = json.loads(encode(decode(OLD.read_bytes()))) | {"schema_version": 4}
    bench.write(f"results/pruning/{old['key']}.json", json.dumps(data))
    done = bench("table", "results")
    assert (done.code, done.out) == (2, "")
    assert f"{old['key']}.json has schema version 4, but" in done.err
    assert done.err.count("\n") == 1


def test_values_that_are_stored_under_an_old_name_are_read(tmp_path):
    """Stored arrays of old results stay as they are, with their checksums."""
    ids = np.arange(3)
    labels = {f"{p}.{n}": ids for p in ("train", "validation", "test") for n in ("ids", "labels")}
    scores = {f"{part}.value.code_zeros": ids / 4 for part in ("train", "validation", "test")}
    scores |= {part: np.ones((3, 2)) for part in ("train", "validation", "test")}
    np.savez(tmp_path / "old.npz", **scores)
    found = joining.join(labels, tmp_path / "old.npz")["test"].values
    assert {name: list(values) for name, values in found.items()} == {
        "latent_zeros": [0, 0.25, 0.5]
    }


def test_the_reason_for_a_missing_value_may_be_worded_differently():
    """A value that is there in one record alone is a difference, a sentence is none."""
    one, other = Value(undefined="no signal"), Value(undefined="there is no signal")
    assert verify._value_differences("test", {"auc": one}, {"auc": other}) == []
    assert len(verify._value_differences("test", {"auc": one}, {"auc": Value(0.5)})) == 2
    assert len(verify._value_differences("test", {"auc": Value(0.5)}, {"auc": other})) == 2


@pytest.mark.parametrize("data", ["{}", "[]", '{"schema_version": 2}', '{"schema_version": 3}'])
def test_what_is_no_record_is_no_record_of_an_old_schema(data):
    """It is refused as any other damaged file."""
    with pytest.raises(msgspec.MsgspecError):
        decode(data.encode())


def test_a_damaged_byte_inside_a_string_is_damage():
    """msgspec raises another error for it; readers of records know one."""
    with pytest.raises(msgspec.MsgspecError, match="invalid text"):
        decode(b'{"schema_version": 2, "suite": "s\xff"}')
