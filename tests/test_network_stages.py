"""Networks on the real command line: stages, records, and faults that are caught."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import TESTS, Workbench

from hepbench.storage import records
from hepbench.training.networks import scoring

SUITE = """
name = "nets"
cost = false
[[run]]
datasets = ["blobs[n=500]"]
models = ["dense", "vae", "mixing", "unsettled"]
methods = ["scratch-net", "pre+probe", "fresh+probe", "both", "prune"]

[[run]]
datasets = ["blobs[n=500]"]
models = ["dense"]
methods = ["fresh+probe[cheats=encoder]", "fresh+probe[cheats=mode]", "prune[forgets=true]",
           "fresh+headless", "nothing", "scratch-net[epochs=3]"]

[[run]]
datasets = ["blobs[n=500]"]
models = ["dense[preprocess=['signed-log','standardise']]"]
methods = ["scratch-net"]
"""

FAULTS = """
from hepbench import Method, Objective, classification, hookimpl


def headless(start, data, work):
    return start


def nothing(start, data, work):
    return None


@hookimpl
def hepbench_methods():
    names = ("headless", "nothing")
    return [Method(name=n, summary=n, run=f"netfaults:{n}", after=("fresh",)) for n in names]
"""


def install(bench):
    bench.plugin(TESTS / "plugins" / "nets.py")
    bench.plugin(FAULTS, "netfaults")
    bench.write("nets.toml", SUITE)
    return bench


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Workbench:
    """Return a workbench where every cell of the suite was run."""
    bench = install(Workbench(tmp_path_factory.mktemp("nets")))
    done = bench("run", "nets.toml", "--jobs", "2", timeout=300)
    assert done.code in {1, 2}, done.err
    return bench


@pytest.fixture(scope="module")
def table(ran) -> str:
    """Return the table with its lines joined."""
    return " ".join(ran("table").out.split())


def record(bench, model, chain, dataset="blobs[n=500]"):
    return bench.records()[f"{dataset}/{model}/{chain}#0"]


def stages(bench, name):
    return sorted((bench.folder / "cache" / "stages").glob(f"*/*/{name}"))


@pytest.mark.parametrize(
    "chain", ["scratch-net", "pre+probe", "fresh+probe", "both", "scratch-net+prune"]
)
def test_every_kind_of_chain_gives_a_record_with_metrics(ran, chain):
    """Chains pretrain, probe, train with two objectives, or prune."""
    found = record(ran, "vae", chain)
    assert found.status == "ok", found.error
    # what is trained by labels and by its own loss has no unsupervised anomaly score
    kinds = [w.partition(":")[0] for w in found.warnings]
    # a hundred test examples are few
    assert kinds == ["values"] * (chain == "both") + ["errors"]
    assert 0.4 < found.metrics["auc"].value <= 1


def test_a_record_holds_each_epoch(ran):
    """It has history, best epoch and parameters of the scored network, without the decoder."""
    found = record(ran, "vae", "both")
    assert found.epochs == len(found.history) == 2
    assert {"loss", "reconstruction", "kl", "cross_entropy", "auc", "learning_rate.head"} <= set(
        found.history[0]
    )
    losses = [row["loss"] for row in found.history]
    assert found.best_epoch == losses.index(min(losses))
    hidden, mean, head = 6 * 8 + 8, 8 * 4 + 4, 4 * 5 + 5 + 5 * 2 + 2
    assert found.cost.parameters == hidden + mean + head


def test_metrics_of_the_best_epoch_equal_those_of_the_scored_network(ran):
    """Validation during training agrees with evaluation of stored scores."""
    for chain in ("scratch-net", "both", "scratch-net+prune"):
        found = record(ran, "vae", chain)
        last = [row for row in found.history if row["step"] == chain.count("+")]
        best = last[found.best_epoch]
        assert found.metrics_validation["auc"].value == pytest.approx(best["auc"], abs=1e-6)


def test_a_record_counts_zero_weights_and_parameters(ran):
    """Half of the weights of the first layer are zero, and still count as parameters."""
    made = [p for p in stages(ran, "recipe.json") if json.loads(p.read_text())["model"] == "vae"]
    manifests = [json.loads((path.parent / "manifest.json").read_text()) for path in made]
    facts = [manifest["result"]["trained"] for manifest in manifests]
    pruned = {f["parameters"] - f["nonzero_parameters"] for f in facts}
    assert pruned == {0, 6 * 8 // 2}


def test_chains_share_their_pretraining(ran):
    """One stage made the encoder; its recipe has no head, and it has no scores."""
    recipes = {p.parent: json.loads(p.read_text()) for p in stages(ran, "recipe.json")}
    encoders = [p for p, recipe in recipes.items() if recipe["head"] is None]
    assert len(encoders) == 1
    assert not (encoders[0] / "scores.npz").exists()


def test_scores_are_float32_probabilities(ran):
    """They are the softmax of the logits; each row sums to 1."""
    for path in stages(ran, "scores.npz"):
        arrays = np.load(path)
        for scores in (arrays[part] for part in ("train", "validation", "test")):
            assert scores.dtype == np.float32
            assert abs(scores.sum(1, dtype=np.float64) - 1).max() < 1e-6


@pytest.mark.parametrize("model", ["mixing", "unsettled"])
def test_scores_that_depend_on_the_batch_are_marked(ran, table, model):
    """Record and table mark attention across the batch and batch norm in training mode."""
    found = record(ran, model, "scratch-net")
    assert any(w.startswith("batch-dependent") for w in found.warnings)
    assert "batch-dependent" in table


def test_sound_scores_are_not_marked(ran):
    """Rounding does not count as dependence on the batch."""
    for model in ("dense", "vae"):
        # of a hundred test examples, all warnings are about few examples
        found = record(ran, model, "scratch-net").warnings
        assert all(warning.startswith("errors: ") for warning in found)


CAUGHT = {
    "fresh+probe[cheats=encoder]": "probe changed encoder.blocks.0.weight, which is frozen",
    "fresh+probe[cheats=mode]": "probe changed encoder.blocks.1.running_mean, which is frozen",
    "scratch-net+prune[forgets=true]": "pruned weights of encoder.blocks.0.weight are not zero",
    "headless": "headless returned a network without a head; a classifier needs a head",
    "nothing": "nothing returned NoneType; a Network is expected",
}


@pytest.mark.parametrize("chain", CAUGHT)
def test_a_method_that_breaks_a_promise_fails_its_cell(ran, table, chain):
    """One line names the frozen tensor, the lost mask or the missing classifier."""
    found = record(ran, "dense", chain)
    assert found.status == "failed"
    assert CAUGHT[chain] in found.error.message
    assert CAUGHT[chain] in table


def test_a_norm_that_changes_in_eval_mode_cannot_be_probed(ran):
    """The encoder would not be frozen."""
    found = record(ran, "unsettled", "fresh+probe")
    assert "running_mean, which is frozen" in found.error.message


@pytest.mark.slow
def test_records_do_not_depend_on_jobs_or_interruptions(ran, tmp_path):
    """They are bit-identical from one process, from several, and from a stored start."""
    bench = install(Workbench(tmp_path))
    globs = ("-m", "vae", "-x", "pre+probe", "-x", "scratch-net+prune")
    bench("run", "nets.toml", "--jobs", "1", *globs)
    for chain in ("pre+probe", "scratch-net+prune"):
        one, other = record(ran, "vae", chain), record(bench, "vae", chain)
        assert records.same(one, other)
        assert one.predictions.sha256 == other.predictions.sha256


def test_a_second_run_computes_nothing(ran):
    """Finished cells are cached; the epochs of a method are part of its key."""
    again = ran("run", "nets.toml", "-m", "vae", "--json").json
    assert again["cached"] == 5
    keys = [record(ran, "dense", c).key for c in ("scratch-net", "scratch-net[epochs=3]")]
    assert len(set(keys)) == 2


def test_the_key_holds_preprocessing_and_torch(ran):
    """Everything that could change a number is part of the key."""
    parts = record(ran, "dense", "scratch-net").key_parts["scratch-net dense"]
    assert parts["network"]["preprocess"] == ["standardise"]
    assert parts["libraries"]["torch"].startswith("2.")
    assert parts["network"]["freezes"] == []


@pytest.mark.parametrize("chain", ["pre+probe", "both"])
def test_loss_values_are_stored_if_the_encoders_loss_was_trained_last(ran, chain):
    """They are stored with the scores of every part, and agree with validation during training."""
    found = record(ran, "vae", chain)
    with np.load(ran.folder / "results" / found.predictions.path) as arrays:
        values = {n: a for n, a in arrays.items() if ".value." in n}
        lengths = {n: len(arrays[n.partition(".")[0]]) for n in values}
    names = ("reconstruction", "kl", "elbo", "latent_zeros")
    parts = ("train", "validation", "test")
    assert set(values) == {f"{part}.value.{name}" for part in parts for name in names}
    assert {n: a.shape for n, a in values.items()} == {n: (k,) for n, k in lengths.items()}
    assert {a.dtype for a in values.values()} == {np.dtype(np.float32)}
    total = values["test.value.reconstruction"] + values["test.value.kl"]
    np.testing.assert_allclose(values["test.value.elbo"], total, rtol=1e-5)
    pretrained = [row for row in found.history if "reconstruction" in row]
    losses = [row["reconstruction"] + row["kl"] + row.get("cross_entropy", 0) for row in pretrained]
    best = pretrained[losses.index(min(losses))]
    for name in ("reconstruction", "kl"):
        assert found.metrics_validation[name].value == pytest.approx(best[name], rel=1e-5)
        assert found.metrics[name].stderr > 0
    assert 0 <= found.metrics["latent_sparsity"].value < 1
    assert 0 < found.metrics["auc_elbo"].value < 1


@pytest.mark.parametrize(
    ("model", "chain"),
    [
        ("vae", "scratch-net"),
        ("vae", "fresh+probe"),
        ("vae", "scratch-net+prune"),
        ("dense", "fresh+probe"),
    ],
)
def test_no_loss_values_are_stored_if_another_loss_was_trained_last(ran, model, chain):
    """Metrics and table state the reason."""
    found = record(ran, model, chain)
    with np.load(ran.folder / "results" / found.predictions.path) as arrays:
        assert set(arrays.files) == {"train", "validation", "test"}
    for name in ("reconstruction", "auc_elbo"):
        assert found.metrics[name].value is None
        assert "last trained by its own loss" in found.metrics[name].undefined


def test_loss_values_are_verified_with_the_scores(ran):
    """Their metrics are computed again."""
    done = ran("verify")
    assert done.code == 0, done.out
    assert "no difference" in done.out


def test_preprocessing_is_a_parameter_of_every_network(ran):
    """Labels show it if it differs from the model's default; ``build`` does not receive it."""
    found = record(ran, "dense[preprocess=['signed-log','standardise']]", "scratch-net")
    assert found.status == "ok", found.error
    assert found.params["model"]["preprocess"] == ["signed-log", "standardise"]
    parts = found.key_parts["scratch-net dense"]
    assert parts["network"]["preprocess"] == ["signed-log", "standardise"]
    assert "preprocess" not in parts["model_params"]
    plain = record(ran, "dense", "scratch-net")
    assert plain.params["model"]["preprocess"] == ["standardise"]
    assert plain.metrics["auc"].value != found.metrics["auc"].value


def test_unknown_preprocessing_is_refused_when_planning(ran):
    """The message says what is allowed; an estimator has no such parameter."""
    told = ran("plan", "nets.toml", "--set", "model.preprocess=['signed-lok']")
    assert told.code == 2
    assert "dense[preprocess]: no preprocessing step named 'signed-lok'" in told.err
    assert "Did you mean 'signed-log'? Known: channel-maximum, signed-log, standardise" in told.err
    told = ran("plan", "smoke", "--set", "model.preprocess=['signed-log']")
    assert told.code == 2
    assert "no parameter named 'model.preprocess'" in told.err


def test_running_out_of_memory_is_a_memory_error():
    """Torch raises RuntimeError; the worker names the limit only for a MemoryError."""
    import torch

    with pytest.raises(MemoryError), scoring.memory_errors():
        torch.empty(10**15)


COSTED = """
name = "costed"
[[run]]
datasets = ["blobs[n=500]"]
models = ["vae"]
methods = ["scratch-net"]
"""


def test_costs_of_the_scored_network_have_their_own_stage(bench):
    """The record holds MACs, latencies and parameters of the scored network only."""
    install(bench).write("costed.toml", COSTED)
    assert bench("run", "costed.toml").code == 0
    (found,) = bench.records().values()
    assert found.cost.flops == 2 * found.cost.macs
    # the encoder's two layers and the head's: the decoder scores nothing
    assert found.cost.macs == 6 * 8 + 8 * 4 + 4 * 5 + 5 * 2
    assert found.cost.parameters < 2 * found.cost.macs
    timed = {(each.runtime, each.batch): each for each in found.cost.latencies}
    assert timed["torch", 1].median_ms > 0
    assert "cost" in found.key_parts
    plan = bench("plan", "costed.toml").out
    assert "cost of scratch-net vae" in plan
