"""Event weights: only their ratios matter, except for sums of expected events; rules of training."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from conftest import TESTS, Done, Workbench
from sklearn import metrics as sklearn_metrics

from hepbench import DataError, Examples, Metric, Predictions, UndefinedMetricError
from hepbench.data import event_weights
from hepbench.evaluation import effective_examples, joining, measure, metrics, significance
from hepbench.registry.plugins import Entry, Plugin
from hepbench.specs.dataset import TRAINING_WEIGHTS

SUITE = """
name = "weights"
cost = false
[[run]]
datasets = {datasets}
models = ["gbdt", "logistic"]
methods = ["scratch"]
"""
NETWORKS = """
name = "networks"
cost = false
[[run]]
datasets = {datasets}
models = ["mlp", "transformer-ae"]
methods = ["scratch", "fresh+svm", "pretrain+finetune"]
exclude = ["*/mlp/pretrain*"]
set = { "scratch.epochs" = 2, "pretrain.epochs" = 1, "finetune.epochs" = 2 }
"""
SCALES = ["weighted", "weighted[scale=1e-06]", "weighted[scale=1000000.0]"]
OTHERS = [
    *("weighted[kind=unweighted]", "weighted[kind=equal,scale=1e-05]", "weighted[kind=test]"),
    *("weighted[training_weights=balanced]", "weighted[training_weights=none]"),
    *("weighted[kind=signed]", "weighted[kind=signed,training_weights=absolute]"),
]


def ran(bench, *datasets, suite=SUITE, options=()):
    """Run a suite on datasets; return the finished command."""
    bench.write("weights.toml", suite.replace("{datasets}", str(list(datasets)).replace("'", '"')))
    return bench("run", "weights.toml", *options, timeout=600)


@pytest.fixture
def weighted(bench) -> Workbench:
    """Return a workbench with the plugin ``weighted``."""
    bench.plugin(TESTS / "plugins" / "weighted.py")
    return bench


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> tuple[Workbench, Done]:
    """Return a workbench where all kinds of weights ran, and the finished command."""
    bench = Workbench(tmp_path_factory.mktemp("weights"))
    bench.plugin(TESTS / "plugins" / "weighted.py")
    return bench, ran(bench, *SCALES, *OTHERS)


@pytest.fixture(scope="module")
def records(place):
    """Return the records of all kinds of weights by their cells."""
    return place[0].records()


def values(record, *, without=("ams", "signal_events")):
    """Return all metrics of a record but sums of expected events."""
    parts = (record.metrics, record.metrics_train, record.metrics_validation)
    return [{n: v for n, v in part.items() if n not in without} for part in parts]


def stored_parts(place, record):
    """Return the stored predictions of the test part, and those of the training part."""
    results = place[0].folder / "results"
    labels = dict(np.load(results / record.labels.path))
    parts = joining.join(labels, results / record.predictions.path)
    return parts["test"], parts["train"]


# --- weights of mean 1


@pytest.mark.parametrize("factor", [1e-6, 1e6, 3e-5, 7.0, 1e-30])
def test_a_factor_common_to_all_weights_changes_no_bit(factor):
    """Products with it are rounded one by one; relative weights are the same."""
    weights = np.random.default_rng(0).lognormal(0, 1.2, 10_000)
    expected = event_weights.relative(weights)
    np.testing.assert_array_equal(event_weights.relative(factor * weights), expected)
    assert expected.mean() == pytest.approx(1, abs=1e-8)
    np.testing.assert_allclose(expected, weights / weights.mean(), rtol=1e-7)


@pytest.mark.parametrize("weight", [1.0, 1e-5, 0.1, 1 / 3, 1e30])
def test_equal_weights_are_no_weights(weight):
    """Whatever the last bits of their mean are."""
    assert event_weights.relative(np.full(1001, weight)) is None


def test_rules_of_training_weights():
    """Balanced classes have equal sums; absolute weights are not negative; all have mean 1."""
    rng = np.random.default_rng(0)
    labels, weights = np.arange(300) % 3, rng.lognormal(0, 1, 300)
    signed = np.where(rng.random(300) < 0.2, -weights, weights)
    made = {rule: event_weights.of_training(rule, labels, signed) for rule in TRAINING_WEIGHTS}
    assert made["none"] is None
    np.testing.assert_allclose(made["physical"], signed / signed.mean(), rtol=1e-6)
    np.testing.assert_allclose(made["absolute"], weights / weights.mean(), rtol=1e-6)
    np.testing.assert_allclose(np.bincount(labels, made["balanced"]), 100, rtol=1e-6)
    rare = (np.arange(300) % 10 == 0).astype(int)
    np.testing.assert_allclose(
        np.bincount(rare, event_weights.of_training("balanced", rare, None)), 150
    )
    assert event_weights.of_training("physical", labels, None) is None


def test_training_on_negative_weights_needs_a_rule():
    """The line says how many there are and what is allowed."""
    part = Examples(inputs={}, ids=np.arange(4), weights=np.array([1, -1, 2, 3.0]))
    for rule in ("absolute", "none"):
        event_weights.refuse_negative(rule, part, part)
    with pytest.raises(DataError, match=r"2 of 8 .* 'physical', but 'absolute' or 'none'"):
        event_weights.refuse_negative("physical", part, part)


@pytest.mark.parametrize("rule", ["physical", "balanced", "absolute"])
def test_a_class_without_weight_is_not_trained_on(rule):
    """The line says which class, of how many examples, and what to do."""
    weights, labels = np.arange(24.0) % 2, np.arange(24) % 2
    part = Examples(inputs={}, ids=labels, labels=1 - labels, weights=weights)
    said = rf"class 1 add up to 0 in 24 labelled examples; .* '{rule}', .* 'none'"
    with pytest.raises(DataError, match=said):
        event_weights.refuse_weightless(rule, part)
    event_weights.refuse_weightless("none", part)
    event_weights.refuse_weightless(rule, replace(part, weights=None))
    event_weights.refuse_weightless(rule, replace(part, weights=weights + 1))


# --- metrics


def predictions(n=400, *, seed=0, **more):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    signal = 1 / (1 + np.exp(1 - 2 * (rng.normal(size=n) + labels)))
    return Predictions(labels=labels, scores=np.stack([1 - signal, signal], 1), **more)


def test_ams_by_hand():
    """50 signal and 90 background events above the cut: sqrt(2 (150 ln 1.5 - 50)) = 4.652."""
    weights = np.array([45.0, 45.0, 20.0, 30.0, 7.0])
    p = Predictions(
        labels=np.array([0, 0, 1, 1, 0]),
        scores=np.array([[0.1, 0.9], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.9, 0.1]]),
        weights=weights,
    )
    found = significance.ams(p)
    assert found.value == pytest.approx(4.652, abs=1e-3)
    # one of ten times the events, with a tenth of the weight each
    often = Predictions(
        labels=np.tile(p.labels, 10),
        scores=np.tile(p.scores, (10, 1)),
        weights=np.tile(weights / 10, 10),
    )
    assert significance.ams(often).value == pytest.approx(found.value)
    assert significance.ams(often).stderr == pytest.approx(found.stderr / np.sqrt(10))


def test_the_cut_of_ams_is_chosen_on_validation_alone():
    """Labels of the test part change the value, not the cut."""
    validation = predictions(seed=1)
    p = predictions(validation=validation)
    best = significance.ams(predictions()).value
    assert significance.ams(p).value < best
    assert significance.ams(replace(p, labels=1 - p.labels)).value < best


def test_ams_is_how_far_repeated_samples_scatter():
    """Its error is that of the two sums of weights, of a number of events that scatters too."""
    rng = np.random.default_rng(1)
    found, whole = [], predictions(8000, weights=rng.lognormal(0, 0.8, 8000))
    for _ in range(300):
        rows = rng.random(8000) < 0.05
        found.append(significance.ams(replace(whole[rows], validation=whole)))
    expected = np.sqrt(np.mean([m.stderr**2 for m in found]))
    assert np.std([m.value for m in found]) == pytest.approx(expected, rel=0.15)


def test_more_negative_than_positive_events_have_no_ams():
    """The message says how many events are above the cut."""
    weights = np.where(np.arange(400) % 2 == 1, 1.0, -0.99)
    p = predictions(weights=weights, validation=predictions(seed=1, weights=np.ones(400)))
    with pytest.raises(UndefinedMetricError, match="events are above the cut"):
        significance.ams(p)


def test_ams_has_no_value_if_the_test_part_alone_has_event_weights():
    """Its cut would be the best one for equal weights."""
    p = predictions(weights=np.arange(400.0), validation=predictions(seed=1))
    with pytest.raises(UndefinedMetricError, match=r"validation part, .* has no event weights"):
        significance.ams(p)


@pytest.mark.parametrize(
    ("weights", "labels", "said"),
    [
        (np.arange(400) % 2 == 0, None, "no example of signal has weight"),
        (None, np.zeros(400, int), "none of the 400 examples is signal"),
    ],
)
def test_a_class_without_weight_is_told_from_one_without_examples(weights, labels, said):
    """The message says which."""
    p = predictions(weights=weights)
    with pytest.raises(UndefinedMetricError, match=said):
        metrics.auc(p if labels is None else replace(p, labels=labels))


def entry(name, compute, **more):
    spec = Metric(name=name, compute=compute, higher_is_better=None, **more)
    return Entry(spec, Plugin("p", "p", "p", "0.1"))


def test_only_a_metric_that_declares_it_sees_physical_weights(monkeypatch):
    """Validation too; without event weights it is not computed."""
    seen = {}
    monkeypatch.setattr(measure, "resolve", lambda name: lambda p: seen.update({name: p}) or 0.5)
    entries = [entry("usual", "plug:usual"), entry("sums", "plug:sums", physical_weights=True)]
    physical = np.random.default_rng(0).lognormal(0, 1, 400) * 1e-5
    given = {
        "weights": event_weights.relative(physical),
        "physical_weights": physical,
    }
    p = predictions(**given, validation=predictions(seed=1, **given))
    assert measure.measure(entries, {"test": p})["test"].keys() == {"usual", "sums"}
    for part in (seen["plug:sums"], seen["plug:sums"].validation):
        np.testing.assert_array_equal(part.weights, physical)
    for part in (seen["plug:usual"], seen["plug:usual"].validation):
        np.testing.assert_array_equal(part.weights, given["weights"])
    assert measure.measure(entries, {"test": predictions()})["test"].keys() == {"usual"}


def test_stored_weights_are_physical_and_metrics_see_their_ratios():
    """Results hold what the dataset gives."""
    rng = np.random.default_rng(0)
    labels = {f"{part}.{n}": a for part in ("test", "validation") for n, a in {
        "ids": np.arange(50), "labels": np.arange(50) % 2, "weights": rng.lognormal(0, 1, 50) * 1e-4,
    }.items()}  # fmt: skip
    scores = {part: np.full((50, 2), 0.5, np.float32) for part in ("test", "validation")}
    test = joining.joined(labels, scores)["test"]
    np.testing.assert_array_equal(test.physical_weights, labels["test.weights"])
    assert test.weights.mean() == pytest.approx(1)
    assert test.validation.weights.mean() == pytest.approx(1)


def test_few_effective_examples_and_heavy_ones_are_named():
    """A hundred examples of signal, of which one has half of the weight."""
    labels, weights = np.arange(200) // 100, np.ones(200)
    weights[150] = 99
    p = Predictions(
        labels=labels, scores=np.full((200, 2), 0.5), weights=weights, ids=np.arange(200)
    )
    assert effective_examples.by_class(p) == pytest.approx([100, 198**2 / (99 + 99**2)])
    few, heavy = effective_examples.describe_few(p, ["background", "signal"])
    assert "100 test examples of class 'signal' count like 4.0, which are few" in few
    assert heavy == "weights: test example 150 has 50% of the weight of class 'signal' alone"
    assert not list(effective_examples.describe_few(replace(p, weights=None), ["b", "s"]))


# --- runs


@pytest.mark.parametrize("model", ["gbdt", "logistic"])
def test_the_scale_of_weights_changes_no_number_of_estimators(records, model):
    """Bit for bit, and equal weights are as none; only sums of expected events follow the scale."""
    first, *others = (records[f"{dataset}/{model}/scratch#0"] for dataset in SCALES)
    assert all(values(other) == values(first) for other in others)
    assert first.metrics["signal_events"].value != others[0].metrics["signal_events"].value
    none, equal = (records[f"{dataset}/{model}/scratch#0"] for dataset in OTHERS[:2])
    assert values(none) == values(equal)
    assert values(first) != values(none)


@pytest.mark.slow
def test_the_scale_of_weights_changes_no_number_of_networks(weighted):
    """A perceptron, a support-vector machine and a pretrained network, bit for bit."""
    done = ran(weighted, *SCALES, suite=NETWORKS)
    assert done.code == 0, done.err
    found = weighted.records()
    names = {name.partition("/")[2] for name in found}
    assert len(names) == 5
    for name in names:
        first, *others = (found[f"{dataset}/{name}"] for dataset in SCALES)
        assert all(values(other) == values(first) for other in others), name


def test_weights_of_the_test_part_alone_are_used(place, records):
    """As scikit-learn weighs them; training has none."""
    record = records["weighted[kind=test]/logistic/scratch#0"]
    test, train = stored_parts(place, record)
    assert train.weights is None
    weighted, plain = (
        sklearn_metrics.roc_auc_score(test.labels, test.scores[:, 1], sample_weight=w)
        for w in (test.physical_weights, None)
    )
    assert record.metrics["auc"].value == pytest.approx(weighted)
    assert weighted < plain - 0.03
    assert (record.event_weights.training, record.event_weights.metrics) == (False, True)


def test_weights_are_told_in_record_and_table(place, records):
    """The effective number of examples, the rule of training, AMS."""
    used = records["weighted/logistic/scratch#0"].event_weights
    assert (used.training, used.metrics, used.rule) == (True, True, "physical")
    assert 60 < used.effective_test["signal"] < 120
    assert records["weighted/logistic/scratch#0"].metrics["ams"].value > 0
    text = " ".join(place[0]("table").out.split())
    assert "AMS: approximate median significance" in text
    assert "of signal with equal weights; training weights: physical" in text


def test_faults_of_metrics_are_told_where_they_matter(place, records):
    """An error always; what the audit finds where the metric is shown; nothing of other classes."""
    text = " ".join(place[0]("table").out.split())
    assert "metric broken raised ZeroDivisionError: no events" in text
    assert "first_rows" not in text
    assert "of_three" not in str(records["weighted/logistic/scratch#0"].warnings)
    shown = " ".join(place[0]("table", "--columns", "auc,first_rows").out.split())
    assert "metric first_rows: depends on the order of rows" in shown


def test_training_weights_are_in_label_parameters_and_key(place, records):
    """By default nothing of them is: records and keys are those of older versions."""
    rules = {"": None, "[training_weights=balanced]": "balanced", "[training_weights=none]": None}
    found = [records[f"weighted{rule}/logistic/scratch#0"] for rule in rules]
    assert len({record.key for record in found}) == 3
    assert [r.params["dataset"].get("training_weights") for r in found] == [*rules.values()]
    assert "training_weights" not in str((found[0].params, found[0].key_parts))
    assert "training_weights" in found[2].params["dataset"]
    assert found[0].metrics["log_loss"] != found[1].metrics["log_loss"]
    assert found[2].event_weights.training is False
    assert "training_weights=balanced" in place[0]("table").out


def test_negative_weights_are_used_in_metrics_and_by_a_rule_in_training(place, records):
    """Metrics are scikit-learn's; training on them is refused in a line unless a rule is set."""
    refused = records["weighted[kind=signed]/logistic/scratch#0"].error
    assert "of 960 training and validation examples have negative weights" in refused.message
    assert place[1].code == 2
    record = records["weighted[kind=signed,training_weights=absolute]/logistic/scratch#0"]
    test, _ = stored_parts(place, record)
    assert test.weights.min() < 0
    called = test.scores[:, 1] > 0.5
    known = sklearn_metrics.accuracy_score(test.labels, called, sample_weight=test.weights)
    assert record.metrics["accuracy_at_half"].value == pytest.approx(known, rel=1e-12)


def test_few_labels_of_a_class_without_weight_are_refused(weighted):
    """The parts have weight, the labelled examples have none: one line, exit code 2."""
    rules = ["weighted[kind=few]", "weighted[kind=few,training_weights=balanced]"]
    done = ran(weighted, *rules, options=("--set", "dataset.label_fraction=0.01"))
    assert done.code == 2
    found = [record.error.message for record in weighted.records().values()]
    assert len(found) == 4
    assert all("class 1 add up to 0 in 8 labelled examples" in text for text in found)


def test_records_without_event_weights_say_nothing_of_them(records):
    """They are as before, and so are their keys."""
    record = records["weighted[kind=unweighted]/logistic/scratch#0"]
    assert msgspec.to_builtins(record.event_weights) == {}
    assert "ams" not in record.metrics
    assert "ams" not in record.key_parts["evaluate"]["metrics"]


def test_another_rule_of_training_weights_is_refused(weighted):
    """The line says which there are."""
    done = ran(weighted, "weighted", options=("--set", "dataset.training_weights=some"))
    assert done.code == 2
    assert "one of physical, balanced, absolute, none is expected" in done.err


def test_a_metric_named_like_one_of_the_core_is_a_clash_of_its_own(weighted):
    """The line says whose it is and what to do; hepbench's own cannot be left out."""
    source = (TESTS / "plugins" / "weighted.py").read_text()
    source = source.replace('"broken": True', '"auc": True').replace("def broken", "def auc")
    weighted.plugin(source, "weighted")
    done = ran(weighted, "weighted")
    assert done.code == 2
    assert "metric 'auc' of weighted 0.1 has the name of one of hepbench's own" in done.err
