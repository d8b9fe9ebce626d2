"""The convolutional autoencoders, on made-up sparse images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tinynets
import torch
from hepbench_methods import hepbench_methods
from hepbench_models import CONV_VAE, SPARSE_AE
from torch import nn

from hepbench import TRAINING, DataError, Examples, TrainingData, UsageError
from hepbench.cost import counting
from hepbench.planning.matrix import Choice, expand
from hepbench.planning.suite_file import Matrix, SuiteFile
from hepbench.registry.plugins import installed
from hepbench.registry.resolve import resolve
from hepbench.specs.parameters import defaults
from hepbench.training import network_runs
from hepbench.training.context import NetworkContext
from hepbench.training.networks import scoring, stored_networks
from hepbench.training.networks.recipes import TrustedCode

torch.set_num_threads(1)

MODELS = {model.name: model for model in (CONV_VAE, SPARSE_AE)}
METHODS = {method.name: method for method in hepbench_methods()}
SMALL = {"widths": [4, 6, 8], "hidden": 12, "latent_dim": 5}
each_model = pytest.mark.parametrize("name", MODELS)
CHAINS = [("scratch",), ("joint",), ("svm",), ("pretrain", "finetune"), ("pretrain", "svm")]


def jets(n, first=0, *, channels=3, size=20):
    """Return sparse images; the signal's hits are spread more widely."""
    rng = np.random.default_rng([5, first])
    labels = np.arange(n) % 2
    image = np.zeros((n, channels, size, size), np.float32)
    for i, label in enumerate(labels):
        at = size / 2 + rng.normal(size=(2, 12)) * size * (0.1 + 0.1 * label)
        row, column = np.clip(at, 0, size - 1).astype(int)
        image[i, rng.integers(0, channels, 12), row, column] = rng.exponential(size=12)
    return Examples(inputs={"image": image}, ids=first + np.arange(n), labels=labels)


def training_data(n=60, **shape):
    return TrainingData(train=jets(n, **shape), validation=jets(n // 2, 1000, **shape))


def task(name, *, preset=None, **params):
    """Return the task of a worker that builds a model."""
    spec = MODELS[name]
    chosen = {**defaults(spec.all_params, preset or ""), **({} if preset else SMALL), **params}
    heads = {m.name: m.head for m in METHODS.values() if m.head}
    return tinynets.task(name, spec.build, method_heads=heads, **chosen)


def fresh(name, data, *, seed=0, **params):
    torch.manual_seed(seed)
    return network_runs.fresh(task(name, **params), data.train.inputs, classes=2)


def built(name, shape, preset="paper", **params):
    told = {**defaults(MODELS[name].params, preset or ""), **params}
    return resolve(MODELS[name].build)({"image": shape}, **told)


def run_chain(network, chain, data, **told):
    """Run methods with few epochs, as the stage does."""
    for method in chain:
        spec = METHODS[method]
        torch.manual_seed(0)
        context = NetworkContext(seed=0, head=method if spec.head else None)
        few = {"epochs": 2, "batch_size": 20, **told}
        params = {**defaults(spec.params), **{k: v for k, v in few.items() if k in spec.params}}
        seen = data if spec.labels else data.without_labels()
        network = resolve(spec.run)(network, seen, context, **params)
        if spec.makes == "encoder":
            network.drop_head()
    return network.eval()


def images(n=6, shape=(3, 20, 20)):
    return {"image": torch.rand(n, *shape, generator=torch.Generator().manual_seed(3))}


# --- the published architecture


class Calls(nn.Module):
    """What is to be counted, as a module that is called with inputs."""

    def __init__(self, encoder, call):
        super().__init__()
        self.encoder, self.call = encoder, call

    def forward(self, inputs):
        """Return what the call returns."""
        return self.call(inputs)


@each_model
@pytest.mark.parametrize("size", [125, 128])
def test_the_multiply_accumulates_are_those_of_the_write_up(name, size):
    """21.0 M for the classifier, 42.0 M for the whole autoencoder, at 8 x 128 x 128."""
    encoder = built(name, (8, size, size)).eval()
    head, inputs = encoder.head(2), images(2, (8, size, size))
    calls = {
        21.0: lambda i: head(encoder.encode(i)),
        42.0: lambda i: torch.stack(list(encoder.pretraining_terms(i).values())),
    }
    for millions, call in calls.items():
        module = Calls(nn.ModuleList([encoder, head]), call).eval()
        found = counting.count(module, inputs)
        assert round(found.macs / 1e6, 1) == millions
        assert found.agrees
        assert found.gaps == ()


def test_the_encoder_is_that_of_the_write_up():
    """Layer by layer, at 8 x 125 x 125."""
    encoder = built("conv-vae", (8, 125, 125))
    convolutions = [m for m in encoder.down.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [
        (8, 16),
        (16, 32),
        (32, 64),
        (64, 128),
    ]
    assert {(c.kernel_size, c.stride, c.padding) for c in convolutions} == {
        ((3, 3), (2, 2), (1, 1))
    }
    linear = [m for m in encoder.modules() if isinstance(m, nn.Linear)]
    sizes = [(m.in_features, m.out_features) for m in linear]
    assert sizes == [(8192, 256), (256, 128), (256, 128), (128, 256), (256, 8192)]
    assert [m.p for m in encoder.modules() if isinstance(m, nn.Dropout)] == [0.3]
    transposed = [m for m in encoder.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [(c.in_channels, c.out_channels) for c in transposed] == [
        (128, 64),
        (64, 32),
        (32, 16),
        (16, 8),
    ]
    assert isinstance(encoder.up.layers[-1], nn.Sigmoid)
    kinds = [type(m) for m in encoder.head(2)]
    assert kinds == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]


def test_weights_are_drawn_as_the_write_up_does():
    """Kaiming-normal convolutions, Xavier-normal linear layers."""
    encoder = built("conv-vae", (8, 128, 128), slope=0.0)
    last = encoder.down.layers[3][0].weight
    assert last.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert encoder.down.linear.weight.std().item() == pytest.approx((2 / 8448) ** 0.5, rel=0.02)
    assert not any(p.any() for n, p in encoder.named_parameters() if n.endswith("linear.bias"))


def test_the_variant_for_quark_and_gluon_jets():
    """Three channels, 3 -> 32 -> 64 -> 128 -> 256, LeakyReLU .2, tanh at the end (R5)."""
    told = {"widths": [32, 64, 128, 256], "slope": 0.2, "output": "tanh"}
    encoder = built("conv-vae", (3, 125, 125), **told).eval()
    assert encoder.down.linear.in_features == 16384
    made = encoder.reconstruct(images(2, (3, 125, 125)))["image"]
    assert made.shape == (2, 3, 125, 125)
    assert -1 <= made.min() < 0
    assert made.max() <= 1
    assert {m.negative_slope for m in encoder.modules() if isinstance(m, nn.LeakyReLU)} == {0.2}


@pytest.mark.slow
@each_model
@pytest.mark.parametrize("chain", CHAINS, ids="+".join)
def test_the_paper_preset_takes_a_step_at_full_size(name, chain):
    """On 8 x 125 x 125, by every method that trains such a model."""
    data = training_data(6, channels=8, size=125)
    network = fresh(name, data, preset="paper")
    assert [type(step).__name__ for step in network.preprocess.steps] == ["ChannelMaximum"]
    network = run_chain(network, chain, data, epochs=1)
    assert all(torch.isfinite(p).all() for p in network.parameters())


# --- any image


@each_model
@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 13, 30), (8, 64, 64), (3, 9, 17)])
def test_images_of_any_size_are_reconstructed_in_their_size(name, shape):
    """Padding is added and cut off inside."""
    encoder = built(name, shape, None, **SMALL).eval()
    inputs = images(2, shape)
    assert encoder.encode(inputs).shape == (2, 5)
    assert encoder.reconstruct(inputs)["image"].shape == (2, *shape)


@pytest.mark.parametrize(
    ("size", "layers", "grid", "padding"),
    [
        ((125, 125), 4, [8, 8], [1, 2, 1, 2]),
        ((128, 128), 4, [8, 8], [0, 0, 0, 0]),
        ((13, 30), 3, [2, 4], [1, 1, 1, 2]),
    ],
)
def test_padding_reaches_the_next_multiple(size, layers, grid, padding):
    """125 becomes 128; rows and columns each on both sides."""
    from hepbench_models.convolutions import layout

    assert layout(size, layers) == (grid, padding)


def test_what_is_cut_off_is_what_was_padded():
    """A decoder that returned the padded image would return the image."""
    from hepbench_models.convolutions import Down, Up

    told = {"widths": [2], "hidden": 3, "slope": 0.0}
    down, up = (
        Down((1, 3, 5), dropout=0.0, **told),
        Up((1, 3, 5), latent_dim=3, output="linear", **told),
    )
    image = torch.arange(15.0).view(1, 1, 3, 5)
    padded = nn.functional.pad(image, down.padding)
    up.linear, up.layers = nn.Identity(), nn.Identity()
    up.grid = padded.shape[2:]
    assert torch.equal(up(padded.flatten(1)), image)


@each_model
def test_every_parameter_gets_a_gradient(name):
    """From the labels or from the encoder's own loss, whichever uses it."""
    network = fresh(name, training_data()).with_head().train()
    loss = network(images()).square().sum()
    loss = loss + sum(term.sum() for term in network.encoder.pretraining_terms(images()).values())
    loss.backward()
    without = [n for n, p in network.named_parameters() if p.grad is None]
    assert without == []


@each_model
def test_nothing_is_random_in_eval_mode_and_codes_are_of_one_example(name):
    """An example alone gives what it gives among others, twice the same."""
    encoder = fresh(name, training_data()).encoder.eval()
    inputs = images()
    alone = {"image": inputs["image"][3:4]}
    torch.testing.assert_close(encoder.encode(inputs)[3:4], encoder.encode(alone))
    whole, again, one = (encoder.pretraining_terms(i) for i in (inputs, inputs, alone))
    for term, value in whole.items():
        assert value.shape == (6,)
        assert torch.equal(value, again[term])
        torch.testing.assert_close(value[3:4], one[term])


@each_model
def test_reconstruction_is_what_its_term_measures(name):
    """The sum of squares between inputs and what comes back, in eval mode."""
    encoder = fresh(name, training_data()).encoder.eval()
    made = encoder.reconstruct(images())["image"]
    expected = (made - images()["image"]).square().sum((1, 2, 3))
    torch.testing.assert_close(encoder.pretraining_terms(images())["reconstruction"], expected)


def test_the_divergence_is_that_of_torch():
    """Of normal distributions from N(0, 1), summed over the code."""
    encoder = fresh("conv-vae", training_data()).encoder.eval()
    with torch.no_grad():
        encoder.log_variance.bias.normal_()
    hidden = encoder.down(images()["image"])
    mean, spread = encoder.mean(hidden), (encoder.log_variance(hidden) / 2).exp()
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, spread), normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(encoder.pretraining_terms(images())["kl"], expected)


def test_no_divergence_overflows():
    """While it weighs nothing, nothing holds the log-variance."""
    encoder = fresh("conv-vae", training_data()).encoder
    with torch.no_grad():
        encoder.log_variance.bias.fill_(1000.0)
    for mode in (encoder.train(), encoder.eval()):
        assert all(torch.isfinite(t).all() for t in mode.pretraining_terms(images()).values())


def test_codes_are_drawn_in_training_with_their_spread():
    """So that the divergence means something."""
    encoder = fresh("conv-vae", training_data(), dropout=0.0).encoder.train()
    seen = []
    encoder.up.register_forward_pre_hook(lambda _, latents: seen.append(latents[0]))
    inputs = {"image": images(1)["image"].repeat(4000, 1, 1, 1)}
    encoder.pretraining_terms(inputs)
    hidden = encoder.down(inputs["image"])
    mean, spread = encoder.mean(hidden)[0], (encoder.log_variance(hidden)[0] / 2).exp()
    torch.testing.assert_close(seen[0].mean(0), mean, rtol=0, atol=5 * spread.max().item() / 63)
    torch.testing.assert_close(seen[0].std(0), spread, rtol=0.06, atol=0)


def test_the_weight_of_the_divergence_rises_to_beta():
    """Over the fraction kl_warmup; at 0 the weight is final from the start."""
    encoder = built("conv-vae", (1, 8, 8), None, **SMALL, beta=2.0, kl_warmup=0.5)
    found = [encoder.term_weights(progress)["kl"] for progress in (0, 0.25, 0.5, 1.0)]
    assert found == [0, 1, 2, 2]
    assert built("conv-vae", (1, 8, 8), None, **SMALL, kl_warmup=0.0).term_weights(0.0) == {"kl": 1}


def test_the_penalty_makes_codes_smaller():
    """With a large lambda; its term is the L1 norm of the code."""
    data = training_data()
    sizes = []
    for weight in (0.0, 100.0):
        network = fresh("sparse-ae", data, sparsity_weight=weight)
        network = run_chain(network, ["pretrain"], data, epochs=20)
        (batch,) = NetworkContext(seed=0).batches(network, data.validation)
        term = network.encoder.pretraining_terms(batch.inputs)["l1"]
        torch.testing.assert_close(term, network.encoder.encode(batch.inputs).abs().sum(1))
        sizes.append(term.mean().item())
    assert sizes[1] < 0.5 * sizes[0]


@each_model
def test_an_unknown_output_is_refused_before_anything_runs(name):
    """With the allowed ones."""
    models = [f"{name}[output=relu]"]
    matrix = Matrix(datasets=["boosted-jets"], models=models, methods=["scratch"])
    with pytest.raises(UsageError, match="'relu'; one of sigmoid, tanh, linear is expected"):
        expand(SuiteFile(name="s", run=[matrix]), installed(), Choice())


# --- as in a run


@each_model
@pytest.mark.parametrize("chain", CHAINS, ids="+".join)
def test_same_seed_same_scores_and_stored_networks_score_the_same(name, chain, tmp_path):
    """Bit by bit, for every kind of chain."""
    data = training_data()
    network, again = (run_chain(fresh(name, data), chain, data) for _ in range(2))
    inputs = data.validation.inputs
    scores = scoring.scores(network, inputs)
    assert np.array_equal(scores, scoring.scores(again, inputs))
    stored_networks.save(network, tmp_path)
    known = TrustedCode(models={name: MODELS[name].build}, heads=task(name).network.heads)
    assert np.array_equal(scores, scoring.scores(stored_networks.load(tmp_path, known), inputs))


@each_model
def test_pretraining_lowers_the_reconstruction_error(name):
    """On validation examples, by a fifth at least."""
    data = training_data(200)
    context = NetworkContext(seed=0)
    told = {**defaults(TRAINING), "epochs": 10, "batch_size": 20, "learning_rate": 3e-3}
    resolve(METHODS["pretrain"].run)(fresh(name, data), data.without_labels(), context, **told)
    errors = [row["reconstruction"] for row in context.history]
    assert errors[-1] < 0.8 * errors[0]


def test_pretraining_on_the_background_sees_nothing_else():
    """Neither signal nor examples without labels, whatever they hold, nor a label."""
    clean = training_data()
    network = run_chain(fresh("conv-vae", clean), ["pretrain-background"], clean)
    dirty = training_data()
    for part in (dirty.train, dirty.validation):
        part.inputs["image"][part.labels == 1] = np.nan
    unlabelled = replace(jets(8, 5000), labels=None)
    unlabelled.inputs["image"][:] = np.nan
    dirty = replace(dirty, unlabelled=unlabelled)
    again = run_chain(fresh("conv-vae", clean), ["pretrain-background"], dirty)
    pairs = zip(network.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    signal = replace(clean, train=clean.train[clean.train.labels == 1])
    with pytest.raises(DataError, match="no example of class 0"):
        run_chain(fresh("conv-vae", clean), ["pretrain-background"], signal)


@each_model
def test_what_an_encoder_was_not_trained_on_has_a_larger_loss(name):
    """The values of each example, as the scoring stage keeps them; the signal is wider spread."""
    data = training_data(400)
    network = run_chain(fresh(name, data), ["pretrain-background"], data, epochs=12)
    values = scoring.values(network, data.validation.inputs)
    own = {"conv-vae": {"kl", "elbo"}, "sparse-ae": {"l1"}}[name]
    assert set(values) == {"reconstruction", "latent_zeros"} | own
    assert {(a.dtype, a.shape) for a in values.values()} == {(np.dtype(np.float32), (200,))}
    assert 0 <= values["latent_zeros"].min() <= values["latent_zeros"].max() < 1
    loss = values["reconstruction"]
    labels = data.validation.labels
    assert np.median(loss[labels == 1]) > np.median(loss[labels == 0])


def test_latents_count_as_zero_relative_to_its_largest():
    """At most a hundredth of it; the scale of the latents does not matter."""
    data = training_data()
    network = fresh("sparse-ae", data)
    latents = torch.tensor([[100.0, 1.0, -0.5, 1.1, 0.0], [1e-6, -1e-9, 0, 0, 0], [0, 0, 0, 0, 0]])
    network.encoder.encode = lambda _: latents
    found = scoring.values(network, {"image": data.train.inputs["image"][:3]})
    assert found["latent_zeros"].tolist() == pytest.approx([0.6, 0.8, 1])


@each_model
def test_trimming_drops_the_decoder(name):
    """What is scored is the classifier's path alone."""
    network = run_chain(fresh(name, training_data()), ["scratch"], training_data())
    scores = scoring.scores(network, training_data().validation.inputs)
    names = {n.split(".")[1] for n, _ in network.trim().named_parameters() if "encoder" in n}
    assert names == {"down", "mean" if name == "conv-vae" else "latents"}
    assert np.array_equal(scores, scoring.scores(network, training_data().validation.inputs))
