"""The networks of single images, on made-up sparse images."""

from __future__ import annotations

import numpy as np
import pytest
import tinynets
import torch
from hepbench_methods import hepbench_methods
from hepbench_models import hepbench_models, image_layout
from needs import needs_extra
from torch import nn

from hepbench import Examples, TrainingData
from hepbench.cost import counting, export, onnx_runtime, tracing
from hepbench.planning.input_shapes import why_unfit
from hepbench.registry.resolve import resolve
from hepbench.specs.parameters import defaults
from hepbench.training import network_runs
from hepbench.training.context import NetworkContext
from hepbench.training.networks import scoring, stored_networks
from hepbench.training.networks.recipes import TrustedCode

torch.set_num_threads(1)

NAMES = ["resnet15", "cnn", "dual-cnn", "multi-input-cnn", "vit", "gaussian-vae"]
MODELS = {model.name: model for model in hepbench_models() if model.name in NAMES}
METHODS = {method.name: method for method in hepbench_methods()}
HEADS = {method.name: method.head for method in METHODS.values() if method.head}
SMALL = {
    "resnet15": {"width": 4},
    "cnn": {"widths": [4, 6], "hidden": 8},
    "dual-cnn": {"widths": [4, 6], "hidden": 8},
    "multi-input-cnn": {"widths": [4, 6], "hidden": 8, "scalar_hidden": 3},
    "vit": {"width": 12, "layers": 2, "feed_forward": 16},
    "gaussian-vae": {"widths": [4, 6, 8], "latent_dim": 5},
}
# of the original files
SHAPES = {
    **{name: {"image": (2, 32, 32)} for name in ("resnet15", "cnn", "dual-cnn", "vit")},
    "multi-input-cnn": {"image": (3, 125, 125), "scalars": (2,)},
    "gaussian-vae": {"image": (3, 125, 125)},
}
PRUNINGS = {
    "prune-unstructured": {},
    "prune-iterative": {"rounds": 2, "step": 0.25},
    "prune-structured": {"after": "finetune"},
}
each_model = pytest.mark.parametrize("name", NAMES)


def examples(name, n, first=0, **shapes):
    """Return examples whose classes differ in the number of hits, and in their scalars."""
    rng = np.random.default_rng([5, first])
    labels = np.arange(n) % 2
    shapes = {"image": (2, 12, 12), "scalars": (2,), **shapes}
    image = rng.exponential(size=(n, *shapes["image"]))
    image *= rng.random(image.shape) < 0.1 + 0.15 * labels[:, None, None, None]
    scalars = rng.normal(size=(n, *shapes["scalars"])) + labels[:, None]
    inputs = {"image": image.astype(np.float32), "scalars": scalars.astype(np.float32)}
    wanted = {each: inputs[each] for each in MODELS[name].inputs}
    return Examples(inputs=wanted, ids=first + np.arange(n), labels=labels)


def training_data(name, n=60, **shapes):
    train, validation = examples(name, n, **shapes), examples(name, n // 2, 1000, **shapes)
    return TrainingData(train=train, validation=validation)


def fresh(name, data, *, preset=None, seed=0, classes=2, **params):
    """Return a network as a worker builds it."""
    small = {} if preset else SMALL[name]
    chosen = {**defaults(MODELS[name].all_params, preset or ""), **small, **params}
    task = tinynets.task(name, MODELS[name].build, method_heads=HEADS, **chosen)
    torch.manual_seed(seed)
    return network_runs.fresh(task, data.train.inputs, classes=classes)


def run(method, network, data, **params):
    """Run a method for two epochs, as the stage does."""
    spec = METHODS[method]
    torch.manual_seed(0)
    context = NetworkContext(seed=0, head=method if spec.head else None)
    few = {"epochs": 2, "batch_size": 20, **params}
    told = {**defaults(spec.params), **{k: v for k, v in few.items() if k in spec.params}}
    network = resolve(spec.run)(
        network, data if spec.labels else data.without_labels(), context, **told
    )
    if spec.makes == "encoder":
        network.drop_head()
    return network.eval()


def built(name, preset="paper", shapes=None, **params):
    told = {**defaults(MODELS[name].params, preset), **params}
    return resolve(MODELS[name].build)(shapes or SHAPES[name], **told)


def classifier(name, preset="paper"):
    """Return a network with a head on inputs of the original shape, and such inputs."""
    shapes = {"image": SHAPES[name]["image"]}
    data = training_data(name, 4, **shapes)
    network = fresh(name, data, preset=preset).with_head().eval()
    return network, tracing.batch(data.train.inputs, 2)


def modules(network, kind):
    return [module for module in network.modules() if isinstance(module, kind)]


# --- architectures


@each_model
@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_both_counters_agree(name, preset):
    """On inputs of the original shape, attention included; nothing is left uncounted."""
    network, inputs = classifier(name, preset)
    found = counting.count(network, inputs)
    assert found.agrees
    assert found.gaps == ()


def test_resnet15_has_the_multiply_accumulates_of_its_write_up():
    """420.6 M at 2 x 32 x 32, most of them in 15 convolutions, each with batch normalisation."""
    network, inputs = classifier("resnet15")
    assert counting.count(network, inputs).macs == pytest.approx(420.6e6, abs=0.05e6)
    convolutions = modules(network, nn.Conv2d)
    assert len(convolutions) == len(modules(network, nn.BatchNorm2d)) == 15
    shapes = [(c.out_channels, c.kernel_size[0], c.stride[0]) for c in convolutions]
    assert shapes[0] == (64, 3, 1)
    assert [s for s in shapes if s[2] == 2] == [(128, 3, 2), (128, 1, 2), (256, 3, 2), (256, 1, 2)]
    assert modules(network, nn.MaxPool2d) == []
    assert (network.head.in_features, network.head.out_features) == (256, 2)


def test_resnet15_without_its_convolutions_passes_its_input_on():
    """The skips of a stage: with the second normalisation of each block at 0 nothing is added."""
    from hepbench_models.resnet15 import Block

    block = Block(3, 3, 1).eval()
    x = torch.rand(2, 3, 5, 5)
    assert not torch.equal(block(x), x)
    nn.init.zeros_(block.second[1].weight)
    assert torch.equal(block(x), x)


def test_the_convolutional_networks_have_the_parameters_counted_by_hand():
    """Convolutions and linear layers have biases, batch normalisation two parameters a channel."""
    assert sum(p.numel() for p in built("cnn").parameters()) == branch(2, [32, 64, 128], 3, 128, 4)
    dual = 2 * branch(1, [32, 64, 128], 3, 128, 4) + (256 + 1) * 128
    assert sum(p.numel() for p in built("dual-cnn").parameters()) == dual
    # 125 -> 25 -> 5 -> 1 pixels
    both = branch(3, [32, 64, 128], 5, 128, 1) + 2 * (1 + 1) * 8 + (128 + 16 + 1) * 128
    assert sum(p.numel() for p in built("multi-input-cnn").parameters()) == both


def branch(channels, widths, kernel, hidden, side):
    """Return the number of parameters of a branch whose last image is a square."""
    pairs = zip([channels, *widths], widths, strict=False)
    convolutions = sum((n * kernel**2 + 1) * m + 2 * m for n, m in pairs)
    return convolutions + (widths[-1] * side**2 + 1) * hidden


def test_the_multi_input_network_has_kernels_and_pools_of_five():
    """Because the images are sparse (R8)."""
    network = built("multi-input-cnn")
    assert {c.kernel_size for c in modules(network, nn.Conv2d)} == {(5, 5)}
    assert {p.kernel_size for p in modules(network, nn.MaxPool2d)} == {5}


def test_each_input_reaches_the_latents_by_its_own_branch():
    """The channels of dual-cnn, the scalars of multi-input-cnn: others have no gradient there."""
    encoder = built("dual-cnn", shapes={"image": (2, 9, 9)}, **SMALL["dual-cnn"]).eval()
    image = torch.rand(3, 2, 9, 9, requires_grad=True)
    seen = []
    for each in encoder.branches:
        each.register_forward_hook(lambda _module, _inputs, out: seen.append(out))
    encoder.encode({"image": image})
    for i, out in enumerate(seen):
        (gradient,) = torch.autograd.grad(out.square().sum(), image)
        assert [bool(gradient[:, c].any()) for c in (0, 1)] == [c == i for c in (0, 1)]
    network = built("multi-input-cnn", shapes={"image": (1, 9, 9), "scalars": (3,)})
    assert [layer[0].in_features for layer in network.scalars] == [1, 1, 1]


def test_the_vision_transformer_is_that_of_timm():
    """Blocks with normalisation first, epsilon 1e-6, no dropout; weights of standard deviation .02."""
    network = built("vit")
    blocks = network.transformer.blocks
    assert [type(block).__module__ for block in blocks] == ["timm.models.vision_transformer"] * 8
    assert {norm.eps for norm in modules(network, nn.LayerNorm)} == {1e-6}
    assert {layer.p for layer in modules(network, nn.Dropout)} == {0}
    weights = torch.cat([layer.weight.flatten() for layer in modules(blocks, nn.Linear)])
    assert weights.std().item() == pytest.approx(0.02, rel=0.05)
    assert network.transformer.pos_embed.shape == (1, 64, 64)
    # patches, positions, 8 blocks of 4 matrices with biases and two normalisations, the last one
    block = 4 * (64**2 + 64) + 2 * 64 * 128 + 128 + 64 + 4 * 64
    count = 2 * 16 * 64 + 64 + 64 * 64 + 8 * block + 2 * 64
    assert sum(p.numel() for p in network.parameters()) == count


def test_the_gaussian_autoencoder_is_that_of_the_write_up():
    """Layer by layer, at 3 x 125 x 125 (R5): no layer between the features and the latents."""
    encoder = built("gaussian-vae")
    convolutions = [(c.in_channels, c.out_channels) for c in modules(encoder.down, nn.Conv2d)]
    assert convolutions == [(3, 32), (32, 64), (64, 128), (128, 256)]
    linear = [(m.in_features, m.out_features) for m in modules(encoder, nn.Linear)]
    assert sorted(linear) == [(128, 16384), (16384, 128), (16384, 128)]
    transposed = [(c.in_channels, c.out_channels) for c in modules(encoder, nn.ConvTranspose2d)]
    assert transposed == [(256, 128), (128, 64), (64, 32), (32, 3)]
    assert {m.negative_slope for m in modules(encoder, nn.LeakyReLU)} == {0.2}
    assert isinstance(encoder.up.layers[-1], nn.Tanh)


@pytest.mark.parametrize("deviation", [0.3, 1.0])
@pytest.mark.parametrize("learned", [True, False])
def test_the_gaussian_loss_is_that_of_a_normal_distribution(deviation, learned):
    """Summed over the pixels, around the reconstruction; the squared error has no weight."""
    shapes = {"image": (2, 6, 7)}
    told = {**SMALL["gaussian-vae"], "deviation": deviation, "learned": learned, "beta": 0.5}
    encoder = built("gaussian-vae", "quick", shapes, **told).eval()
    inputs = {"image": torch.rand(5, 2, 6, 7)}
    made = encoder.reconstruct(inputs)["image"]
    normal = torch.distributions.Normal(made, deviation)
    expected = -normal.log_prob(inputs["image"]).sum((1, 2, 3))
    terms = encoder.pretraining_terms(inputs)
    torch.testing.assert_close(terms["gaussian"], expected)
    squares = (made - inputs["image"]).square().sum((1, 2, 3))
    torch.testing.assert_close(terms["reconstruction"], squares)
    assert encoder.term_weights(1.0) == {"kl": 0.5, "reconstruction": 0.0}
    names = {name for name, _ in encoder.named_parameters()}
    assert ("log_deviation" in names) == learned


def test_a_learned_deviation_becomes_that_of_the_errors():
    """After training, to a tenth."""
    data = training_data("gaussian-vae", 200)
    network = fresh("gaussian-vae", data)
    network = run("pretrain", network, data, epochs=40, learning_rate=1e-2)
    values = scoring.values(network, data.train.inputs)
    errors = np.sqrt(values["reconstruction"].mean() / (2 * 12 * 12))
    assert network.encoder.log_deviation.exp().item() == pytest.approx(errors, rel=0.1)


# --- any image


@each_model
@pytest.mark.parametrize("image", [(1, 8, 8), (2, 12, 20), (3, 33, 17), (8, 1, 4)])
def test_images_of_any_size_are_encoded_or_refused(name, image):
    """Of any number of channels and classes too; what is refused has a reason."""
    shapes = {"image": image, "scalars": (1,)}
    params = {**defaults(MODELS[name].params), **SMALL[name]}
    refused = why_unfit(MODELS[name], shapes, params)
    odd = {"dual-cnn": image[0] != 2, "vit": bool(image[1] % 4 or image[2] % 4)}
    assert bool(refused) == odd.get(name, False)
    if refused:
        return
    data = training_data(name, 6, **shapes)
    network = fresh(name, data, classes=3).with_head().eval()
    assert scoring.scores(network, data.train.inputs).shape == (6, 3)


# --- as in a run


@pytest.mark.slow
@each_model
def test_the_paper_preset_takes_a_step_on_inputs_of_the_original_shape(name):
    """And the scores are finite."""
    data = training_data(name, 4, image=SHAPES[name]["image"])
    methods = ["pretrain", "finetune"] if "pretrain" in MODELS[name].offers else ["scratch"]
    network = fresh(name, data, preset="paper")
    for method in methods:
        network = run(method, network, data, epochs=1)
    assert all(torch.isfinite(p).all() for p in network.parameters())
    assert np.isfinite(scoring.scores(network, data.train.inputs)).all()


@each_model
@pytest.mark.parametrize("method", ["linear-probe", "svm"])
def test_the_latents_can_be_probed(name, method):
    """A frozen encoder, as drawn, stays as it is."""
    data = training_data(name)
    network = fresh(name, data)
    before = {n: t.clone() for n, t in network.encoder.state_dict().items()}
    network = run(method, network, data)
    now = network.encoder.state_dict()
    assert all(torch.equal(now[n], tensor) for n, tensor in before.items())
    assert np.isfinite(scoring.scores(network, data.validation.inputs)).all()


@needs_extra("hepbench[onnx]")
@each_model
def test_a_linear_probe_is_exported_by_the_older_exporter(name, tmp_path):
    """Also of a vision transformer, in whose graph the exporter does not know the latents' number."""
    data = training_data(name)
    network = run("linear-probe", fresh(name, data), data, epochs=1)
    inputs, path = data.validation.inputs, tmp_path / "network.onnx"
    with tracing.traceable(network):
        export._write(network, tracing.batch(inputs, export.TRACED), path, fixed_sizes=[])
    assert export.check(network, inputs, path) <= onnx_runtime.TOLERANCE


@needs_extra("hepbench[onnx]")
@each_model
@pytest.mark.parametrize("method", PRUNINGS)
def test_a_pruned_network_is_stored_and_exported(name, method, tmp_path):
    """Loaded again it scores the same; without half of its channels it has half of the MACs or less."""
    data = training_data(name)
    network = run("scratch", fresh(name, data), data)
    before = counting.count(network, tracing.batch(data.train.inputs, 1)).macs
    network = run(method, network, data, ratio=0.5, **PRUNINGS[method])
    after = counting.count(network, tracing.batch(data.train.inputs, 1)).macs
    assert after < 0.55 * before if method == "prune-structured" else after == before
    inputs = data.validation.inputs
    scores = scoring.scores(network, inputs)
    alone = scoring.scores(network, inputs, batch_size=1)
    np.testing.assert_allclose(scores, alone, rtol=0, atol=1e-6)
    stored_networks.save(network, tmp_path)
    known = TrustedCode(models={name: MODELS[name].build}, heads=HEADS)
    again = stored_networks.load(tmp_path, known)
    assert np.array_equal(scores, scoring.scores(again, inputs))
    export.export(again, inputs, tmp_path / "network.onnx")


@pytest.mark.parametrize("name", ["resnet15", "cnn", "dual-cnn", "multi-input-cnn", "gaussian-vae"])
def test_convolutions_get_images_with_channels_last(name, monkeypatch):
    """The layout in memory that is faster on a CPU; it changes scores by rounding alone."""
    network, inputs = classifier(name)
    seen = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda *given: seen.append(given[2]))
    found = network(inputs)
    assert seen
    assert all(out.is_contiguous(memory_format=torch.channels_last) for out in seen)
    for module in ("cnn", "convolutions", "resnet15"):
        monkeypatch.setattr(f"hepbench_models.{module}.channels_last", lambda image: image)
    torch.testing.assert_close(network(inputs), found, rtol=1e-4, atol=1e-5)


def test_an_image_with_channels_last_has_the_same_values():
    """One that is laid out so already is not copied; on another device nothing changes."""
    image = torch.randn(3, 2, 5, 4)
    made = image_layout.channels_last(image)
    assert torch.equal(made, image)
    assert image_layout.channels_last(made) is made
    elsewhere = torch.empty(3, 2, 5, 4, device="meta")
    assert image_layout.channels_last(elsewhere) is elsewhere
