"""The training loop: what it trains, freezes, keeps and reports."""

from __future__ import annotations

import random
from dataclasses import replace

import nets
import numpy as np
import pytest
import tinynets
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from hepbench import (
    TRAINING,
    Examples,
    Objective,
    PluginError,
    SparseImages,
    TrainingData,
    classification,
    pretraining,
)
from hepbench.evaluation import metrics
from hepbench.specs.errors import ProtocolError, UsageError
from hepbench.specs.metric import Predictions
from hepbench.specs.parameters import defaults
from hepbench.training import fit_settings, network_runs, promises
from hepbench.training.networks import batches
from hepbench.training.networks.scoring import softmax
from hepbench.training.objectives import prefix_of, total
from hepbench.training.validation import validate

RATE = 0.02
HEAD = Objective(classification, {"head": RATE})
ALL = Objective(classification, {"encoder": RATE, "head": RATE})
OWN = Objective(pretraining, {"encoder": RATE})


def fit(network, *objectives, data=None, seed=0, **training):
    """Train for a few steps; return the context."""
    context = tinynets.context(seed)
    told = {"epochs": 2, "batch_size": 50, **training}
    context.fit(network, data or tinynets.data(), *(objectives or [ALL]), **told)
    return context


def changed(network, before):
    """Return the names of the tensors that a training changed."""
    after = network.state_dict()
    return {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


class Given(nn.Module):
    """An encoder for tests of the loop, built from given terms and term weights."""

    def __init__(self, terms, term_weights=None):
        super().__init__()
        self.layer = nn.Linear(nets.FEATURES, 2)
        self.pretraining_terms = terms
        if term_weights:
            self.term_weights = term_weights

    def encode(self, inputs):
        return self.layer(inputs["table"])


def given_network(terms, term_weights=None):
    network = tinynets.fresh()
    network.encoder = Given(terms, term_weights)
    return network


# --- what is trained and what is frozen


def test_what_no_rate_names_is_frozen_buffers_too():
    """A probe leaves the encoder bit-identical: weights and batch norm statistics."""
    network = tinynets.fresh().with_head("probe")
    before = tinynets.state(network)
    fit(network, HEAD)
    names = changed(network, before)
    assert {name.split(".")[0] for name in names} == {"head"}
    assert "head.0.running_mean" in names


def test_a_part_inside_the_encoder_can_be_trained_alone():
    """The batch norm before the last layer keeps its weights and statistics."""
    network = tinynets.fresh().with_head()
    before = tinynets.state(network)
    fit(network, Objective(classification, {"encoder.blocks.4": RATE}))
    assert changed(network, before) == {"encoder.blocks.4.weight", "encoder.blocks.4.bias"}


def test_modules_that_no_rate_names_stay_in_eval_mode():
    """Dropout is active only in modules that are trained."""
    network = tinynets.fresh().with_head()
    seen = []

    def terms(network, batch):
        seen.append({name for name, m in network.named_modules() if m.training})
        return classification(network, batch)

    fit(network, Objective(terms, {"encoder.blocks.4": RATE, "head": RATE}), epochs=1)
    assert seen[0] == {"encoder.blocks.4", "head"}
    assert seen[-1] == set()
    assert not any(module.training for module in network.modules())


def test_preprocessing_is_never_trained():
    """A learning rate for all parts does not change preprocessing."""
    network = tinynets.fresh().with_head()
    network.preprocess.steps[0].weight = nn.Parameter(torch.ones(1))
    before = tinynets.state(network)
    fit(network, Objective(classification, {"": RATE}))
    assert not any(name.startswith("preprocess") for name in changed(network, before))


def test_the_longest_prefix_gives_the_rate():
    """Each part is trained with its own rate, which the history holds."""
    network = tinynets.fresh().with_head()
    rates = {"": 0.1, "encoder": 0.01, "encoder.blocks.4": 0.001}
    context = fit(network, Objective(classification, rates), epochs=1)
    row = context.history[0]
    assert row["learning_rate.all"] == 0.1
    assert row["learning_rate.encoder"] == 0.01
    assert row["learning_rate.encoder.blocks.4"] == 0.001


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3), min_size=1))
def test_a_prefix_matches_whole_names_only(parts):
    """``block`` is not a prefix of ``blocks.0``."""
    prefixes = [".".join(part) for part in parts]
    for name in ("a.b.c", "ab.c", "c"):
        found = prefix_of(name, prefixes)
        fits = [p for p in prefixes if (name + ".").startswith(p + ".")]
        assert found == max(fits, key=len, default=None)


def test_a_rate_for_nothing_is_an_error():
    """The message lists the parts of the network."""
    with pytest.raises(
        PluginError, match="the network has no parameters in 'haed'; allowed parts: enc"
    ):
        fit(tinynets.fresh().with_head(), Objective(classification, {"haed": RATE}))


@pytest.mark.parametrize("rates", [{}, {"head": 0.0}, {"head": -1.0}, {"head": float("nan")}])
def test_rates_are_above_zero(rates):
    """To freeze a part, leave out its name."""
    with pytest.raises(PluginError, match="must be above 0; got"):
        Objective(classification, rates)


# --- objectives


def test_two_objectives_do_not_leak_gradients_into_each_other():
    """Parameters of one objective train the same with and without the other objective."""
    data = tinynets.data()

    def decoder(rate_of_head):
        network = tinynets.fresh("vae", kl_warmup=0).with_head()
        side = Objective(pretraining, {"encoder.decoder": RATE})
        other = Objective(classification, {"head": rate_of_head})
        fit(network, side, other, data=data, epochs=1)
        return network.encoder.decoder[0].weight, network.head[0].weight

    (one, head), (two, other_head) = decoder(RATE), decoder(RATE / 2)
    assert torch.equal(one, two)
    assert not torch.equal(head, other_head)


def test_an_objective_adds_no_gradient_to_parameters_of_another():
    """The encoder, trained by the first, gets no gradient from the second's pass through it."""
    gradients = []

    def second(network, batch):
        gradients.append([p.grad.clone() for p in network.encoder.hidden.parameters()])
        return classification(network, batch)

    network = tinynets.fresh("vae").with_head()
    first = Objective(pretraining, {"encoder.hidden": RATE})
    seen = []

    def after(network, batch):
        seen.append([p.grad.clone() for p in network.encoder.hidden.parameters()])
        return {"nothing": network(batch.inputs).sum(1) * 0}

    order = [first, Objective(second, {"head": RATE}), Objective(after, {"encoder.mean": RATE})]
    fit(network, *order, epochs=1, data=tinynets.data(50), batch_size=50)
    assert all(torch.equal(a, b) for a, b in zip(gradients[0], seen[0], strict=True))


def test_each_objective_has_its_own_optimiser_and_schedule():
    """A plateau of one objective does not lower the rate of the other."""
    flat = {"name": "ReduceLROnPlateau", "patience": 0, "factor": 0.1}
    network = tinynets.fresh("vae", kl_warmup=0).with_head()

    def constant(network, batch):
        return {"constant": network(batch.inputs).sum(1) * 0 + 1}

    context = fit(network, OWN, Objective(constant, {"head": RATE}), epochs=4, schedule=flat)
    assert context.history[-1]["learning_rate.encoder"] == RATE
    assert context.history[-1]["learning_rate.head"] < RATE / 5


def test_the_history_distinguishes_two_objectives_on_one_part():
    """Each has its own rate; two terms of the same name are refused."""
    context = fit(tinynets.fresh("vae").with_head(), OWN, ALL, epochs=1)
    assert {"learning_rate.encoder", "learning_rate.encoder.2", "learning_rate.head"} <= set(
        context.history[0]
    )
    with pytest.raises(PluginError, match="two objectives have a term named 'cross_entropy'"):
        fit(tinynets.fresh().with_head(), ALL, ALL, epochs=1)


def test_terms_have_one_value_for_each_example():
    """A term that is already a mean cannot be weighted, and is refused."""
    scalar = Objective(lambda n, b: {"x": n(b.inputs).mean()}, {"encoder": RATE})
    with pytest.raises(PluginError, match=r"term 'x' has shape \(\) for 50 examples"):
        fit(tinynets.fresh(), scalar)


def test_classification_needs_a_head_and_labels():
    """The message names what is missing."""
    with pytest.raises(PluginError, match="needs a head"):
        fit(tinynets.fresh(), Objective(classification, {"encoder": RATE}))
    with pytest.raises(PluginError, match="needs labels"):
        fit(tinynets.fresh().with_head(), data=tinynets.data().without_labels())


# --- against a loop written out by hand


@pytest.mark.parametrize("name", ["AdamW", "Adam", "SGD"])
def test_the_loop_equals_a_loop_written_by_hand(name):
    """Same batches and optimiser give the same weights, bit for bit."""
    options = {"weight_decay": 0.1} if name != "SGD" else {"momentum": 0.9}
    data = tinynets.data()
    network = tinynets.fresh(dropout=0.0).with_head()
    twin = tinynets.fresh(dropout=0.0).with_head()
    fit(network, data=data, epochs=1, optimizer={"name": name, **options})
    x, y = twin.preprocess({"table": torch.tensor(data.train.inputs["table"])}), data.train.labels
    made = getattr(torch.optim, name)([*twin.encoder.parameters(), *twin.head.parameters()],
                                      lr=RATE, fused=True, **options)  # fmt: skip
    twin.train()
    for rows in torch.from_numpy(np.random.default_rng(0).permutation(200)).split(50):
        made.zero_grad()
        logits = twin({"table": x["table"][rows]})
        functional.cross_entropy(logits, torch.tensor(y)[rows]).backward()
        made.step()
    assert tinynets.same(tinynets.state(network), tinynets.state(twin))


def test_the_same_seed_gives_identical_weights_and_another_does_not():
    """The order of examples, dropout and sampling follow from the seed."""

    def trained(seed):
        network = tinynets.fresh("vae").with_head()
        context = fit(network, OWN, ALL, seed=seed)
        return tinynets.state(network), context.history

    (one, first), (two, second), (three, _) = trained(0), trained(0), trained(1)
    assert tinynets.same(one, two)
    assert first == second
    assert not tinynets.same(one, three)


def test_clipping_bounds_the_step():
    """With plain SGD no step is longer than learning rate times norm."""
    network = tinynets.fresh().with_head()
    before = torch.cat([p.detach().flatten().clone() for p in network.parameters()])
    fit(network, epochs=1, batch_size=200, gradient_clip=1e-3, optimizer={"name": "SGD"})
    after = torch.cat([p.detach().flatten() for p in network.parameters()])
    assert 0 < (after - before).norm() <= RATE * 1e-3 * 1.001


def test_zero_epochs_apply_the_masks_and_train_nothing():
    """This is used for pruning without further training."""
    network = tinynets.fresh().with_head()
    network.masks = {"head.weight": torch.zeros_like(network.head.weight).bool()}
    before = tinynets.state(network)
    context = fit(network, epochs=0)
    assert changed(network, before) == {"head.weight"}
    assert not network.head.weight.any()
    assert (context.history, context.best) == ([], None)


# --- weights of examples


@settings(deadline=None, max_examples=5)
@given(st.sampled_from([0.25, 8.0, 1024.0]))
def test_only_ratios_of_example_weights_matter(factor):
    """Cross sections in other units train the same network."""
    weights = np.random.default_rng(0).uniform(0.5, 2, 200)

    def trained(scale):
        network = tinynets.fresh().with_head()
        data = tinynets.data(100)
        data = replace(data, train=tinynets.examples(200, weights=weights * scale),
                       validation=tinynets.examples(100, 200, weights=weights[:100] * scale))  # fmt: skip
        return fit(network, data=data, epochs=1), tinynets.state(network)

    (one, a), (two, b) = trained(1.0), trained(factor)
    assert tinynets.same(a, b)
    assert one.history[0]["loss"] == pytest.approx(two.history[0]["loss"], rel=1e-9)


def test_an_example_of_weight_zero_has_no_effect():
    """It changes neither gradients nor validation."""
    data = tinynets.data(100)
    wrong = data.train.labels.copy()
    wrong[::4] = 1 - wrong[::4]
    weights = np.where(np.arange(100) % 4 == 0, 0.0, 1.0)

    def trained(labels):
        network = tinynets.fresh().with_head()
        part = replace(data.train, labels=labels, weights=weights)
        held = replace(data.validation, labels=1 - data.validation.labels, weights=weights[:50])
        held = replace(held, labels=np.where(weights[:50] > 0, data.validation.labels, labels[:50]))
        return fit(network, data=replace(data, train=part, validation=held)), network

    (one, a), (two, b) = trained(data.train.labels), trained(wrong)
    assert tinynets.same(tinynets.state(a), tinynets.state(b))
    for row, other in zip(one.history, two.history, strict=True):
        assert row == pytest.approx(other, rel=1e-12)


def test_the_loss_is_the_weighted_mean_of_weighted_terms():
    """The expected value is computed by hand."""
    terms = {"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([10.0, 20.0])}
    assert total(terms, {}, None) == 17
    assert total(terms, {"b": 0.1}, None) == pytest.approx(3.5)
    assert total(terms, {"b": 0.1}, torch.tensor([0.5, 1.5])) == pytest.approx(4.25)


# --- validation


def job(network, data, *objectives, **training):
    told = fit_settings.fit_settings({"epochs": 1, "batch_size": 30, **training})
    parts = (data.train, data.validation)
    device = torch.device("cpu")
    sources = [batches.source(part, network.preprocess, device=device) for part in parts]
    return fit_settings.FitJob(train=sources[0], validation=sources[1], objectives=objectives,
                        training=told, seed=5)  # fmt: skip


@pytest.mark.parametrize("size", [7, 30, 100])
def test_validation_does_not_depend_on_the_batch_size(size):
    """The loss is a mean over examples, and metrics use all of them at once."""
    data = tinynets.data()
    network = tinynets.fresh().with_head()
    losses, row = validate(network, job(network, data, ALL, batch_size=size), {})
    inputs = network.preprocess({"table": torch.tensor(data.validation.inputs["table"])})
    logits, labels = network.eval()(inputs).detach(), data.validation.labels
    expected = functional.cross_entropy(logits.double(), torch.tensor(labels)).item()
    predictions = Predictions(labels=labels, scores=softmax(logits))
    assert losses == [pytest.approx(expected, rel=1e-6)]
    assert row["auc"] == pytest.approx(metrics.auc(predictions).value, abs=1e-9)


def test_validation_restores_random_generators_and_modes():
    """A term may draw random numbers without changing the training."""

    def noisy(network, batch):
        drawn = torch.rand(len(batch)) + np.random.rand() + random.random()  # noqa: NPY002
        return {"noise": drawn + network(batch.inputs).sum(1) * 0}

    network = tinynets.fresh().with_head()
    network.train()
    network.encoder.blocks[1].eval()
    modes = [module.training for module in network.modules()]
    told = job(network, tinynets.data(), Objective(noisy, {"head": RATE}))

    def draws():
        return torch.rand(2).tolist(), np.random.rand(), random.random()  # noqa: NPY002

    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    expected = draws()
    torch.set_rng_state(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    random.setstate(states[2])
    first = validate(network, told, {})
    assert draws() == expected
    assert validate(network, told, {}) == first
    assert [module.training for module in network.modules()] == modes


def test_terms_are_not_sampled_in_validation():
    """In eval mode they depend neither on the seed nor on the batches."""
    network = tinynets.fresh("vae")
    data = tinynets.data()
    rows = [
        validate(network, replace(job(network, data, OWN, batch_size=size), seed=seed), {})[1]
        for size, seed in ((10, 1), (100, 2))
    ]
    assert rows[0] == pytest.approx(rows[1], rel=1e-6)


def test_loss_and_metrics_share_one_forward_pass():
    """Metrics reuse the logits that classification computed."""
    network = tinynets.fresh().with_head()
    calls = []
    network.register_forward_hook(lambda *_: calls.append(1))
    validate(network, job(network, tinynets.data(), ALL, batch_size=50), {})
    assert len(calls) == 2


def test_the_weights_of_the_best_epoch_are_kept():
    """The returned network has the best validation loss of the history."""
    data = tinynets.data(60)
    network = tinynets.fresh("dense", width=32, dropout=0.0).with_head()
    context = fit(network, data=data, epochs=20, batch_size=20)
    losses = [row["loss"] for row in context.history]
    assert 0 < context.best == int(np.argmin(losses)) < 19
    (found,), _ = validate(network, job(network, data, ALL), {})
    assert found == pytest.approx(losses[context.best], rel=1e-6)


@pytest.mark.parametrize("monitor", ["auc", "cross_entropy", "accuracy"])
def test_the_best_epoch_can_follow_a_metric_or_one_term(monitor):
    """Best is the highest metric or the lowest term, and the first among equals."""
    context = fit(tinynets.fresh().with_head(), epochs=5, monitor=monitor)
    figures = [row[monitor] for row in context.history]
    best = min(figures) if monitor == "cross_entropy" else max(figures)
    assert context.best == figures.index(best)


def test_an_unknown_monitor_is_an_error():
    """An encoder has no AUC; the message lists what it has."""
    with pytest.raises(
        UsageError, match="monitor is 'auc'; allowed here: loss, reconstruction, kl"
    ):
        fit(tinynets.fresh("vae"), OWN, monitor="auc")


# --- annealed terms


def test_epochs_are_compared_at_final_term_weights():
    """Validation uses the final weight of the second term in all epochs; training does not."""
    network = tinynets.fresh("vae", kl_warmup=1.0)
    context = fit(network, OWN, epochs=3)
    for row in context.history:
        assert row["loss"] == pytest.approx(row["reconstruction"] + row["kl"])
    assert context.history[0]["train_loss"] < context.history[0]["loss"]


def test_training_uses_the_current_term_weights():
    """Progress rises from 0 towards 1, step by step."""
    asked = []

    def term_weights(progress):
        asked.append(progress)
        return {}

    network = given_network(lambda inputs: {"x": network.encode_sum(inputs)}, term_weights)
    network.encode_sum = lambda inputs: network.encoder.encode(inputs).square().sum(1)
    fit(network, OWN, epochs=2, batch_size=50)
    steps = sorted({p for p in asked if p < 1})
    assert steps == pytest.approx([i / 8 for i in range(8)])


def test_patience_starts_when_term_weights_are_final():
    """Before that, a rising loss does not stop the training."""
    network = given_network(None, lambda progress: {"late": min(1.0, progress / 0.5)})

    def terms(inputs):
        x = network.encoder.encode(inputs).sum(1)
        # what training lowers grows in validation
        return {"late": x if network.encoder.training else -x}

    network.encoder.pretraining_terms = terms
    context = fit(network, OWN, epochs=10, patience=2, batch_size=200)
    # final after epoch 4, then two epochs of patience
    assert [row["epoch"] for row in context.history] == list(range(7))
    assert context.best == 0


def test_patience_stops_after_epochs_without_improvement():
    """With constant term weights it counts from the best epoch."""
    network = given_network(lambda inputs: {"x": network.encoder.encode(inputs).sum(1) * 0})
    context = fit(network, OWN, epochs=10, patience=3)
    assert len(context.history) == 4


# --- schedules


EXPECTED = {
    "StepLR": ({"step_size": 2, "gamma": 0.5}, [1, 1, 0.5, 0.5]),
    "CosineAnnealingLR": ({}, [1, 0.853553, 0.5, 0.146447]),
    "CosineAnnealingWarmRestarts": ({"T_0": 2}, [1, 0.5, 1, 0.5]),
    "ReduceLROnPlateau": ({"patience": 1, "factor": 0.5}, [1, 1, 1, 0.5]),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_rates_follow_the_schedule(name):
    """Expected values are computed by hand; the history holds the rate of each epoch."""
    options, factors = EXPECTED[name]
    network = given_network(lambda inputs: {"x": network.encoder.encode(inputs).sum(1) * 0})
    context = fit(network, OWN, epochs=4, schedule={"name": name, **options})
    assert [row["learning_rate.encoder"] / RATE for row in context.history] == pytest.approx(
        factors, abs=1e-6
    )


WRONG = {
    "epoch": ({"epoch": 3}, "no setting named 'epoch'. Did you mean 'epochs'"),
    "kind": ({"epochs": "many"}, "epochs is 'many'; a whole number of at least 0"),
    "negative": ({"epochs": -1}, "epochs is -1; a whole number of at least 0"),
    "empty": ({"batch_size": 0}, "batch_size is 0; a whole number of at least 1"),
    "gradient_clip": ({"gradient_clip": 0.0}, "gradient_clip is 0.0; a number above 0"),
    "optimizer": ({"optimizer": {"name": "Adma"}}, "is 'Adma'; one of AdamW, Adam, SGD is"),
    "its option": ({"optimizer": {"name": "SGD", "speed": 1}}, "optimizer SGD: .*speed"),
    "schedule": (
        {"schedule": {"name": "Cosine"}},
        "is 'Cosine'; one of ReduceLROnPlateau, StepLR,",
    ),
    "no list": ({"augment": "flips"}, "training: Expected `array`"),
    "precision": ({"precision": "half"}, "is 'half'; one of float32, bf16, fp16 is expected"),
    "old name": ({"clip": 1.0}, "^training: 'clip' is now 'gradient_clip'$"),
    "augment": ({"augment": ["flip"]}, "no augmentation named 'flip'. Did you mean 'flips'"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_training_setting_is_one_line(what):
    """The message names the key, the value and what is allowed."""
    training, message = WRONG[what]
    context = tinynets.context(augmentation_functions={"flips": "nets:flipped"})
    with pytest.raises(UsageError, match=message):
        context.fit(tinynets.fresh().with_head(), tinynets.data(), ALL, **training)


def test_default_parameters_equal_default_settings():
    """A method that passes the defaults of TRAINING trains as one that passes nothing."""
    assert fit_settings.fit_settings(defaults(TRAINING)) == fit_settings.fit_settings({})


def test_a_training_that_diverges_is_an_error():
    """A loss that is not finite cannot make an epoch the best."""
    network = given_network(lambda inputs: {"x": network.encoder.encode(inputs).sum(1) / 0})
    with pytest.raises(FloatingPointError, match=r"validation loss is .* after epoch 0"):
        fit(network, OWN)


# --- masks, augmentations, batches


@pytest.mark.parametrize("optimizer", [{"name": "AdamW"}, {"name": "SGD", "momentum": 0.9}])
def test_masked_weights_are_zero_after_every_step(optimizer):
    """Momentum and weight decay do not change them in any forward pass."""
    network = tinynets.fresh().with_head()
    weight = network.encoder.blocks[0].weight
    mask = torch.rand_like(weight) < 0.5
    network.masks = {"encoder.blocks.0.weight": mask}
    seen = []

    def terms(network, batch):
        seen.append(bool(weight[~mask].any()))
        return classification(network, batch)

    fit(network, Objective(terms, {"": RATE}), optimizer=optimizer)
    assert not any(seen)
    assert not weight[~mask].any()
    assert weight[mask].all()


def test_only_training_batches_are_augmented():
    """Validation uses the examples unchanged."""
    context = tinynets.context(augmentation_functions={"flips": "nets:flipped"})
    network = tinynets.fresh().with_head()
    seen = {True: [], False: []}

    def terms(network, batch):
        seen[network.head.training].append(batch.inputs["table"].clone())
        return classification(network, batch)

    data = tinynets.data()
    objective = Objective(terms, {"head": RATE})
    context.fit(network, data, objective, epochs=1, batch_size=200, augment=["flips"])
    made = network.preprocess({"table": torch.tensor(data.validation.inputs["table"])})["table"]
    assert torch.equal(seen[False][0], made)
    made = network.preprocess({"table": torch.tensor(data.train.inputs["table"])})["table"]
    order = torch.from_numpy(np.random.default_rng(0).permutation(200))
    signs = seen[True][0] / made[order]
    assert set(signs.round().unique().tolist()) == {-1.0, 1.0}


@given(st.integers(1, 300), st.integers(1, 50))
def test_batches_hold_every_example_once(n, size):
    """No batch has a single example, unless there is only one example."""
    order = np.random.default_rng(n).permutation(n)
    found = [rows.tolist() for rows in batches.spans(n, size, order)]
    assert [row for rows in found for row in rows] == order.tolist()
    assert all(len(rows) > 1 for rows in found[-1:]) or n == 1 or size == 1
    plain = [list(range(n))[rows] for rows in batches.spans(n, size)]
    assert [row for rows in plain for row in rows] == list(range(n))


@pytest.mark.parametrize(("least", "passes"), [(1, 1), (4, 1), (5, 2), (10, 3)])
def test_an_epoch_repeats_few_examples_to_reach_its_minimum_of_steps(least, passes):
    """Whole passes are repeated: each example is used equally often."""
    seen = []

    def terms(network, batch):
        seen.extend(batch.ids.tolist() if network.training else [])
        return classification(network, batch)

    fit(tinynets.fresh().with_head(), Objective(terms, {"": RATE}), min_steps=least, epochs=2)
    assert sorted(seen) == sorted([*tinynets.data().train.ids] * passes * 2)


@pytest.mark.parametrize("n", [99, 100, 101, 102])
def test_term_weights_know_the_number_of_steps(n):
    """A single example left over joins the last batch, which saves a step."""
    told = []

    def weights(progress):
        told.append(progress)
        return {"x": 1.0}

    network = given_network(
        lambda inputs: {"x": network.encoder.encode(inputs).sum(1) ** 2}, weights
    )
    fit(network, OWN, data=tinynets.data(n), epochs=2)
    trained = sorted({progress for progress in told if progress < 1})
    steps = 2 * len(list(batches.spans(n, 50)))
    assert trained == [i / steps for i in range(steps)]


def test_streamed_batches_equal_batches_in_memory():
    """Inputs are preprocessed batch by batch, or all at once."""
    weights = np.linspace(1, 2, 100)
    part = tinynets.examples(100, weights=weights, spectators={"mass": weights * 3})
    preprocess = tinynets.fresh().preprocess
    device = torch.device("cpu")
    sources = [batches.source(part, preprocess, device=device, limit=n) for n in (10**9, 0)]
    assert [type(source) for source in sources] == [
        batches.InMemoryBatches,
        batches.StreamedBatches,
    ]
    for rows in (slice(10, 20), torch.tensor([5, 3, 99])):
        one, two = (source.batch(rows) for source in sources)
        assert torch.equal(one.inputs["table"], two.inputs["table"])
        assert torch.equal(one.ids, two.ids)
        assert torch.equal(one.spectators["mass"], two.spectators["mass"])
        assert torch.equal(one.labels, torch.tensor(part.labels)[rows])


def test_read_only_arrays_are_copied():
    """Masks stay bool, neighbours become int64, and all other inputs float32."""
    array = np.arange(4, dtype=np.float64)
    array.flags.writeable = False
    made = batches.dense("table", array, torch.device("cpu"))
    made.add_(1)
    assert made.dtype == torch.float32
    assert batches.dense("mask", array > 1, torch.device("cpu")).dtype == torch.bool
    assert batches.dense("neighbours", array, torch.device("cpu")).dtype == torch.int64


def test_latents_and_batches_are_computed_in_eval_mode():
    """A method gets from the context what scoring will compute."""
    network = tinynets.fresh().with_head()
    network.train()
    context, data = tinynets.context(), tinynets.data()
    codes = context.encode(network, data.validation)
    assert network.training
    inputs = network.preprocess({"table": torch.tensor(data.validation.inputs["table"])})
    assert np.array_equal(codes, network.eval().encoder.encode(inputs).detach().numpy())
    ids = [batch.ids for batch in context.batches(network, data.validation, 30)]
    assert torch.cat(ids).tolist() == data.validation.ids.tolist()


def test_a_second_training_extends_the_history():
    """Iterative pruning trains repeatedly; the best epoch is that of the last training."""
    network, data, context = tinynets.fresh().with_head(), tinynets.data(), tinynets.context()
    for _ in range(2):
        context.fit(network, data, ALL, epochs=2, batch_size=50)
    assert [(row["fit"], row["epoch"]) for row in context.history] == [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    ]
    assert context.best in {2, 3}


def test_progress_shows_epoch_rate_and_time_left():
    """They stand in the text given to report_progress."""
    said = []
    context = tinynets.context(report_progress=said.append)
    context.fit(tinynets.fresh().with_head(), tinynets.data(), ALL, epochs=1, batch_size=50)
    assert said[0].startswith("epoch 1/1, ")
    assert "examples/s" in said[0]


def test_metrics_of_training_batches_are_those_of_their_scores():
    """Where a step changes next to nothing, they are the metrics of the training part."""
    data = tinynets.data()
    network = tinynets.fresh("dense", dropout=0.0).with_head()
    still = Objective(classification, {"head": 1e-12})
    (row,) = fit(network, still, data=data, epochs=1).history
    inputs = network.preprocess({"table": torch.tensor(data.train.inputs["table"])})
    scores = softmax(network.eval()(inputs).detach())
    predictions = Predictions(labels=data.train.labels, scores=scores)
    assert row["train_auc"] == pytest.approx(metrics.auc(predictions).value, abs=1e-6)
    assert row["train_accuracy"] == metrics.accuracy_at_half(predictions).value


def test_only_a_classifier_has_metrics_of_training_batches():
    """No epoch is chosen by them."""
    (row,) = fit(tinynets.fresh("vae"), OWN, epochs=1).history
    assert not {"train_auc", "train_accuracy"} & row.keys()
    with pytest.raises(UsageError, match="monitor is 'train_auc'"):
        fit(tinynets.fresh().with_head(), monitor="train_auc")


def validating(validation, received, **changed):
    """Train with some validation examples, of those that the method received."""
    network, data = tinynets.fresh().with_head(), tinynets.data()
    context = tinynets.context(validation=received)
    data = TrainingData(train=data.train, validation=replace(validation, **changed))
    return context.fit(network, data, ALL, epochs=1, batch_size=50)


def test_a_training_may_validate_on_all_or_some_of_what_the_method_received():
    """With other labels, weights or ids, fewer inputs, in any order; as its own data or copied."""
    received = tinynets.data().validation
    more = {**received.inputs, "unused": np.zeros((100, 3))}
    copied = {"table": received.inputs["table"].copy()}
    validating(received, received)
    validating(received, received, labels=1 - received.labels, weights=np.ones(100))
    validating(received[np.arange(40)[::-1]], received)
    validating(received, received, ids=received.ids + 1000)
    validating(received, replace(received, inputs=more), inputs=copied)


@pytest.mark.parametrize(
    ("before", "after"), [("f4", "f8"), ("f8", "f4"), ("i2", "f4"), ("u1", "i8"), ("f4", "f2")]
)
def test_validation_inputs_may_be_numbers_of_another_type(before, after):
    """A copy as another type is the same examples; other examples are not, as whatever type."""
    received = whole_numbers(0).astype(before) + np.array(0.1).astype(before)
    given = replace(
        numbered(received), inputs={"table": received[:30].astype(after)}, ids=np.arange(30)
    )
    promises.check_validation(given, numbered(received))
    other = numbered(whole_numbers(1).astype(after))
    with pytest.raises(ProtocolError, match="100 of 100"):
        promises.check_validation(other, numbered(received))


def whole_numbers(seed):
    return np.random.default_rng(seed).integers(0, 100, (100, 8))


def numbered(table):
    return Examples(inputs={"table": table}, ids=np.arange(len(table)))


def test_a_training_without_validation_examples_is_refused():
    """In one line, whatever the method received."""
    received = tinynets.data().validation
    for known in (received, received[:0]):
        with pytest.raises(ProtocolError, match="a training has no validation examples"):
            validating(received[:0], known)


def swapped(network, data, context):
    """A method that assigns training inputs to its validation examples."""
    data.validation.inputs["table"] = data.train.inputs["table"][:100]
    return context.fit(context.with_head(network), data, ALL, epochs=1, batch_size=50)


def test_what_a_method_assigns_to_its_validation_examples_is_noticed(monkeypatch):
    """Its data and what they are compared with are two mappings."""
    monkeypatch.setattr(network_runs, "resolve", lambda name: swapped)
    task = tinynets.task("dense", tinynets.BUILDS["dense"])
    with pytest.raises(ProtocolError, match="100 of 100 validation examples"):
        network_runs.run(task, tinynets.data(), before=(), seed=0, report_progress=lambda _: None)


@pytest.mark.parametrize("ids", ["new", "of validation"])
def test_a_training_does_not_validate_on_other_examples(ids):
    """Whatever their ids say: 30 training examples among 100, as an early stop would see them."""
    data = tinynets.data()
    received, table = data.validation, data.validation.inputs["table"].copy()
    table[:30] = data.train.inputs["table"][:30]
    more = {"ids": received.ids + 1000} if ids == "new" else {}
    said = "30 of 100 validation examples of a training are none of those that the method received"
    with pytest.raises(ProtocolError, match=said):
        validating(received, received, inputs={"table": table}, **more)


def test_validation_inputs_may_be_dense_where_the_method_received_sparse_images():
    """They are the same images; others are not."""
    dense = np.random.default_rng(0).poisson(0.2, (20, 2, 4, 4)).astype(np.float32)
    ids = np.arange(20)
    received = Examples(inputs={"image": SparseImages.from_dense(dense)}, ids=ids)
    promises.check_validation(Examples(inputs={"image": dense}, ids=ids)[5:], received)
    promises.check_validation(received[5:], Examples(inputs={"image": dense}, ids=ids))
    with pytest.raises(ProtocolError, match="20 of 20"):
        promises.check_validation(Examples(inputs={"image": dense + 1}, ids=ids), received)
    with pytest.raises(ProtocolError, match="20 of 20"):
        promises.check_validation(Examples(inputs={"other": dense}, ids=ids), received)
