"""Networks: recipes, files, heads, masks, trimming and reinitialising."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import tinynets
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import hepbench
from hepbench import PluginError
from hepbench.specs.errors import ResultsError
from hepbench.training.networks import recipes, scoring, stored_networks

TABLE = tinynets.data().train.inputs


@pytest.fixture
def network():
    """Return an autoencoder with its own head and changed weights."""
    made = tinynets.fresh("vae").with_head()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.01)
    return made.eval()


def reloaded(network, folder):
    stored_networks.save(network, folder)
    return stored_networks.load(folder, tinynets.KNOWN)


def test_importing_hepbench_imports_no_torch():
    """Hooks of a plugin may import all public names except the two objectives."""
    code = (
        "import sys; from hepbench import TRAINING, Encoder, Network, Objective, Step, Context; "
        "assert 'torch' not in sys.modules; from hepbench import classification, pretraining"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_is_not_public_is_an_attribute_error():
    """A misspelt name fails although public names are imported lazily."""
    with pytest.raises(AttributeError, match="clasification"):
        _ = hepbench.clasification


def test_a_stored_network_scores_the_same_in_a_new_process(network, tmp_path):
    """Recipe and weights hold everything, bit for bit."""
    stored_networks.save(network, tmp_path)
    np.save(tmp_path / "expected.npy", scoring.scores(network, TABLE))
    code = (
        "import sys, tinynets, numpy as np; from pathlib import Path\n"
        "from hepbench.training.networks import scoring, stored_networks\n"
        "folder = Path(sys.argv[1])\n"
        "network = stored_networks.load(folder, tinynets.KNOWN)\n"
        "found = scoring.scores(network, tinynets.data().train.inputs)\n"
        "assert (found == np.load(folder / 'expected.npy')).all()\n"
    )
    paths = {"PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=paths)


def test_loading_does_not_change_the_random_state(network, tmp_path):
    """Building the network leaves torch's generator as it was."""
    stored_networks.save(network, tmp_path)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    stored_networks.load(tmp_path, tinynets.KNOWN)
    assert torch.equal(torch.rand(3), expected)


def test_masks_are_stored_with_the_weights(network, tmp_path):
    """A loaded network still knows its pruned weights."""
    weight = network.encoder.mean.weight
    network.masks = {"encoder.mean.weight": weight > 0}
    network.apply_masks()
    assert (weight == 0).any()
    again = reloaded(network, tmp_path)
    assert torch.equal(again.masks["encoder.mean.weight"], network.masks["encoder.mean.weight"])
    assert tinynets.same(tinynets.state(again), tinynets.state(network))


def test_a_recipe_names_the_head_by_its_method(tmp_path):
    """The recipe holds no function name, so it cannot run code."""
    network = tinynets.fresh().with_head("probe", hidden=5)
    assert network.recipe.head == recipes.Head("probe", {"hidden": 5})
    again = reloaded(network.eval(), tmp_path)
    assert again.head[1].out_features == 5
    assert (scoring.scores(again, TABLE) == scoring.scores(network, TABLE)).all()


def test_the_default_head_is_linear():
    """It maps latents to classes."""
    head = tinynets.fresh(width=7).with_head().head
    assert isinstance(head, nn.Linear)
    assert (head.in_features, head.out_features) == (7, 2)


def test_a_new_head_replaces_the_old_head_and_its_masks():
    """Masks of the encoder stay."""
    network = tinynets.fresh().with_head()
    network.masks = {n: p > 0 for n, p in network.named_parameters() if n.endswith("weight")}
    assert "head.weight" in network.masks
    assert all(name.startswith("encoder") for name in network.with_head("probe").masks)
    network.drop_head()
    assert network.head is None
    assert network.recipe.head is None


def test_trimming_removes_unused_modules_and_keeps_scores(network, tmp_path):
    """Decoder and log-variance are removed; the trimmed network can be stored and loaded."""
    before = scoring.scores(network, TABLE)
    network.trim()
    names = {name.split(".")[1] for name, _ in network.encoder.named_parameters(prefix="e")}
    assert names == {"hidden", "mean"}
    assert (scoring.scores(network, TABLE) == before).all()
    again = reloaded(network, tmp_path)
    assert tinynets.same(tinynets.state(again), tinynets.state(network))
    assert (scoring.scores(again, TABLE) == before).all()


def test_trimming_keeps_the_latents_of_an_encoder():
    """Without a head, scoring uses the modules that encode uses."""
    network = tinynets.fresh("vae").eval()
    before = network(network.example_inputs())
    assert torch.equal(network.trim()(network.example_inputs()), before)


def test_a_masked_network_is_not_trimmed(network):
    """Masks name parameters that trimming could remove."""
    network.masks = {"encoder.mean.weight": torch.ones_like(network.encoder.mean.weight).bool()}
    with pytest.raises(PluginError, match="network with masks cannot be trimmed"):
        network.trim()


def shrunk():
    """Return a network with half of its first layer: weights, norm and sizes."""
    network = tinynets.fresh(width=8).with_head().eval()
    first, norm, second = (network.encoder.blocks[i] for i in (0, 1, 4))
    with torch.no_grad():
        first.weight, first.bias = nn.Parameter(first.weight[:4]), nn.Parameter(first.bias[:4])
        second.weight = nn.Parameter(second.weight[:, :4])
        norm.weight, norm.bias = nn.Parameter(norm.weight[:4]), nn.Parameter(norm.bias[:4])
        norm.running_mean, norm.running_var = norm.running_mean[:4] + 1, norm.running_var[:4]
    first.out_features, norm.num_features, second.in_features = 4, 4, 4
    return network


def test_loading_restores_pruned_shapes(tmp_path):
    """After structured pruning, tensors and sizes differ from those that the model builds."""
    network = shrunk()
    again = reloaded(network, tmp_path)
    assert again.encoder.blocks[1].num_features == 4
    assert (scoring.scores(again, TABLE) == scoring.scores(network, TABLE)).all()


def test_sizes_that_no_tensor_shows_are_stored(tmp_path):
    """Three attention heads instead of two give other scores with the same weights."""
    network = tinynets.fresh("mixing").with_head().eval()
    before = scoring.scores(network, TABLE)
    attention = network.encoder.attention
    attention.num_heads, attention.head_dim = 3, 2
    after = scoring.scores(network, TABLE)
    assert (after != before).any()
    assert (scoring.scores(reloaded(network, tmp_path), TABLE) == after).all()


def test_reinitialising_keeps_shapes_masks_and_preprocessing():
    """It gives the control of a pruned network: the same shapes, untrained."""
    network = shrunk()
    network.masks = {"head.weight": torch.rand_like(network.head.weight) < 0.5}
    before = tinynets.state(network)
    after = tinynets.state(network.reinitialise())
    assert {n: t.shape for n, t in after.items()} == {n: t.shape for n, t in before.items()}
    for layer in ("encoder.blocks.0", "encoder.blocks.4", "head"):
        assert not torch.equal(before[f"{layer}.weight"], after[f"{layer}.weight"])
    steps = [name for name in before if name.startswith("preprocess.")]
    assert steps
    assert all(torch.equal(before[name], after[name]) for name in steps)
    assert (network.head.weight[~network.masks["head.weight"]] == 0).all()
    assert torch.equal(after["encoder.blocks.1.running_mean"], torch.zeros(4))


def test_reinitialising_an_unchanged_network_equals_building_it():
    """The same seed gives the same weights as a new network."""
    torch.manual_seed(3)
    expected = tinynets.fresh("dense", seed=3)
    network = tinynets.fresh("dense", seed=0)
    torch.manual_seed(3)
    assert tinynets.same(tinynets.state(network.reinitialise()), tinynets.state(expected))


def test_a_copy_of_a_network_is_independent(network):
    """Methods can try a change on a copy."""
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.encoder.mean.weight.zero_()
    assert network.encoder.mean.weight.any()


def test_preprocessing_is_fitted_on_training_inputs():
    """They get mean 0 and standard deviation 1 in the scored network; constants stay unchanged."""
    table = TABLE["table"].copy()
    table[:, 2] = 7
    network = tinynets.fresh(inputs={"table": table})
    made = network.preprocess({"table": torch.tensor(table)})["table"].double()
    varying = [0, 1, 3, 4, 5]
    assert made[:, varying].mean(0).abs().max() < 1e-6
    assert (made[:, varying].std(0, correction=0) - 1).abs().max() < 1e-6
    assert (made[:, 2] == 7).all()
    assert "preprocess.steps.0.mean_table" in network.state_dict()


def test_a_step_is_fitted_after_the_steps_before_it():
    """The second step subtracts the largest standardised value."""
    network = tinynets.fresh(steps=("standardise", "nets:Shift"))
    made = network.preprocess({"table": torch.tensor(TABLE["table"])})["table"]
    assert torch.equal(made.amax(0), torch.zeros(made.shape[1]))


def test_padding_of_a_cloud_is_ignored_and_stays_zero():
    """Only real particles enter the mean."""
    rng = np.random.default_rng(0)
    mask = np.arange(5) < rng.integers(1, 6, 50)[:, None]
    cloud = (rng.normal(size=(50, 5, 3)) + 9).astype(np.float32) * mask[..., None]
    from hepbench.training.networks.preprocessing import Standardise

    step = Standardise({"cloud": (5, 3), "mask": (5,)})
    batch = {"cloud": torch.tensor(cloud), "mask": torch.tensor(mask)}
    step.fit([{n: t[:20] for n, t in batch.items()}, {n: t[20:] for n, t in batch.items()}])
    made = step(batch)["cloud"].numpy()
    assert abs(made[mask].mean(0)).max() < 1e-5
    assert abs(made[mask].std(0) - 1).max() < 1e-5
    assert not made[~mask].any()


# --- hostile and damaged files


def edited(folder, **changes):
    path = folder / stored_networks.RECIPE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


HOSTILE = {
    "a model that is not installed": ({"model": "os"}, "no model named 'os'"),
    "a step that runs code": ({"preprocess": ["os:system"]}, "belongs to no known model"),
    "a step that is told too much": (
        {"preprocess": ["standardise[mean=1]"]},
        "standardise is expected",
    ),
    "a step that is told no number": (
        {"preprocess": ["zero-suppression[below=x]"]},
        r"zero-suppression\[below=NUMBER\] is expected",
    ),
    "a head by a function's name": ({"head": {"method": "os:system"}}, "no head of a method"),
    "a field that recipes lack": ({"run": "os:system"}, "unknown field"),
    "an attribute that is no size": ({"sizes": {"encoder": {"encode": 3}}}, "has no size"),
    "a size of another form": ({"sizes": {"encoder.mean": {"in_features": [8]}}}, "has no size"),
    "a private attribute": ({"sizes": {"encoder": {"_version": 2}}}, "has no size"),
    "a module that is not there": ({"sizes": {"encoder.gone": {"x": 1}}}, "incomplete or damaged"),
    "parameters that the model lacks": ({"params": {"code": "x"}}, "incomplete or damaged"),
    "other shapes": ({"shapes": {"table": [7]}}, "incomplete or damaged"),
    "another number of classes": ({"classes": 3}, r"logits of 2 examples are \(2, 2\)"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_recipe_is_refused(network, tmp_path, what):
    """A recipe selects installed models; it cannot run code or set other attributes."""
    changes, message = HOSTILE[what]
    stored_networks.save(network, tmp_path)
    edited(tmp_path, **changes)
    with pytest.raises(ResultsError, match=message):
        stored_networks.load(tmp_path, tinynets.KNOWN)


@pytest.mark.parametrize("name", [stored_networks.RECIPE, stored_networks.WEIGHTS])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99, None])
def test_an_incomplete_or_missing_file_is_refused(network, tmp_path, name, share):
    """It may end at any byte."""
    stored_networks.save(network, tmp_path)
    path = tmp_path / name
    if share is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ResultsError, match="incomplete or damaged"):
        stored_networks.load(tmp_path, tinynets.KNOWN)


TAMPERED = {
    "a tensor too many": lambda t: t | {"encoder.extra": torch.zeros(1)},
    "none of the encoder": lambda t: {n: v for n, v in t.items() if "encoder.hidden" not in n},
    "a weight of another shape": lambda t: t | {"encoder.mean.weight": torch.zeros(3, 8)},
    "a mask of nothing": lambda t: t | {"mask:encoder.gone": torch.ones(1, dtype=torch.bool)},
    "a mask that is no mask": lambda t: t | {"mask:encoder.mean.bias": torch.ones(4)},
}


@pytest.mark.parametrize("what", TAMPERED)
def test_weights_that_do_not_fit_the_recipe_are_refused(network, tmp_path, what):
    """Scoring two examples finds errors that tensor names do not show."""
    stored_networks.save(network, tmp_path)
    path = tmp_path / stored_networks.WEIGHTS
    save_file(TAMPERED[what](load_file(path)), path)
    with pytest.raises(ResultsError):
        stored_networks.load(tmp_path, tinynets.KNOWN)


@pytest.mark.parametrize("value", [Path, np.float32(1), (1, 2)])
def test_parameters_that_json_cannot_hold_are_refused(network, tmp_path, value):
    """The network could not be rebuilt, so it is not stored."""
    network.recipe = msgspec.structs.replace(network.recipe, params={"width": value})
    with pytest.raises(PluginError, match="JSON"):
        stored_networks.save(network, tmp_path)
