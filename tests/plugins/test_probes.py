"""The rungs on a frozen encoder: nearest neighbours, a linear probe and a perceptron."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hepbench_methods import knn, linear_probe
from needs import needs_extra
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, pairwise_distances
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from test_networks import METHODS, fresh, latents_of, rows, run
from torch.nn import functional

from hepbench import DataError, HepbenchError, TrainingData
from hepbench.cost import counting, export, onnx_runtime, tracing
from hepbench.specs.parameters import defaults
from hepbench.training.context import NetworkContext
from hepbench.training.networks import scoring

CASES = pytest.mark.parametrize("classes", [2, 3])
THIRDS = torch.tensor([1 / 3, 2 / 3], dtype=torch.float64)
WEIGHTED = pytest.mark.parametrize("weighted", [False, True])


def made(classes, weighted, n=200):
    """Return examples of some classes, whose latents overlap, perhaps with weights."""

    def part(n, first):
        examples = rows(n, first=first)
        labels = np.arange(n) * 7 % classes
        table = examples.inputs["table"].copy()
        table[:, 1] += 1.5 * labels
        weights = np.random.default_rng(first).uniform(0.2, 2, n) if weighted else None
        return replace(examples, inputs={"table": table}, labels=labels, weights=weights)

    return TrainingData(train=part(n, 0), validation=part(100, 1000), classes=classes)


def built(data):
    """Return a new perceptron for as many classes."""
    torch.manual_seed(0)
    network = fresh("mlp", data)
    assert network.recipe.classes == data.classes
    return network


# --- linear probe


@CASES
@WEIGHTED
def test_the_probe_scores_as_scikit_learn_on_the_same_latents(classes, weighted):
    """Standardised, with the same penalty and weights, every probability to 1e-5."""
    data = made(classes, weighted)
    network = run("linear-probe", built(data), data, strengths=[0.1])
    train, others = (latents_of(network, part) for part in (data.train, data.validation))
    weights = data.train.weights
    scaler = StandardScaler().fit(train, sample_weight=weights)
    theirs = LogisticRegression(C=0.1, tol=1e-10, max_iter=10_000)
    theirs.fit(scaler.transform(train), data.train.labels, sample_weight=weights)
    expected = theirs.predict_proba(scaler.transform(others))
    found = scoring.scores(network, data.validation.inputs)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert expected.std(0).min() > 0.05


@CASES
def test_no_other_head_has_a_lower_penalised_loss(classes):
    """The gradient of C x the summed cross-entropy + |w|^2 / 2 is zero, by torch's own derivatives."""
    data, strength = made(classes, weighted=True), 0.3
    network = run("linear-probe", built(data), data, strengths=[strength])
    norm, linear = network.head
    latents = torch.tensor(latents_of(network, data.train))
    scaled = (latents - norm.running_mean) / norm.running_var.sqrt()
    weight = linear.weight.detach().double().requires_grad_()
    bias = linear.bias.detach().double().requires_grad_()
    labels, weights = torch.tensor(data.train.labels), torch.tensor(data.train.weights)
    losses = functional.cross_entropy(scaled @ weight.T + bias, labels, reduction="none")
    # of two classes scikit-learn penalises the difference of both rows
    squares = (weight[1] - weight[0]).square() if classes == 2 else weight.square()
    total = strength * (losses * weights).sum() + squares.sum() / 2
    found = torch.autograd.grad(total / len(labels), [weight, bias])
    # at the start, with all weights zero, it is of the order of strength
    assert max(float(g.abs().max()) for g in found) < 1e-5 * strength


def test_the_strength_with_the_least_validation_loss_is_taken():
    """Of all, by trying each alone; events count with their weights."""
    data = made(2, weighted=True, n=30)

    def loss(strengths):
        network = run("linear-probe", built(data), data, strengths=strengths)
        scores = scoring.scores(network, data.validation.inputs)
        return log_loss(data.validation.labels, scores, sample_weight=data.validation.weights)

    several = [1e-4, 0.01, 1.0, 100.0]
    alone = [loss([strength]) for strength in several]
    assert loss(several) == pytest.approx(min(alone))
    assert max(alone) > min(alone) + 0.01


def test_an_example_of_weight_two_counts_like_two():
    """Also in the standardisation of the latents."""
    data = made(2, weighted=False, n=60)
    weights = np.where(np.arange(60) < 20, 2.0, 1.0)
    weighted = replace(data, train=replace(data.train, weights=weights))
    twice = data.train[np.concatenate([np.arange(60), np.arange(20)])]
    repeated = replace(data, train=twice)
    network = built(data)
    found, expected = (
        scoring.scores(run("linear-probe", network, d, strengths=[1.0]), d.validation.inputs)
        for d in (weighted, repeated)
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_the_probe_does_not_depend_on_the_scale_of_the_latents():
    """Also of very small ones, which a frozen encoder may have."""
    data = made(2, weighted=False)

    def scores(factor):
        network = built(data)
        encode = network.encoder.encode
        network.encoder.encode = lambda inputs: factor * encode(inputs)
        probed = run("linear-probe", network, data, strengths=[0.1])
        return scoring.scores(probed, data.validation.inputs)

    np.testing.assert_allclose(scores(1e-4), scores(1.0), rtol=0, atol=1e-4)


def test_a_constant_latent_carries_no_information():
    """It gets no weight, and no score is NaN, in a later training either."""
    found = linear_probe.head(3, 2)
    norm, _ = found
    norm.load_state_dict(
        {"running_mean": torch.zeros(3), "running_var": torch.ones(3)}, strict=False
    )
    batch = torch.tensor([[1.0, 5.0, 2.0], [2.0, 5.0, 4.0], [3.0, 5.0, 7.0]])
    assert torch.isfinite(found.train()(batch)).all()
    data = made(2, weighted=False)
    network = built(data)
    encode = network.encoder.encode
    network.encoder.encode = lambda inputs: encode(inputs) * (torch.arange(12) > 0) + 0.3
    probed = run("linear-probe", network, data)
    assert torch.isfinite(torch.tensor(scoring.scores(probed, data.validation.inputs))).all()
    assert probed.head[1].weight[:, 0].abs().max() < 1e-6


def test_no_row_of_a_head_of_two_classes_is_zero():
    """Zeros would pass for pruned weights."""
    data = made(2, weighted=False)
    weight = run("linear-probe", built(data), data).head[1].weight
    assert torch.equal(weight[0], -weight[1])
    assert (weight != 0).all()


def test_too_few_iterations_and_a_missing_class_are_told():
    """In one line that says what to change."""
    data = made(2, weighted=False)
    with pytest.raises(HepbenchError, match=r"C = 10.0 did not converge in 1 iterations; raise"):
        run("linear-probe", built(data), data, strengths=[10.0], max_iterations=1)
    one = replace(data, train=replace(data.train, labels=np.zeros(200, int)))
    for method in ("linear-probe", "knn"):
        with pytest.raises(DataError, match=f"^{method}: class 1 has no training example"):
            run(method, built(one), one)


# --- nearest neighbours


def by_hand(latents, data, others, *, k, temperature, metric):
    """Return the scores of the nearest neighbours, example by example."""
    weights = np.ones(len(latents)) if data.train.weights is None else data.train.weights
    labels = data.train.labels
    fractions = np.array([weights[labels == c].sum() for c in range(data.classes)]) / weights.sum()
    scores = []
    for other in others:
        if metric == "cosine":
            lengths = np.linalg.norm(latents, axis=1) * np.linalg.norm(other)
            similar = latents @ other / lengths
        else:
            similar = -((latents - other) ** 2).mean(1) / 2
        nearest = np.argsort(-similar)[: k + 1]
        votes = np.exp(similar[nearest] / temperature)
        votes = votes[:k] - votes[k]
        votes /= votes.max()
        sums = fractions.copy()
        for vote, i in zip(votes, nearest, strict=False):
            sums[labels[i]] += vote * weights[i]
        scores.append(sums / sums.sum())
    return np.array(scores)


@CASES
@WEIGHTED
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_neighbours_vote_by_their_similarity(classes, weighted, metric):
    """As a loop over sorted similarities counts them."""
    data = made(classes, weighted)
    given = {"k": 9, "temperature": 0.2, "metric": metric}
    network = run("knn", built(data), data, **given)
    train, others = (latents_of(network, part) for part in (data.train, data.validation))
    weights = data.train.weights
    scaler = StandardScaler().fit(train, sample_weight=weights)
    expected = by_hand(scaler.transform(train), data, scaler.transform(others), **given)
    found = scoring.scores(network, data.validation.inputs)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_the_votes_are_those_of_scikit_learn_but_for_the_vote_of_the_classes():
    """The same neighbours with the same weights; k + 1 of them, the last without a vote."""
    data = made(2, weighted=False)
    network = run("knn", built(data), data, k=7, temperature=0.3, scale="raw")
    train, others = (latents_of(network, part) for part in (data.train, data.validation))

    def votes(distances):
        weights = np.exp(-distances / 0.3)
        return weights - weights[:, -1:]

    theirs = KNeighborsClassifier(8, metric="cosine", weights=votes, algorithm="brute")
    expected = theirs.fit(train, data.train.labels).predict_proba(others)
    exact = votes(np.sort(pairwise_distances(others, train, metric="cosine"))[:, :8])
    total = (exact / exact[:, :1]).sum(1, keepdims=True)
    expected = (total * expected + 0.5) / (total + 1)
    found = scoring.scores(network, data.validation.inputs)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_three_neighbours_vote_as_worked_by_hand():
    """Angles of 0, 60 and 90 degrees: similarities 1, 1/2 and 0, at a temperature of 1/2."""
    head = knn.Neighbours(2, 2, examples=3, k=2, metric="cosine", temperature=0.5)
    directions = torch.tensor([[1.0, 0.0], [0.5, 0.75**0.5], [0.0, 1.0]], dtype=torch.float64)
    votes = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    values = {"latents": directions, "votes": votes, "fractions": THIRDS}
    head.load_state_dict({"mean": torch.zeros(2), "std": torch.ones(2), **values})
    found = head(torch.tensor([[2.0, 0.0]])).softmax(1)[0]
    # e^2 - 1 votes of the first, e - 1 of the second, relative to the first, and one of the classes
    second = 1 / (np.e + 1)
    expected = np.array([second + 1 / 3, 1 + 2 / 3]) / (2 + second)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_two_neighbours_that_change_places_do_not_move_a_score():
    """The k-th and the one after it, of different classes, at nearly the same similarity."""
    head = knn.Neighbours(2, 2, examples=3, k=2, metric="cosine", temperature=0.1)
    angles = torch.tensor([0.1, 0.5, -0.5], dtype=torch.float64)
    values = {
        "mean": torch.zeros(2),
        "std": torch.ones(2),
        "latents": torch.stack([angles.cos(), angles.sin()], 1),
        "votes": torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]),
        "fractions": THIRDS,
    }
    head.load_state_dict(values)
    near = torch.tensor([[1.0, 1e-7], [1.0, -1e-7]], dtype=torch.float64)
    one, other = head(near).softmax(1)
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def test_examples_without_any_difference_have_the_fractions_of_the_classes():
    """Of a dead encoder no example is nearer than another."""
    data = made(2, weighted=False)
    network = built(data)
    encode = network.encoder.encode
    network.encoder.encode = lambda inputs: 0 * encode(inputs) + 1
    scores = scoring.scores(run("knn", network, data), data.validation.inputs)
    np.testing.assert_allclose(scores, 0.5, rtol=0, atol=1e-6)


def test_as_many_examples_are_kept_as_were_asked_for():
    """Drawn by the seed; with no more than k all but one vote, which is told."""
    data = made(2, weighted=False)
    one, other = (run("knn", built(data), data, examples=50, seed=s).head for s in (0, 1))
    assert len(one.latents) == len(other.latents) == 50
    assert not torch.equal(one.latents, other.latents)
    few, context = built(data), NetworkContext(seed=0, head="knn")
    spec = METHODS["knn"]
    found = knn.knn(few, data, context, **{**defaults(spec.params), "examples": 15})
    assert found.head.k == 14
    assert context.warnings == ["knn: of 15 training examples 14 vote, instead of k = 20"]


def test_the_products_with_all_stored_examples_are_counted():
    """A similarity to each of 200 examples by 12 latents, and their votes for 3 classes."""
    data = made(3, weighted=False)
    found = run("knn", built(data), data)
    linear = run("linear-probe", built(data), data)

    def macs(network):
        counted = counting.count(network, tracing.batch(data.train.inputs, 1))
        return counted.macs, counted.gaps

    (voting, gaps), (line, _) = macs(found), macs(linear)
    # the head of the probe has 12 x 3, and its batch normalisation counts nothing
    assert voting - 200 * (12 + 3) == line - 12 * 3
    assert gaps == ()


@needs_extra("hepbench[onnx]")
@CASES
@pytest.mark.parametrize("method", ["knn", "linear-probe", "mlp-probe"])
def test_the_heads_are_exported(method, classes, tmp_path):
    """The ONNX graph scores other examples as torch does, in other batches."""
    data = made(classes, weighted=False)
    network = run(method, built(data), data)
    inputs = data.validation.inputs
    export.export(network, inputs, tmp_path / "network.onnx")
    assert export.check(network, inputs, tmp_path / "network.onnx") <= onnx_runtime.TOLERANCE


# --- perceptron


def test_the_perceptron_finds_what_no_line_separates():
    """Of latents whose product tells the class, on a frozen encoder."""
    rng = np.random.default_rng(0)

    def part(n, first):
        table = rng.normal(size=(n, 7)).astype(np.float32)
        labels = (table[:, 0] * table[:, 1] > 0).astype(int)
        return replace(rows(n, first=first), inputs={"table": table}, labels=labels)

    data = TrainingData(train=part(1500, 0), validation=part(500, 5000))
    network = fresh("mlp", data, width=48)

    def accuracy(method, **params):
        scores = scoring.scores(run(method, network, data, **params), data.validation.inputs)
        return (scores.argmax(1) == data.validation.labels).mean()

    line = accuracy("mlp-probe", hidden=[], epochs=1)
    curved = accuracy("mlp-probe", hidden=[64], epochs=30, learning_rate=1e-2)
    assert curved > line + 0.1


def test_without_a_hidden_layer_it_is_the_head_of_the_linear_probe():
    """Batch normalisation without parameters, and a linear layer."""
    data = made(3, weighted=False)
    layers = run("mlp-probe", built(data), data, hidden=[]).head
    kinds = [type(layer) for layer in layers]
    assert kinds == [type(layer) for layer in run("linear-probe", built(data), data).head]
