"""Pretraining without labels for any encoder: contrastive, and by hidden particles of clouds."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hepbench_methods import hepbench_methods, hiding, masked, simclr
from test_particles import encoder, fresh, jets, tensors
from torch import nn

from hepbench import DataError, Examples, TrainingData
from hepbench.planning.matrix import misfit
from hepbench.registry.plugins import installed
from hepbench.registry.resolve import resolve
from hepbench.specs.parameters import defaults
from hepbench.training.context import NetworkContext

torch.set_num_threads(1)

METHODS = {method.name: method for method in hepbench_methods()}
NETWORKS = pytest.mark.parametrize("name", ["deepsets", "particlenet", "particle-transformer"])


def clouds(n=200, first=0, particles=7):
    """Return examples whose particles share a scale, which is all that a hidden one can be told by."""
    rng = np.random.default_rng(first)
    inputs = jets(rng.integers(1, particles + 1, n), particles, seed=first)
    scale = rng.normal(size=(n, 1))
    real = inputs["mask"]
    inputs["cloud"][..., 3] = (scale + 0.1 * inputs["cloud"][..., 3]) * real
    return Examples(inputs=inputs, ids=first + np.arange(n))


def data(**changed):
    train, validation = clouds(), clouds(100, first=1000)
    return replace(TrainingData(train=train, validation=validation), **changed)


def run(method, network, given, **params):
    """Run a method with its defaults but for a few epochs, as the stage does."""
    spec = METHODS[method]
    torch.manual_seed(0)
    context = NetworkContext(
        seed=0, head=method, augmentation_functions=params.pop("augmentations", {})
    )
    short = {"epochs": 2, "batch_size": 50, "min_steps": 1}
    params = {**defaults(spec.params), **short, **params}
    network.known = replace(network.known, heads={method: spec.head})
    network = resolve(spec.run)(network.with_head(), given, context, **params)
    return network, context


def test_hidden_fractions_are_counted_by_hand():
    """Half of 1, 2, 3 and 7 particles: one is always left, none of padding is hidden."""
    mask = torch.as_tensor(jets([1, 2, 3, 7, 0])["mask"])
    for _ in range(5):
        hidden = hiding.some_of(mask, 0.5)
        assert hidden.sum(1).tolist() == [0, 1, 2, 4, 0]
        assert not (hidden & ~mask).any()
    assert hiding.some_of(mask, 0.01).sum(1).tolist() == [0, 1, 1, 1, 0]
    assert hiding.some_of(mask, 0.99).sum(1).tolist() == [0, 1, 2, 6, 0]


def test_every_particle_is_hidden_equally_often():
    """Of 4000 clouds of 5 particles each is hidden in two fifths, within five standard errors."""
    mask = torch.ones(4000, 5, dtype=torch.bool)
    torch.manual_seed(0)
    found = hiding.some_of(mask, 0.4).double().mean(0)
    assert (found - 0.4).abs().max() < 5 * math.sqrt(0.4 * 0.6 / 4000)


@NETWORKS
def test_a_network_sees_a_cloud_that_never_had_the_hidden_particles(name):
    """The same latents as of a cloud without them, its graph too."""
    inputs, network = jets([7, 5, 2]), encoder(name)
    hidden = np.zeros((3, 7), bool)
    hidden[0, [0, 3]] = hidden[1, 4] = True
    kept = [np.flatnonzero(~h & m) for h, m in zip(hidden, inputs["mask"], strict=True)]
    rest = {n: np.zeros_like(a) for n, a in inputs.items()}
    rest["neighbours"][:] = np.arange(7)[:, None]
    for i, rows in enumerate(kept):
        place = {int(row): j for j, row in enumerate(rows)}
        for j, row in enumerate(rows):
            for n in ("cloud", "momenta", "mask"):
                rest[n][i, j] = inputs[n][i, row]
            near = [place.get(int(o), j) for o in inputs["neighbours"][i, row]]
            rest["neighbours"][i, j] = near
    found = network.encode(hiding.without(tensors(inputs), torch.as_tensor(hidden)))
    expected = network.encode(tensors(rest))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert not torch.allclose(found[:2], network.encode(tensors(inputs))[:2], atol=1e-3)


# --- masked


def test_the_error_of_hidden_particles_is_the_mean_of_squares_worked_by_hand():
    """Two columns are predicted, at a prediction of 0; features are in units of their deviation."""
    head = masked.Predictor(3, 2, features=4, places=[0, 1], hidden=5)
    for parameter in head.layers[-1].parameters():
        nn.init.zeros_(parameter)
    head.mean.copy_(torch.tensor([0.0, 0.0, 1.0, 2.0]))
    head.std.copy_(torch.tensor([1.0, 1.0, 2.0, 4.0]))
    particles = torch.tensor([[9.0, 9.0, 5.0, 2.0], [9.0, 9.0, 1.0, 14.0]])
    # (5 - 1) / 2 = 2 and 0; 0 and (14 - 2) / 4 = 3
    torch.testing.assert_close(head(torch.zeros(2, 3), particles), torch.tensor([2.0, 4.5]))


@NETWORKS
def test_each_cloud_has_the_mean_error_of_its_hidden_particles(name, monkeypatch):
    """As a loop over clouds computes it; one without hidden particles has 0."""
    network = fresh(name, jets([7] * 4))
    network.head = masked.Predictor(network.width, 2, features=4, places=[0, 1], hidden=5)
    inputs = tensors({n: a for n, a in jets([7, 1, 3, 5]).items() if n in network.recipe.shapes})
    hidden = hiding.some_of(inputs["mask"], 0.5)
    monkeypatch.setattr(hiding, "some_of", lambda *_: hidden)
    batch = Examples(inputs=inputs, ids=np.arange(4))
    with torch.no_grad():
        found = masked.errors(network, batch, 0.5)
        latents = network.encoder.encode(hiding.without(inputs, hidden))
        expected = []
        for jet, latent in enumerate(latents):
            some = inputs["cloud"][jet][hidden[jet]]
            each = [float(network.head(latent[None], particle[None])) for particle in some]
            expected.append(np.mean(each) if each else 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found[1] == 0
    assert found[0] > 0


def test_what_is_hidden_does_not_reach_the_latents():
    """Other values of hidden particles change the error, not the latents that predict them."""
    network = encoder("particle-transformer")
    inputs = tensors(jets([7, 6]))
    hidden = hiding.some_of(inputs["mask"], 0.5)
    changed = {
        **inputs,
        "cloud": torch.where(hidden[..., None], 99.0, inputs["cloud"]),
        "momenta": torch.where(hidden[..., None], 99.0, inputs["momenta"]),
    }
    one, other = (network.encode(hiding.without(each, hidden)) for each in (inputs, changed))
    assert torch.equal(one, other)


def test_a_deep_set_learns_to_predict_hidden_particles():
    """Column 3 is the same for all particles of a jet; the rest is noise, at a variance of 1."""
    given = data()
    network = fresh("deepsets", given.train.inputs)
    _, context = run("masked", network, given, epochs=25, learning_rate=1e-2, places=[0, 1, 2])
    errors = [row["masked"] for row in context.history]
    # without hidden particles (a seventh of the clouds) there is no error
    assert errors[0] > 0.5
    assert min(errors) < 0.3


def test_columns_that_a_cloud_does_not_have_are_refused():
    """In one line with those that it has."""
    given = data()
    for places in ([4], [0, 1, 2, 3]):
        with pytest.raises(DataError, match="some columns, but not all, of 0 to 3 are expected"):
            run("masked", fresh("deepsets", given.train.inputs), given, places=places)


def test_a_network_without_clouds_does_not_fit():
    """It is told when a run is planned."""
    registry = installed()
    chain = [METHODS["masked"], METHODS["knn"]]

    def why(dataset, model):
        entries = registry.entry("dataset", dataset), registry.entry("model", model)
        return misfit(*(entry.spec for entry in entries), chain)

    assert why("top-tagging", "deepsets") == ""
    assert why("higgs", "mlp") == "masked needs input 'cloud'; mlp has table"


# --- contrastive


def test_the_loss_of_orthogonal_examples_is_worked_by_hand():
    """Each copy has one partner at 1 and two others at 0: log(1 + 2 exp(-1 / temperature))."""
    directions = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    for temperature in (0.1, 0.5, 2.0):
        found = simclr.contrast(directions, 5 * directions, temperature=temperature)
        expected = math.log1p(2 * math.exp(-1 / temperature))
        torch.testing.assert_close(found, torch.full((2,), expected))


def test_the_loss_is_that_of_a_loop_over_pairs():
    """The cross-entropy of finding the partner, averaged over the two copies of an example."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 6, 4))
    copies = np.concatenate([first, second])
    copies /= np.linalg.norm(copies, axis=1, keepdims=True)
    losses = []
    for i, copy in enumerate(copies):
        others = np.exp([copy @ other / 0.3 for j, other in enumerate(copies) if j != i])
        losses.append(-math.log(math.exp(copy @ copies[(i + 6) % 12] / 0.3) / others.sum()))
    expected = np.mean(np.reshape(losses, (2, 6)), axis=0)
    found = simclr.contrast(torch.tensor(first), torch.tensor(second), temperature=0.3)
    np.testing.assert_allclose(found, expected)


def test_copies_differ_and_keep_what_is_no_particle():
    """Padding stays 0, masks and neighbours stay whole, and dropped particles become padding."""
    inputs = tensors(jets([7, 4]))
    torch.manual_seed(0)
    copies = [simclr.distorted(inputs, {}, dropped=0.3, noise=0.1) for _ in range(2)]
    for copy in copies:
        assert copy["mask"].sum(1).tolist() == [5, 3]
        assert not copy["cloud"][~copy["mask"]].any()
        assert copy["neighbours"].dtype == torch.int64
        assert not (copy["mask"] & ~inputs["mask"]).any()
    assert not torch.equal(copies[0]["cloud"], copies[1]["cloud"])


def test_pixels_are_dropped_in_all_channels():
    """A fraction of them, within five standard errors; without noise the others stay."""
    torch.manual_seed(0)
    images = torch.rand(50, 3, 16, 16) + 1
    found = simclr.distorted({"image": images}, {}, dropped=0.25, noise=0)["image"]
    gone = found == 0
    assert torch.equal(gone, gone[:, :1].expand_as(gone))
    assert torch.equal(found[~gone], images[~gone])
    assert abs(gone.double().mean() - 0.25) < 5 * math.sqrt(0.25 * 0.75 / (50 * 256))


def mirrored(inputs):
    """Augment: change the sign of a column."""
    cloud = inputs["cloud"].clone()
    cloud[..., 0] *= -1
    return {**inputs, "cloud": cloud}


def test_copies_pass_the_augmentations_of_the_dataset():
    """All of them, before particles are dropped."""
    inputs = tensors(jets([7, 4]))
    found = simclr.distorted(inputs, {"mirrored": mirrored}, dropped=0, noise=0)
    assert torch.equal(found["cloud"], mirrored(inputs)["cloud"])
    assert torch.equal(simclr.distorted(inputs, {}, dropped=0, noise=0)["cloud"], inputs["cloud"])


@NETWORKS
def test_an_encoder_of_clouds_learns_to_recognise_copies(name):
    """The validation loss is below that of an encoder that hardly moves, and that below chance."""
    given = data()

    def least(learning_rate):
        network = fresh(name, given.train.inputs)
        mirror = {"mirrored": f"{__name__}:mirrored"}
        settings = {"augmentations": mirror, "learning_rate": learning_rate, "epochs": 3}
        _, context = run("simclr", network, given, **settings)
        return min(row["contrast"] for row in context.history)

    # each of 100 copies in a batch of 50 has 99 others to choose from
    assert least(3e-3) < least(1e-9) - 0.05 < math.log(99)
