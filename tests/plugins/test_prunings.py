"""The prunings, on small networks of each kind: convolutions, tables, tokens."""

from __future__ import annotations

import copy
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import tinynets
import torch
from conftest import TESTS, Workbench
from hepbench_methods import channels, hepbench_methods, pruning
from hepbench_methods.prune_iterative import fractions
from hepbench_methods.prune_structured import weakest
from hepbench_methods.score_spread import score_spread
from hepbench_models import MLP, TRANSFORMER_AE
from needs import needs_extra
from torch import nn

from hepbench import Examples, Predictions, TrainingData, UsageError
from hepbench.cost import counting, export, onnx_runtime, tracing
from hepbench.planning.matrix import Choice, expand
from hepbench.planning.suite_file import Matrix, SuiteFile
from hepbench.registry.plugins import installed
from hepbench.registry.resolve import resolve
from hepbench.specs.parameters import defaults
from hepbench.training import network_runs, promises
from hepbench.training.context import NetworkContext
from hepbench.training.networks import scoring, stored_networks
from hepbench.training.networks.recipes import TrustedCode

torch.set_num_threads(1)

METHODS = {method.name: method for method in hepbench_methods()}
SCOPES = METHODS["prune-unstructured"].params["scope"].allowed
HEADS = {method.name: method.head for method in METHODS.values() if method.head}


class Blocks(nn.Module):
    """Convolutions: plain, residual, depthwise; flattened, then a linear layer."""

    def __init__(self, shapes, *, width=8):
        super().__init__()
        n = shapes["image"][0]
        self.first = nn.Sequential(nn.Conv2d(n, width, 3, padding=1), nn.BatchNorm2d(width))
        self.block = nn.Sequential(
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.PReLU(2 * width),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width),
            nn.Conv2d(2 * width, width, 1),
            nn.BatchNorm2d(width),
        )
        self.code = nn.Linear(16 * width, 6)
        self.unused = nn.Linear(6, 50)

    def encode(self, inputs):
        x = self.first(inputs["image"]).relu()
        x = nn.functional.avg_pool2d(x + self.block(x), 2)
        return self.code(x.flatten(1))

    def head(self, classes):
        return nn.Sequential(nn.Linear(6, 10), nn.Dropout(0.1), nn.ReLU(), nn.Linear(10, classes))


class Joined(nn.Module):
    """Two layers side by side are read by one; with them the features, where they are told."""

    def __init__(self, shapes, *, features=False):
        super().__init__()
        n = shapes["table"][0]
        self.one, self.other = nn.Linear(n, 10), nn.Linear(n, 6)
        self.features, self.both = features, nn.Linear(16 + n * features, 8)

    def encode(self, inputs):
        x = inputs["table"]
        parts = [self.one(x).relu(), x, self.other(x).tanh()]
        return self.both(torch.cat(parts if self.features else parts[::2], 1)).relu()


class Fixed(nn.Module):
    """A reshape that takes eight channels for granted, between two layers."""

    def __init__(self, shapes):
        super().__init__()
        self.first, self.second = nn.Linear(shapes["table"][0], 8), nn.Linear(4, 6)

    def encode(self, inputs):
        return self.second(self.first(inputs["table"]).view(-1, 2, 4).sum(1))


class Normed(nn.Module):
    """A weight that is computed of two others, before one that is not."""

    def __init__(self, shapes):
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Linear(shapes["table"][0], 8))
        self.second = nn.Linear(8, 6)

    def encode(self, inputs):
        return self.second(self.first(inputs["table"]).relu())


class Bare(nn.Module):
    """No layer but the head's."""

    def __init__(self, shapes):
        super().__init__()

    def encode(self, inputs):
        return inputs["table"]


BUILDS = {
    "blocks": ("test_prunings:Blocks", {}),
    "mlp": (MLP.build, {**defaults(MLP.params), "width": 12}),
    "transformer-ae": (
        TRANSFORMER_AE.build,
        {
            **defaults(TRANSFORMER_AE.params),
            "width": 12,
            "heads": 4,
            "layers": 2,
            "feed_forward": 16,
        },
    ),
    "joined": ("test_prunings:Joined", {}),
    "featured": ("test_prunings:Joined", {"features": True}),
    "fixed": ("test_prunings:Fixed", {}),
    "normed": ("test_prunings:Normed", {}),
    "bare": ("test_prunings:Bare", {}),
}
KNOWN = TrustedCode(models={name: build for name, (build, _) in BUILDS.items()}, heads=HEADS)
MODELS = ["blocks", "mlp", "transformer-ae", "joined"]
each_model = pytest.mark.parametrize("model", MODELS)
RATIOS = [0.2, 0.4, 0.6, 0.8, 0.9]


def examples(model, n, first=0):
    rng = np.random.default_rng(first)
    labels = np.arange(n) % 2
    shape, name = ((3, 8, 8), "image") if model == "blocks" else ((7,), "table")
    values = rng.normal(size=(n, *shape)) + 0.3 * labels.reshape(-1, *[1] * len(shape))
    ids = first + np.arange(n)
    return Examples(inputs={name: values.astype(np.float32)}, ids=ids, labels=labels)


def data(model, n=120):
    return TrainingData(train=examples(model, n), validation=examples(model, 80, first=1000))


def classifier(model, seed=0):
    """Return a network whose weights and statistics are all different, as after a training."""
    build, params = BUILDS[model]
    task = tinynets.task(model, build, preprocess=("standardise",), method_heads=HEADS, **params)
    torch.manual_seed(seed)
    network = network_runs.fresh(task, examples(model, 50).inputs, classes=2).with_head()
    network.known = KNOWN
    with torch.no_grad():
        for tensor in (*network.encoder.state_dict().values(), *network.head.parameters()):
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand_like(tensor))
    return network.eval()


def pruned(method, network, *, seed=0, context=None, part=None, **params):
    """Run a method with its defaults but for the training, as the stage does."""
    spec = METHODS[method]
    torch.manual_seed(seed)
    context = context or NetworkContext(seed=seed)
    short = {n: v for n, v in {"epochs": 1, "batch_size": 40}.items() if n in spec.params}
    held = {name: tensor.clone() for name, tensor in network.preprocess.state_dict().items()}
    part = part or data(network.recipe.model)
    made = resolve(spec.run)(network, part, context, **{**defaults(spec.params), **short, **params})
    promises.check(method, made, {f"preprocess.{name}": t for name, t in held.items()})
    return made.eval()


def structured(network, ratio, **params):
    return pruned("prune-structured", network, ratio=ratio, **{"after": "nothing", **params})


def scores(network, model):
    return scoring.scores(network, examples(model, 60, first=7).inputs)


def macs(network, model):
    return counting.count(network, tracing.batch(examples(model, 1).inputs, 1)).macs


def zeros(network):
    return {name: (tensor == 0) for name, tensor in pruning.prunable(network).items()}


# --- masks


@each_model
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.9])
def test_masks_hold_the_ratio_exactly(model, scope, ratio):
    """Of all weights, or of each layer, to the nearest whole weight; nothing else is touched."""
    before = classifier(model).trim()
    network = pruned("prune-unstructured", classifier(model), ratio=ratio, scope=scope)
    gone = {name: int((~mask).sum()) for name, mask in network.masks.items()}
    sizes = {name: mask.numel() for name, mask in network.masks.items()}
    if scope == "layer":
        assert gone == {name: pruning.count(ratio, n) for name, n in sizes.items()}
    else:
        assert sum(gone.values()) == pruning.count(ratio, sum(sizes.values()))
    now = network.state_dict()
    for name, tensor in before.state_dict().items():
        kept = network.masks.get(name, torch.ones_like(tensor, dtype=torch.bool))
        assert torch.equal(now[name], torch.where(kept, tensor, torch.zeros_like(tensor)))


@each_model
def test_what_is_masked_is_smaller_than_what_is_kept(model):
    """In the whole network, or within each layer: two different choices."""
    before = pruning.prunable(classifier(model).trim())
    chosen = {}
    for scope in SCOPES:
        masks = pruned("prune-unstructured", classifier(model), ratio=0.5, scope=scope).masks
        pairs = [(before[name].abs(), mask) for name, mask in masks.items()]
        if scope == "global":
            pairs = [
                tuple(
                    torch.cat([part.flatten() for part in side])
                    for side in zip(*pairs, strict=True)
                )
            ]
        assert all(size[~mask].max() <= size[mask].min() for size, mask in pairs)
        chosen[scope] = masks
    assert any(not torch.equal(chosen["global"][n], chosen["layer"][n]) for n in before)


@each_model
@pytest.mark.parametrize("scope", SCOPES)
def test_a_larger_ratio_masks_all_that_a_smaller_one_masks(model, scope):
    """Ties included: a quarter of the weights are equal here."""
    masks = []
    for ratio in RATIOS:
        network = classifier(model)
        with torch.no_grad():
            for weight in pruning.prunable(network).values():
                weight.flatten()[: weight.numel() // 4] = 0.01
        masks.append(pruned("prune-unstructured", network, ratio=ratio, scope=scope).masks)
    for smaller, larger in pairwise(masks):
        assert all((smaller[name] | ~larger[name]).all() for name in smaller)


@pytest.mark.parametrize("method", ["prune-unstructured", "prune-structured"])
@each_model
def test_without_training_ratio_zero_changes_no_bit(method, model):
    """The scores are those of the classifier that was given."""
    params = {"after": "nothing"} if method == "prune-structured" else {}
    network = pruned(method, classifier(model), ratio=0.0, **params)
    assert np.array_equal(scores(network, model), scores(classifier(model), model))


# --- iterative


@each_model
def test_pruned_weights_are_still_zero_after_fine_tuning(model):
    """And those that were not pruned have moved."""
    before = pruning.prunable(classifier(model).trim())
    network = pruned("prune-iterative", classifier(model), ratio=0.3, rounds=4)
    total = sum(mask.numel() for mask in network.masks.values())
    held = zeros(network)
    assert sum(int(zero.sum()) for zero in held.values()) == pruning.count(0.3, total)
    for name, mask in network.masks.items():
        assert torch.equal(held[name], ~mask)
    now = pruning.prunable(network)
    assert all(not torch.equal(now[n][m], before[n][m]) for n, m in network.masks.items())


def test_each_step_keeps_what_earlier_ones_masked():
    """Whatever training does to the other weights."""
    context = NetworkContext(seed=0)
    seen, fit = [], context.fit

    def watched(network, *rest, **training):
        seen.append({name: mask.clone() for name, mask in network.masks.items()})
        return fit(network, *rest, **training)

    context.fit = watched
    pruned("prune-iterative", classifier("mlp"), context=context, ratio=0.6, step=0.2, rounds=0)
    assert len(seen) == 3
    for smaller, larger in pairwise(seen):
        assert all((smaller[name] | ~larger[name]).all() for name in smaller)


@pytest.mark.parametrize(
    ("ratio", "step", "rounds", "expected"),
    [
        (0.3, 0.1, 0, [0.1, 0.2, 0.3]),
        (0.25, 0.1, 0, [0.1, 0.2, 0.25]),
        (0.2, 0.1, 4, [0.1, 0.2, 0.2, 0.2]),
        (0.0, 0.1, 2, [0.0, 0.0]),
        (0.0, 0.1, 0, []),
    ],
)
def test_the_ratio_is_reached_in_steps_and_the_budget_kept(ratio, step, rounds, expected):
    """The last step is what is left; rounds beyond it train on, ratio 0 is the dense control."""
    assert fractions(ratio, step, rounds) == pytest.approx(expected)


# --- structured


@each_model
def test_operations_fall_with_the_ratio_and_both_counters_agree(model):
    """Of the graph that scores; parameters too."""
    found = [structured(classifier(model), ratio) for ratio in (0.0, *RATIOS)]
    counts = [macs(network, model) for network in found]
    assert all(a > b for a, b in pairwise(counts))
    assert counts[-1] < 0.15 * counts[0]
    for network in found:
        counted = counting.count(network, tracing.batch(examples(model, 1).inputs, 1))
        assert counted.macs == counted.cross_check
        assert not counted.gaps


def test_channels_are_removed_wherever_they_are_used():
    """Half of everything: filters, norms, slopes, what reads them flattened, hidden units."""
    network = structured(classifier("blocks"), 0.5)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.encoder.state_dict().items()}
    assert shapes["first.0.weight"] == (4, 3, 3, 3)
    assert shapes["first.1.running_var"] == (4,)
    assert shapes["block.0.weight"] == (8, 4, 3, 3)
    assert shapes["block.2.weight"] == (8,)
    assert shapes["block.3.weight"] == (8, 1, 3, 3)
    assert shapes["block.4.weight"] == (4, 8, 1, 1)
    assert shapes["code.weight"] == (3, 4 * 16)
    assert [m.weight.shape for m in (network.head[0], network.head[3])] == [(5, 3), (2, 5)]
    assert not any(name.startswith("unused") for name in shapes)
    depthwise = network.encoder.block[3]
    assert (depthwise.groups, depthwise.in_channels, depthwise.out_channels) == (8, 8, 8)


def test_channels_that_are_joined_go_from_their_own_places():
    """Of what reads both layers, the columns of the channels that stay are left."""
    before = classifier("joined").trim()
    kept = {}
    for group in channels.find(before).proven:
        gone = weakest(before, group, 0.5)
        rows = torch.ones(len(group.places[0].positions), dtype=torch.bool)
        rows[gone] = False
        kept[group.layer] = rows
    network = structured(classifier("joined"), 0.5)
    columns = torch.cat([kept["encoder.one"], kept["encoder.other"]])
    expected = before.encoder.both.weight[kept["encoder.both"]][:, columns]
    assert torch.equal(network.encoder.both.weight, expected)
    assert network.encoder.both.in_features == 5 + 3


def test_heads_of_attention_and_the_residual_stream_shrink():
    """Whole heads go; tokens keep fewer features, in all layers the same."""
    network = structured(classifier("transformer-ae"), 0.5)
    for layer in network.encoder.encoder:
        assert layer.attention.heads == 2
        assert layer.attention.qkv.weight.shape == (3 * 6, 6)
        assert layer.attention.out.weight.shape == (6, 6)
        assert layer.widen.weight.shape == (8, 6)
        assert layer.norms[0].normalized_shape == (6,)
    assert network.encoder.weight.shape == (7, 6)
    assert network.encoder.bottleneck.weight.shape == (32, 7 * 6)


@each_model
def test_removing_what_nothing_reads_changes_no_score(model):
    """Where every reader's weights of the channels that go are zero; norms over channels apart."""
    network = classifier(model).trim()
    for group in channels.find(network).proven:
        over = any(
            isinstance(network.get_submodule(place.module), nn.LayerNorm) for place in group.places
        )
        trial = copy.deepcopy(network)
        gone = torch.arange(len(group.places[0].positions))[::2]
        silence(trial, group, gone)
        expected = scores(trial, model)
        if not over:
            smaller = channels.without(trial, [(group, gone)])
            np.testing.assert_allclose(scores(smaller, model), expected, rtol=0, atol=1e-5)
            assert not np.allclose(scores(network, model), expected, atol=1e-4)


def silence(network, group, gone):
    for place in group.places:
        module = network.get_submodule(place.module)
        passes = isinstance(module, (nn.BatchNorm2d, nn.PReLU)) or getattr(module, "groups", 1) > 1
        if not place.makes and not passes and "weight" in place.axes:
            weight = module.weight.data.movedim(place.axes["weight"], 0)
            weight[place.positions[gone].flatten()] = 0


@each_model
def test_a_larger_ratio_removes_all_that_a_smaller_one_removes(model):
    """Filters are ranked once, by the network that was given."""
    network = classifier(model).trim()
    for group in channels.find(network).proven:
        gone = [set(weakest(network, group, ratio).tolist()) for ratio in RATIOS]
        assert all(a <= b for a, b in pairwise(gone))
        assert len(gone[-1]) < len(group.places[0].positions)


def test_the_filters_of_smallest_l1_norm_go():
    """Those whose weights were made small."""
    network = classifier("blocks")
    with torch.no_grad():
        network.encoder.block[0].weight[3::4] *= 0.01
    kept = [i for i in range(16) if i % 4 != 3]
    expected = network.encoder.block[0].bias[kept].clone()
    assert torch.equal(structured(network, 0.25).encoder.block[0].bias, expected)


def test_pruned_networks_score_the_same_in_a_fresh_process(tmp_path):
    """Bit for bit, from their recipes and weights."""
    cases = [(model, ratio) for model in MODELS for ratio in (0.4, 0.9)]
    for model, ratio in cases:
        network, folder = structured(classifier(model), ratio), tmp_path / model / str(ratio)
        folder.mkdir(parents=True)
        stored_networks.save(network, folder)
        np.save(folder / "expected.npy", scores(network, model))
    code = (
        "import sys, numpy as np, test_prunings as t; from pathlib import Path\n"
        "for path in Path(sys.argv[1]).glob('*/*/expected.npy'):\n"
        "    network = t.stored_networks.load(path.parent, t.KNOWN)\n"
        "    assert (t.scores(network, path.parts[-3]) == np.load(path)).all()\n"
        "    print(path)\n"
    )
    paths = {"PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, check=True, env=paths, capture_output=True, text=True)
    assert len(done.stdout.splitlines()) == len(cases)


@needs_extra("hepbench[onnx]")
@each_model
def test_a_pruned_network_is_exported(model, tmp_path):
    """ONNX Runtime scores as torch does."""
    network = structured(classifier(model), 0.6)
    difference = export.export(network, examples(model, 9).inputs, tmp_path / "network.onnx")
    assert difference <= onnx_runtime.TOLERANCE


@each_model
def test_masked_filters_are_those_that_would_be_removed(model):
    """The same operations as before; the masks are held and stored."""
    whole, half = classifier(model).trim(), structured(classifier(model), 0.5)
    network = structured(classifier(model), 0.5, remove=False)
    assert macs(network, model) == macs(whole, model)
    rows = {n: int(m.flatten(1).any(1).sum()) for n, m in network.masks.items()}
    assert rows == {name: len(half.get_parameter(name)) for name in rows}
    assert network.masks
    trained = structured(classifier(model), 0.5, remove=False, after="finetune")
    assert all((trained.get_parameter(n)[~m] == 0).all() for n, m in trained.masks.items())


@each_model
def test_a_reinitialised_network_has_the_same_shapes_and_other_weights(model):
    """And trains them: the small control."""
    one, other = (structured(classifier(model), 0.5, after=a) for a in ("finetune", "reinitialise"))
    ours, theirs = one.state_dict(), other.state_dict()
    assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in theirs.items()}
    assert all(not torch.equal(ours[name], theirs[name]) for name in pruning.prunable(one))


def test_recalibration_moves_the_statistics_alone_and_sees_no_label():
    """Means are those of the training inputs under the pruned weights, whatever the labels say."""
    part = data("blocks")
    blind = replace(part, train=replace(part.train, labels=None))
    plain = structured(classifier("blocks"), 0.4)
    network = structured(classifier("blocks"), 0.4, after="recalibrate", part=blind)
    one, other = plain.state_dict(), network.state_dict()
    moved = {name for name in one if not torch.equal(one[name], other[name])}
    assert moved
    assert all("running" in n or "num_batches" in n for n in moved)
    assert not any(module.training for module in network.modules())
    first = plain.encoder.first
    made = plain.preprocess({"image": torch.from_numpy(part.train.inputs["image"])})["image"]
    mean = first[0](made).mean((0, 2, 3))
    torch.testing.assert_close(network.encoder.first[1].running_mean, mean, rtol=0, atol=1e-5)
    assert [m.momentum for m in network.modules() if isinstance(m, nn.BatchNorm2d)] == [0.1] * 3


# --- what cannot shrink


@pytest.mark.parametrize("model", ["fixed", "normed"])
def test_a_layer_that_cannot_shrink_is_left_and_said(model):
    """A reshape takes its width for granted, or its weight is computed; other layers shrink."""
    context = NetworkContext(seed=0)
    network = structured(classifier(model), 0.5, context=context)
    assert network.encoder.first.weight.shape[0] == 8
    assert network.encoder.second.out_features == 3
    assert context.warnings == ["pruning: cannot shrink encoder.first"]


def test_what_torch_pruning_misplaces_is_left_alone():
    """It takes layers that are joined with inputs for one; the proof finds that they are not."""
    context = NetworkContext(seed=0)
    network = structured(classifier("featured"), 0.5, context=context)
    assert context.warnings == ["pruning: cannot shrink encoder.one, encoder.other"]
    assert network.encoder.both.weight.shape == (4, 10 + 7 + 6)


def test_a_wrong_order_of_channels_is_found_out():
    """Of each group: with two of a reader's columns exchanged it is proven no more."""
    network = classifier("blocks").trim()
    perturbed = channels._perturbed(network)
    inputs = channels._random_inputs(perturbed, 4)
    expected = channels._logits(perturbed, inputs)
    for group in channels.find(network).proven:
        assert channels._is_proven(copy.deepcopy(perturbed), group, inputs, expected)
        *others, last = group.places
        order = torch.arange(len(last.positions)).roll(1)
        wrong = replace(group, places=(*others, replace(last, positions=last.positions[order])))
        assert not channels._is_proven(copy.deepcopy(perturbed), wrong, inputs, expected)


RATIO = "a number of at least 0 and below 1 is expected (default 0.5)"
SCOPE = "one of global, layer is expected (default 'global')"
AFTER = "one of nothing, recalibrate, finetune, reinitialise is expected (default 'finetune')"
REFUSED = {
    "prune-unstructured": [("ratio", 1.0, RATIO), ("scope", "net", SCOPE)],
    "prune-iterative": [
        ("ratio", -0.1, RATIO),
        ("step", 0.0, "a number above 0 and of at most 1 is expected (default 0.1)"),
        ("step", 1.5, "a number above 0 and of at most 1 is expected (default 0.1)"),
        ("rounds", -1, "a number of at least 0 is expected (default 9)"),
        ("scope", "net", SCOPE),
    ],
    "prune-structured": [("ratio", 2, RATIO), ("after", "tea", AFTER), ("after", "restart", AFTER)],
}


@pytest.mark.parametrize(
    ("method", "name", "value", "allowed"),
    [(name, *case) for name, cases in REFUSED.items() for case in cases],
)
def test_values_that_are_not_allowed_are_refused_before_anything_runs(method, name, value, allowed):
    """One line says which parameter, the value, and what is allowed."""
    matrix = Matrix(datasets=["higgs"], models=["mlp"], methods=[f"{method}[{name}={value}]"])
    with pytest.raises(UsageError) as caught:
        expand(SuiteFile(name="s", run=[matrix]), installed(), Choice())
    assert str(caught.value) == f"{method}[{name}] is {value!r}; {allowed}"


@pytest.mark.parametrize("remove", [True, False])
def test_a_network_that_cannot_shrink_at_all_is_refused(remove):
    """It has no layer but the last."""
    with pytest.raises(UsageError, match=r"no layer of bare can shrink; it has none but the last"):
        structured(classifier("bare"), 0.5, remove=remove)


@pytest.mark.parametrize("name", [name for name in METHODS if name.startswith("prune")])
def test_prunings_follow_whatever_makes_a_classifier(name):
    """Named alone, training from scratch; never an encoder, a fresh start or what fits itself."""

    def chains(*texts, model="mlp"):
        matrix = Matrix(datasets=["higgs"], models=[model], methods=list(texts))
        try:
            fits, _ = expand(SuiteFile(name="s", run=[matrix]), installed(), Choice())
        except UsageError as error:
            return str(error)
        return [combination.labels[2] for combination in fits]

    assert chains(name) == [f"scratch+{name}"]
    for before in ("joint", "pretrain+finetune", "pretrain+linear-probe"):
        assert chains(f"{before}+{name}", model="transformer-ae") == [f"{before}+{name}"]
    assert "must follow scratch or classifier, not fresh" in chains(f"fresh+{name}")
    assert "must follow scratch or classifier, not pretrain" in chains(
        f"pretrain+{name}", model="transformer-ae"
    )
    assert "needs 'encode'; gbdt offers estimate" in chains(name, model="gbdt")


def test_a_network_under_a_machine_shrinks_but_for_its_codes(tmp_path):
    """Support vectors are buffers of a fixed width."""
    part = data("mlp")
    start = classifier("mlp")
    start.head = None
    machine = resolve(METHODS["svm"].run)(
        start, part, NetworkContext(seed=0, head="svm"), **defaults(METHODS["svm"].params)
    )
    with pytest.raises(UsageError, match=r"no layer of mlp can shrink; it has encoder\.blocks"):
        structured(machine, 0.5)
    masked = pruned("prune-unstructured", machine, ratio=0.5)
    stored_networks.save(masked, tmp_path)
    again = stored_networks.load(tmp_path, KNOWN)
    assert np.array_equal(scores(again, "mlp"), scores(masked, "mlp"))


# --- on the command line

SUITE = """
name = "prunings"
[[run]]
datasets = ["blobs[n=300]"]
models = ["vae"]
methods = ["scratch-net", "scratch-net+prune-iterative[rounds=2,step=0.4]",
           "scratch-net+prune-structured[after=recalibrate]",
           "scratch-net+prune-unstructured[ratio=0.2]+prune-unstructured[ratio=0.6]"]
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Workbench:
    """Return a workbench with records of prunings."""
    bench = Workbench(tmp_path_factory.mktemp("prunings"))
    bench.plugin(TESTS / "plugins" / "nets.py")
    bench.write("prunings.toml", SUITE)
    done = bench("run", "prunings.toml", timeout=300)
    assert done.code == 0, done.err
    return bench


def test_a_method_used_twice_is_recorded_with_the_params_of_each_use(ran):
    """And what is left of 110 weights, the most that can be masked, is that of the last."""
    chain = "scratch-net+prune-unstructured[ratio=0.2]+prune-unstructured[ratio=0.6]"
    found = ran.records()[f"blobs[n=300]/vae/{chain}#0"]
    methods = found.params["methods"]
    assert set(methods) == {"scratch-net", "prune-unstructured", "prune-unstructured#2"}
    assert methods["prune-unstructured"]["ratio"] == 0.2
    assert methods["prune-unstructured#2"]["ratio"] == 0.6
    assert found.cost.theoretical_macs == 110 - 66


def test_records_of_prunings_hold_what_is_left_and_what_it_costs(ran):
    """Masks leave the operations and say what could be saved; removal saves them."""
    found = {r.chain.rpartition("prune-")[2]: r for r in ran.records().values()}
    dense = found.pop("scratch-net")
    small = found["structured[after=recalibrate]"].cost
    # half of 6 x 8 + 8 x 4 + 4 x 5 + 5 x 2, but for the numbers of features and of classes
    assert dense.cost.macs == 110
    assert small.macs == small.flops // 2 == 6 * 4 + 4 * 2 + 2 * 2 + 2 * 2
    assert small.theoretical_macs is None
    assert small.parameters == small.nonzero_parameters < dense.cost.parameters
    masked = found["iterative[step=0.4,rounds=2]"]
    assert (masked.cost.macs, masked.cost.flops, masked.cost.theoretical_macs) == (110, 220, 55)
    assert masked.cost.parameters - masked.cost.nonzero_parameters == 55
    assert masked.epochs == 2
    assert all(record.metrics["score_spread"].value > 0 for record in found.values())
    warnings = found["structured[after=recalibrate]"].warnings
    (said,) = [w for w in warnings if not w.startswith(("latency", "errors"))]
    assert said == "pruning: nothing to recalibrate, there is no batch normalisation"
    assert said in " ".join(ran("table").out.split())


# --- the spread of scores


def test_the_spread_of_scores_is_their_standard_deviation():
    """Weighted, of the signal's score; its error is that over many samples."""
    rng = np.random.default_rng(0)

    def spread(signal, weights=None):
        scores = np.stack([1 - signal, signal], 1)
        return score_spread(
            Predictions(labels=np.arange(len(signal)) % 2, scores=scores, weights=weights)
        )

    signal = rng.beta(2, 3, (300, 500))
    found = [spread(row) for row in signal]
    assert found[0].value == pytest.approx(signal[0].std())
    assert np.std([m.value for m in found]) == pytest.approx(found[0].stderr, rel=0.2)
    twice = spread(signal[0], np.where(np.arange(500) < 100, 2.0, 1.0))
    assert twice.value == pytest.approx(np.concatenate([signal[0], signal[0, :100]]).std())
    assert spread(np.full(10, 0.5)).value == 0
