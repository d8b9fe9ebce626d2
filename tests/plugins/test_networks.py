"""The networks and the methods that train them, on a few made-up rows."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import tinynets
import torch
from hepbench_methods import hepbench_methods, svm
from hepbench_models import MLP, TRANSFORMER_AE
from sklearn.svm import SVC
from torch import nn

from hepbench import TRAINING, DataError, Examples, TrainingData
from hepbench.registry.resolve import resolve
from hepbench.specs.parameters import defaults
from hepbench.training import network_runs
from hepbench.training.context import NetworkContext
from hepbench.training.networks import scoring, stored_networks
from hepbench.training.networks.recipes import TrustedCode

torch.set_num_threads(1)

MODELS = {"mlp": MLP, "transformer-ae": TRANSFORMER_AE}
METHODS = {method.name: method for method in hepbench_methods()}
HEADS = {method.name: method.head for method in METHODS.values() if method.head}
# those that train an encoder, or on one as it was drawn; what prunes follows a classifier, and those
# that hide particles need a cloud
TRAIN_FROM_FRESH = [
    n
    for n, m in METHODS.items()
    if "epochs" in m.params and "classifier" not in m.after and not m.inputs
]
# small enough for a second; the architecture stays
SMALL = {
    "mlp": {"width": 12},
    "transformer-ae": {"width": 6, "feed_forward": 8, "latent_dim": 5, "layers": 2},
}
CASES = [
    ("mlp", {}),
    ("mlp", {"residual": False, "activation": "tanh", "init_std": [0.1, 0.05]}),
    ("transformer-ae", {}),
    ("transformer-ae", {"masked_fraction": 0.3}),
]
TRAIN = {"epochs": 2, "batch_size": 50}
CHAINS = {
    "mlp": [("scratch",), ("linear-probe",), ("svm",), ("knn",), ("simclr", "mlp-probe")],
    "transformer-ae": [
        ("scratch",),
        ("joint",),
        ("linear-probe",),
        ("svm",),
        ("pretrain", "finetune"),
        ("pretrain", "linear-probe"),
        ("pretrain", "svm"),
    ],
}
each_model = pytest.mark.parametrize(("name", "params"), CASES)
each_chain = pytest.mark.parametrize(
    ("name", "chain"),
    [(name, chain) for name, chains in CHAINS.items() for chain in chains],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)


def rows(n=200, first=0, features=7, seed=1):
    """Return examples of which each feature, and a product of two, tells something."""
    rng = np.random.default_rng([seed, first])
    labels = np.arange(n) % 2
    table = rng.normal(size=(n, features)) + 0.7 * labels[:, None]
    table[:, 0] *= np.where(labels == 1, 1, -1) * np.sign(table[:, 1])
    ids = first + np.arange(n)
    return Examples(inputs={"table": table.astype(np.float32)}, ids=ids, labels=labels)


def training_data(**shape):
    return TrainingData(train=rows(**shape), validation=rows(100, first=1000))


def task(name, *, preset=None, **params):
    """Return the task of a worker that builds a model."""
    spec = MODELS[name]
    chosen = {**defaults(spec.all_params, preset or ""), **({} if preset else SMALL[name])}
    return tinynets.task(name, spec.build, method_heads=HEADS, **{**chosen, **params})


def fresh(name, data, *, seed=0, **params):
    torch.manual_seed(seed)
    return network_runs.fresh(task(name, **params), data.train.inputs, classes=data.classes)


def run(method, network, data, *, seed=0, **params):
    """Run a method with its defaults but for a few epochs, as the stage does."""
    spec = METHODS[method]
    torch.manual_seed(seed)
    context = NetworkContext(seed=seed, head=method if spec.head else None)
    short = {name: value for name, value in TRAIN.items() if name in spec.params}
    seen = data if spec.labels else data.without_labels()
    result = resolve(spec.run)(
        network, seen, context, **{**defaults(spec.params), **short, **params}
    )
    if spec.makes == "encoder":
        result.drop_head()
    return result.eval()


def run_chain(name, chain, data, **params):
    network = fresh(name, data, **params)
    for method in chain:
        network = run(method, network, data)
    return network


def is_under(name, parts):
    return any(name.startswith(f"{part}.") for part in parts)


def builder(name, **params):
    module, _, function = MODELS[name].build.partition(":")
    return getattr(import_module(module), function)({"table": (7,)}, **params)


# --- models


@each_model
def test_every_parameter_gets_a_gradient(name, params):
    """From the labels or from the encoder's own loss, whichever uses it."""
    data = training_data()
    network = fresh(name, data, **params).with_head().train()
    inputs = {"table": torch.from_numpy(data.train.inputs["table"])}
    loss = network(inputs).square().sum()
    if "pretrain" in MODELS[name].offers:
        loss = loss + sum(term.sum() for term in network.encoder.pretraining_terms(inputs).values())
    loss.backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@each_model
def test_codes_and_terms_do_not_hang_on_the_batch(name, params):
    """In eval mode an example alone gives what it gives among others, twice the same."""
    data = training_data()
    encoder = fresh(name, data, **params).encoder.eval()
    inputs = {"table": torch.from_numpy(data.train.inputs["table"])}
    alone = {"table": inputs["table"][3:4]}
    torch.testing.assert_close(encoder.encode(inputs)[3:4], encoder.encode(alone))
    if "pretrain" in MODELS[name].offers:
        whole, again = (encoder.pretraining_terms(inputs) for _ in range(2))
        one = encoder.pretraining_terms(alone)
        assert {term: value.shape for term, value in whole.items()} == dict.fromkeys(one, (200,))
        for term, value in whole.items():
            assert torch.equal(value, again[term])
            torch.testing.assert_close(value[3:4], one[term])


@each_model
def test_features_may_come_in_another_order(name, params):
    """Whatever belongs to a feature moved with it, the code is the same."""
    data = training_data()
    encoder = fresh(name, data, **params).encoder.eval()
    table = torch.from_numpy(data.train.inputs["table"])
    code, order = encoder.encode({"table": table}), torch.randperm(7)
    with torch.no_grad():
        if name == "mlp":
            encoder.first[0].weight.copy_(encoder.first[0].weight[:, order])
        else:
            for parameter in (encoder.weight, encoder.bias):
                parameter.copy_(parameter[order])
            taken = encoder.bottleneck.weight.unflatten(1, (7, -1))[:, order]
            encoder.bottleneck.weight.copy_(taken.flatten(1))
    torch.testing.assert_close(encoder.encode({"table": table[:, order]}), code)


def test_the_transformer_mixes_features_and_not_examples():
    """A change of one feature reaches every token of its example, and no other example."""
    encoder = builder(
        "transformer-ae", **{**defaults(TRANSFORMER_AE.params), **SMALL["transformer-ae"]}
    )
    table = torch.randn(4, 7, requires_grad=True)
    tokens = encoder.eval().encoder(encoder._tokens(table))
    (gradient,) = torch.autograd.grad(tokens[1, 5].square().sum(), table)
    assert (gradient.abs().sum(1) > 0).tolist() == [False, True, False, False]
    assert gradient[1].all()


def test_a_layer_is_that_of_torch():
    """With torch's weights: normalisation after the residual, ReLU."""
    from hepbench_models.transformer_ae import Layer

    theirs = nn.TransformerEncoderLayer(6, 3, 8, batch_first=True).eval()
    ours = Layer(6, 3, 8, 0.1).eval()
    names = {
        "self_attn.in_proj_": "attention.qkv.",
        "self_attn.out_proj.": "attention.out.",
        "linear1.": "widen.",
        "linear2.": "narrow.",
        "norm1.": "norms.0.",
        "norm2.": "norms.1.",
    }
    found = {
        name.replace(old, new): tensor
        for name, tensor in theirs.state_dict().items()
        for old, new in names.items()
        if name.startswith(old)
    }
    ours.load_state_dict(found)
    x = torch.randn(5, 4, 6)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(("n", "share"), [(21, 0.3), (28, 0.75), (7, 0.01), (2, 0.9)])
def test_validation_hides_each_feature_once_and_training_a_fixed_number(n, share):
    """So that no feature is left out of the validation loss, and no example weighs more."""
    params = {**defaults(TRANSFORMER_AE.params), "masked_fraction": share}
    encoder = resolve(TRANSFORMER_AE.build)({"table": (n,)}, **params)
    assert encoder.groups.sum(0).tolist() == [1] * n
    assert encoder.groups.any(1).all()
    assert 1 <= encoder.hidden < n


def test_a_hidden_feature_is_not_seen():
    """The prediction of it is the same whatever it was."""
    params = {**defaults(TRANSFORMER_AE.params), "masked_fraction": 0.3}
    encoder = builder("transformer-ae", **params).eval()
    table, hides = torch.randn(3, 7), torch.arange(7) == 4
    other = torch.where(hides, 100.0, table)
    seen = [encoder._errors(x, hides.expand(3, 7))["reconstruction"] for x in (table, other)]
    assert torch.equal(*seen)


def test_the_deep_net_has_the_parameters_of_the_paper():
    """Five layers of 300 on 28 features: 28 x 300 + 4 x 300 x 300 weights, 1500 offsets."""
    encoder = resolve(MLP.build)({"table": (28,)}, **defaults(MLP.params, "paper"))
    assert sum(p.numel() for p in encoder.parameters()) == 8400 + 360_000 + 1500
    spreads = [p.std().item() for p in encoder.parameters() if p.ndim == 2]
    assert spreads == pytest.approx([0.1, 0.05, 0.05, 0.05, 0.05], rel=0.05)


@pytest.mark.parametrize("name", MODELS)
def test_paper_presets_take_a_step_at_full_size(name):
    """On rows of 21 features, by every method that trains such a model."""
    wide = TrainingData(train=rows(8, features=21), validation=rows(8, first=50, features=21))
    for chain in CHAINS[name]:
        torch.manual_seed(0)
        network = network_runs.fresh(task(name, preset="paper"), wide.train.inputs, classes=2)
        for method in chain:
            spec = METHODS[method]
            short = {"epochs": 1} if "epochs" in spec.params else {}
            params = {**defaults(spec.params, "paper"), **short}
            network = run(method, network, wide, **params)
        assert all(torch.isfinite(p).all() for p in network.parameters())


# --- methods


@each_chain
def test_same_seed_same_scores_and_stored_networks_score_the_same(name, chain, tmp_path):
    """Bit by bit, for every method that ends a chain."""
    data = training_data()
    network, again = (run_chain(name, chain, data) for _ in range(2))
    inputs = data.validation.inputs
    scores = scoring.scores(network, inputs)
    assert np.array_equal(scores, scoring.scores(again, inputs))
    stored_networks.save(network, tmp_path)
    known = TrustedCode(models={name: MODELS[name].build}, heads=HEADS)
    assert np.array_equal(scores, scoring.scores(stored_networks.load(tmp_path, known), inputs))


@each_chain
def test_scores_do_not_hang_on_the_batch(name, chain):
    """One by one, in another order, the same."""
    data = training_data()
    network = run_chain(name, chain, data)
    table = data.validation.inputs["table"]
    whole = scoring.scores(network, {"table": table})
    alone = scoring.scores(network, {"table": table[::-1]}, batch_size=1)[::-1]
    np.testing.assert_allclose(whole, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", TRAIN_FROM_FRESH)
def test_methods_train_every_parameter_that_they_name(method):
    """And no other: against the same network after no epoch at all."""
    data, spec = training_data(), METHODS[method]

    def after(epochs):
        network = fresh("transformer-ae", data, masked_fraction=0.3)
        return run(method, network, data, epochs=epochs)

    before, result = after(0).state_dict(), after(2)
    names = {name for name, _ in result.named_parameters()}
    expected = names
    if "pretrain" not in spec.needs:
        expected = {
            name for name in result.scoring_parameters() if not is_under(name, spec.freezes)
        }
    now = result.state_dict()
    assert {name for name in names if not torch.equal(now[name], before[name])} == expected
    buffers = {name for name in now if name not in names and not name.startswith("head.")}
    assert all(torch.equal(now[name], before[name]) for name in buffers)


def test_a_machine_leaves_the_encoder_as_it_was():
    """Bit by bit; it has no parameter of its own to train."""
    data = training_data()
    network = fresh("transformer-ae", data)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    now = run("svm", network, data).state_dict()
    assert all(torch.equal(now[name], tensor) for name, tensor in before.items())


def test_two_rates_move_two_parts_by_different_lengths():
    """The rates of fine-tuning are those of its history."""
    data = training_data()
    context = NetworkContext(seed=0)
    told = {
        **defaults(TRAINING),
        **TRAIN,
        "encoder_learning_rate": 1e-4,
        "head_learning_rate": 1e-2,
    }
    resolve(METHODS["finetune"].run)(fresh("mlp", data), data, context, **told)
    assert [context.history[0][f"learning_rate.{part}"] for part in ("encoder", "head")] == [
        1e-4,
        1e-2,
    ]


def test_joint_training_has_one_loss_or_two():
    """Merged, the loss is the sum of all terms; apart, each has an optimiser of its own."""
    data = training_data()
    for separate in (False, True):
        context = NetworkContext(seed=0)
        told = {**defaults(METHODS["joint"].params), **TRAIN, "separate": separate}
        resolve(METHODS["joint"].run)(fresh("transformer-ae", data), data, context, **told)
        row = context.history[-1]
        assert row["loss"] == pytest.approx(row["reconstruction"] + row["cross_entropy"])


def test_scratch_and_finetuning_have_the_same_budget():
    """In each preset: what pretraining gains is not training for longer."""
    for preset in ("quick", "paper"):
        one, other = (defaults(METHODS[name].params, preset) for name in ("scratch", "finetune"))
        assert {n: one[n] for n in TRAINING} == {n: other[n] for n in TRAINING}


def test_parameters_are_plain():
    """They are hashed as JSON."""
    for spec in (*MODELS.values(), *METHODS.values()):
        values = [[param.default, dict(param.presets)] for param in spec.params.values()]
        assert json.loads(json.dumps(values)) == values


# --- support vectors


def latents_of(network, examples):
    return NetworkContext(seed=0).encode(network, examples).astype(float)


def test_the_head_decides_as_scikit_learn():
    """To 1e-6 on latents that are scaled alike."""
    data = training_data()
    network = run("svm", fresh("mlp", data), data, C=[3.0], gamma=[0.7])
    train, others = (latents_of(network, part) for part in (data.train, data.validation))
    mean, std = train.mean(0), train.std(0)
    theirs = SVC(C=3.0, gamma=0.7 / 12).fit((train - mean) / std, data.train.labels)
    decision = network.head.decision(torch.from_numpy(others))
    expected = theirs.decision_function((others - mean) / std)
    np.testing.assert_allclose(decision, expected, rtol=0, atol=1e-6)
    assert len(network.head.vectors) == len(theirs.support_vectors_)
    assert list(network.head.parameters()) == []


def test_the_pair_with_the_best_validation_auc_is_taken():
    """Of the whole grid, by trying each pair alone."""
    from sklearn.metrics import roc_auc_score

    data = training_data()
    labels = data.validation.labels
    grid = [(c, g) for c in (0.01, 1.0, 100.0) for g in (0.01, 1.0, 30.0)]

    def auc(**params):
        network = run("svm", fresh("mlp", data), data, **params)
        latents = torch.from_numpy(latents_of(network, data.validation))
        return roc_auc_score(labels, network.head.decision(latents))

    alone = [auc(C=[c], gamma=[g]) for c, g in grid]
    found = auc(C=[0.01, 1.0, 100.0], gamma=[0.01, 1.0, 30.0])
    assert found == max(alone) > min(alone)


def test_landmarks_stand_for_all_examples():
    """With every example a landmark, the approximation is scikit-learn's own on the exact kernel."""
    from sklearn.kernel_approximation import Nystroem
    from sklearn.svm import LinearSVC

    data = training_data()
    latents = latents_of(fresh("mlp", data), data.train)
    ours = svm._nystroem(latents[:50], latents, data.train, c=1.0, gamma=0.1)
    features = Nystroem(gamma=0.1, n_components=50, random_state=0)
    features.fit(latents[:50])
    theirs = LinearSVC(dual=False).fit(features.transform(latents), data.train.labels)
    expected = theirs.decision_function(features.transform(latents))
    # what the smallest eigenvalues carry is left out
    np.testing.assert_allclose(ours.decision(latents), expected, rtol=0, atol=1e-2)
    network = run("svm", fresh("mlp", data), data, exact_up_to=100, landmarks=50)
    assert len(network.head.vectors) == 50


def test_a_machine_of_more_than_two_classes_is_refused():
    """It says what there is, and what it can do."""
    data = training_data()
    labels = np.arange(200) % 3
    three = TrainingData(
        train=replace(data.train, labels=labels), validation=data.validation, classes=3
    )
    with pytest.raises(DataError, match=r"^svm: 3 classes, of which train has 3; it separates two"):
        run("svm", fresh("mlp", three), three)
    one = replace(data, train=replace(data.train, labels=np.zeros(200, int)))
    with pytest.raises(DataError, match="needs examples of both"):
        run("svm", fresh("mlp", one), one)
