"""The estimators and the method that fits them: validation stops them, weights count."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hepbench_datasets import higgs
from hepbench_methods import SCRATCH, hepbench_methods
from hepbench_methods.scratch import scratch
from hepbench_models import GBDT, LOGISTIC, hepbench_models
from needs import REAL_DATA, needs_real_data
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss, roc_auc_score
from skops import io
from threadpoolctl import threadpool_limits

from hepbench import DataError, Estimator, Examples, HepbenchError, TrainingData
from hepbench.registry.plugins import installed
from hepbench.registry.source_digests import SourceDigests
from hepbench.specs.parameters import defaults

ROOT = Path(__file__).parents[2]
SPECS = {"gbdt": GBDT, "logistic": LOGISTIC}
both = pytest.mark.parametrize("name", SPECS)


@pytest.fixture(autouse=True)
def one_thread():
    """As in a worker; two threads on a busy machine wait for each other a hundred times longer."""
    with threadpool_limits(1):
        yield


def build(name, **params):
    module, _, function = SPECS[name].build.partition(":")
    builder = getattr(import_module(module), function)
    return builder({"table": (4,)}, **{**defaults(SPECS[name].params), **params})


def simulated(*, n=600, classes=2, seed=0, spread=1.0):
    """Return training data whose classes lie ``spread`` apart along each of four features."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    table = (rng.normal(size=(n, 4)) + spread * labels[:, None]).astype(np.float32)
    examples = Examples(inputs={"table": table}, ids=np.arange(n), labels=labels)
    half = n // 2
    return TrainingData(train=examples[:half], validation=examples[half:], classes=classes)


def weighted(examples, weights):
    inputs, ids, labels = examples.inputs, examples.ids, examples.labels
    return Examples(inputs=inputs, ids=ids, labels=labels, weights=weights)


def fitted(name, data, *, seed=0, **params):
    estimator = build(name, **params)
    estimator.fit(data, seed=seed)
    return estimator


def nodes(estimator):
    return [tree.nodes for step in estimator.trees._predictors for tree in step]


@both
def test_defaults_are_the_parameters_of_the_builder(name):
    """A parameter of the spec that the builder lacks would stop every run."""
    estimator = build(name)
    assert isinstance(estimator, Estimator)
    parameters = list(inspect.signature(type(estimator)).parameters)
    assert parameters == ["shapes", *SPECS[name].params]
    values = defaults(SPECS[name].params)
    assert json.loads(json.dumps(values)) == values


@both
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_scores_are_probabilities_of_every_class(name, classes):
    """Rows add to 1, and the right class is the likeliest more often than by chance."""
    data = simulated(classes=classes)
    scores = fitted(name, data).scores(data.validation.inputs)
    assert scores.shape == (300, classes)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores.sum(1), 1, rtol=0, atol=1e-12)
    assert (scores.argmax(1) == data.validation.labels).mean() > 1.5 / classes


@both
def test_a_score_depends_on_its_own_example_alone(name):
    """Scored one by one or together, an example gets the same."""
    data = simulated()
    estimator, table = fitted(name, data), data.validation.inputs["table"][:20]
    alone = [estimator.scores({"table": table[i : i + 1]})[0] for i in range(20)]
    np.testing.assert_allclose(estimator.scores({"table": table}), alone, rtol=0, atol=1e-14)


@both
def test_same_seed_same_scores(name):
    """Bit by bit."""
    data = simulated()
    first, second = (fitted(name, data, seed=7).scores(data.train.inputs) for _ in range(2))
    assert np.array_equal(first, second)


def test_another_seed_grows_other_trees():
    """Features are drawn at each node, so the spread over seeds is not zero by construction."""
    data = simulated()
    first, second = (fitted("gbdt", data, seed=seed).scores(data.train.inputs) for seed in (0, 1))
    assert not np.array_equal(first, second)


@both
@pytest.mark.parametrize("classes", [2, 3])
def test_a_stored_estimator_scores_the_same(name, classes):
    """State is JSON and what skops reads with the declared trust, put into a fresh build."""
    data = simulated(classes=classes)
    estimator = fitted(name, data)
    objects = {k: v for k, v in vars(estimator).items() if type(v).__module__.startswith("sklearn")}
    plain = {k: v for k, v in vars(estimator).items() if k not in objects}
    stored = io.dumps(objects)
    assert set(io.get_untrusted_types(data=stored)) == set(estimator.trusts)
    again = build(name)
    vars(again).update(json.loads(json.dumps(plain)))
    vars(again).update(io.loads(stored, trusted=list(estimator.trusts)))
    inputs = data.validation.inputs
    assert np.array_equal(again.scores(inputs), estimator.scores(inputs))
    assert again.history == estimator.history


@both
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("with_weights", [False, True])
def test_history_holds_the_losses_of_the_fit_that_is_kept(name, classes, with_weights):
    """What ``scores`` returns has the losses of ``best_epoch``, the least on validation."""
    data = simulated(classes=classes)
    if with_weights:
        weights = np.random.default_rng(1).uniform(0.1, 3, 300)
        data = TrainingData(
            train=weighted(data.train, weights),
            validation=weighted(data.validation, weights[::-1].copy()),
            classes=classes,
        )
    estimator = fitted(name, data)
    best = estimator.history[estimator.best_epoch]
    for part in ("train", "validation"):
        examples = getattr(data, part)
        scores = estimator.scores(examples.inputs)
        loss = log_loss(examples.labels, scores, sample_weight=examples.weights)
        assert best[f"{part}_loss"] == pytest.approx(loss, rel=1e-6)
    losses = [step["validation_loss"] for step in estimator.history]
    assert best["validation_loss"] == min(losses)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_trees_kept_are_scikit_learns_up_to_the_best_iteration(classes):
    """Its public staged scores, of a fit that keeps every tree, say the same."""
    data = simulated(classes=classes)
    estimator = fitted("gbdt", data, seed=3)
    whole = HistGradientBoostingClassifier(
        **estimator.settings, early_stopping=True, scoring="loss", random_state=3
    ).fit(
        data.train.inputs["table"],
        data.train.labels,
        X_val=data.validation.inputs["table"],
        y_val=data.validation.labels,
    )
    assert whole.n_iter_ > estimator.best_epoch > 0
    staged = list(whole.staged_predict_proba(data.train.inputs["table"]))
    expected = staged[estimator.best_epoch - 1]
    assert np.array_equal(estimator.scores(data.train.inputs), expected)


def test_trees_grow_on_all_training_examples_and_no_other():
    """No hidden split of its own: every root holds each training example once."""
    data = simulated()
    roots = [tree["count"][0] for tree in nodes(fitted("gbdt", data))]
    assert set(roots) == {len(data.train)}


def test_validation_decides_how_many_trees_and_nothing_else():
    """With other validation labels the trees that both keep are the same."""
    data = simulated()
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(300) < 0.3, 1 - data.validation.labels, data.validation.labels)
    validation = Examples(inputs=data.validation.inputs, ids=data.validation.ids, labels=labels)
    one = fitted("gbdt", data)
    other = fitted("gbdt", TrainingData(train=data.train, validation=validation))
    assert one.best_epoch != other.best_epoch
    for a, b in zip(nodes(one), nodes(other), strict=False):
        assert np.array_equal(a, b)


def test_no_tree_is_kept_where_none_helps():
    """Labels that have nothing to do with the features: the shares of the classes remain."""
    data = simulated(spread=0.0, seed=2)
    flipped = Examples(
        inputs=data.train.inputs, ids=data.validation.ids, labels=1 - data.train.labels
    )
    estimator = fitted("gbdt", TrainingData(train=data.train, validation=flipped))
    assert (estimator.best_epoch, estimator.parameters) == (0, 0)
    np.testing.assert_allclose(estimator.scores(data.train.inputs), 0.5)


@both
def test_weights_count(name):
    """Tenfold weight of the signal raises what every example scores."""
    data = simulated()
    weights = np.where(data.train.labels == 1, 10.0, 1.0)
    heavy = TrainingData(
        train=weighted(data.train, weights),
        validation=weighted(data.validation, np.where(data.validation.labels == 1, 10.0, 1.0)),
    )
    inputs = data.validation.inputs
    equal, raised = (fitted(name, d).scores(inputs)[:, 1].mean() for d in (data, heavy))
    assert raised > equal + 0.1


def test_a_weight_of_two_is_an_example_twice():
    """In the scaling, the fit and the choice of C of logistic regression."""
    data = simulated()
    weights = np.where(np.arange(300) % 3 == 0, 2.0, 1.0)
    rows = np.repeat(np.arange(300), weights.astype(int))
    repeated = TrainingData(train=data.train[rows], validation=data.validation)
    single = TrainingData(train=weighted(data.train, weights), validation=data.validation)
    one, other = (fitted("logistic", d).scores(data.validation.inputs) for d in (single, repeated))
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-4)


def test_units_do_not_change_logistic_regression():
    """Features are scaled: GeV or MeV gives the same scores."""
    data = simulated()
    inputs = {"table": data.train.inputs["table"] * np.float32(1024)}
    train = Examples(inputs=inputs, ids=data.train.ids, labels=data.train.labels)
    inputs = {"table": data.validation.inputs["table"] * np.float32(1024)}
    validation = Examples(inputs=inputs, ids=data.validation.ids, labels=data.validation.labels)
    scaled = fitted("logistic", TrainingData(train=train, validation=validation))
    expected = fitted("logistic", data).scores(data.train.inputs)
    np.testing.assert_allclose(scaled.scores(train.inputs), expected, rtol=0, atol=1e-9)


def test_parameters_are_the_fitted_values():
    """A number per node of each tree; a weight per feature and an offset."""
    data = simulated()
    trees = fitted("gbdt", data)
    leaves = sum(int(tree["is_leaf"].sum()) for tree in nodes(trees))
    thresholds = sum(int((tree["is_leaf"] == 0).sum()) for tree in nodes(trees))
    assert trees.parameters == leaves + thresholds > 0
    assert fitted("logistic", data).parameters == 5
    assert fitted("logistic", simulated(classes=3)).parameters == 15


@both
def test_a_class_without_training_example_is_refused(name):
    """It could get no score; the message names the model and the class."""
    data = simulated(classes=3)
    train = data.train[data.train.labels != 1]
    with pytest.raises(DataError, match=f"^{name}: class 1 has no training example; every class"):
        fitted(name, TrainingData(train=train, validation=data.validation, classes=3))


def test_a_fit_that_does_not_converge_is_an_error():
    """It says which C, and which parameter to raise."""
    message = "^logistic: C = 1.0 did not converge in 1 iterations; raise model.max_iterations$"
    with pytest.raises(HepbenchError, match=message):
        fitted("logistic", simulated(), strengths=[1.0], max_iterations=1)


@needs_real_data("higgs/HIGGS.csv.gz")
@pytest.mark.parametrize(
    ("name", "features", "low", "high"),
    [
        ("gbdt", 28, 0.76, 0.81),
        ("gbdt", 21, 0.61, 0.68),
        ("logistic", 28, 0.65, 0.72),
        ("logistic", 21, 0.56, 0.64),
    ],
)
def test_real_higgs_rows_are_told_apart_as_well_as_elsewhere(name, features, low, high):
    """Test AUC within .025 to .04 of .785, .645, .685, .60; trees know what they trained on."""
    _, rows = next(higgs.read(REAL_DATA / "higgs"))
    inputs = higgs.select(rows.inputs, features=features)
    rows = Examples(inputs=inputs, ids=rows.ids, labels=rows.labels)
    order = np.random.default_rng(0).permutation(len(rows))
    train, validation, test = (rows[part] for part in np.split(order, [6586, 8781]))
    estimator = fitted(name, TrainingData(train=train, validation=validation))
    aucs = [roc_auc_score(p.labels, estimator.scores(p.inputs)[:, 1]) for p in (train, test)]
    assert low < aucs[1] < high
    assert aucs[0] > aucs[1] + 0.05 or name == "logistic"


def test_scratch_fits_what_it_is_given_with_the_seed_it_is_lent():
    """And hands back the same estimator, which makes it the last of a chain."""
    data, seen = simulated(), []
    start = build("logistic")
    start.fit = lambda data, *, seed: seen.append((data, seed))
    assert scratch(start, data, SimpleNamespace(seed=11, threads=1), learning_rate=1e-3) is start
    assert seen == [(data, 11)]
    assert SCRATCH.needs <= GBDT.offers & LOGISTIC.offers
    assert hepbench_models()[:2] == [GBDT, LOGISTIC]
    assert hepbench_methods()[0] == SCRATCH


def test_listing_models_and_methods_imports_nothing_heavy():
    """Neither numpy nor scikit-learn, by importing the modules that hold the hooks."""
    code = (
        "import sys, hepbench_models, hepbench_methods\n"
        "print({'numpy', 'sklearn', 'hepbench_models.gbdt'} & set(sys.modules))"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_key_of_a_model_holds_no_spec_of_another():
    """Only modules that the model itself imports: specs are where the hooks are."""
    (plugin,) = (p for p in installed().plugins if p.module == "hepbench_models")
    for spec in plugin.specs:
        own = spec.build.partition(":")[0]
        imported = set(SourceDigests().digests(spec.build, plugin))
        assert own in imported
        assert not {name for name in imported if "spec" in name}
    gbdt = SourceDigests().digests(GBDT.build, plugin)
    assert list(gbdt) == ["hepbench_models.gbdt"]
