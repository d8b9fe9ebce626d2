"""Figures of results: numbers worked by hand, and each figure end to end."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import TESTS, Workbench
from test_bad_input import refused
from test_tables import METRICS, SAMPLE, record

from hepbench import Examples, SparseImages
from hepbench.cli.commands import cli
from hepbench.evaluation import metrics
from hepbench.plots import drawing, selection, style
from hepbench.plots.request import Request
from hepbench.plots.results import (
    error_vs_cost,
    latents,
    overtraining,
    pareto,
    reconstructions,
    roc_curves,
    training,
)
from hepbench.specs.errors import HepbenchError, UsageError
from hepbench.specs.metric import Predictions
from hepbench.storage.costs import Cost, Latency
from hepbench.storage.records import DataSummary, Machine, Provenance, Published, Value
from hepbench.storage.results import Results
from hepbench.tables.rows import collect


def predictions(signal, background, weights=None, **more):
    """Return predictions with these scores of signal, then of background."""
    scores = np.array([*signal, *background], float)
    labels = np.repeat([1, 0], [len(signal), len(background)])
    return Predictions(labels=labels, scores=np.stack([1 - scores, scores], 1), weights=weights)


def request(records, **more):
    return Request(results="results", records=records, metrics=METRICS, **more)


def drawn(module, records, **more):
    """Return the sheets of a figure, drawn in hepbench's style."""
    with style.applied():
        return module.draw(request(records, **more))


def at(efficiency):
    return int(np.flatnonzero(np.isclose(roc_curves.EFFICIENCIES, efficiency))[0])


# --- ROC curves


def test_a_roc_curve_is_worked_by_hand():
    """Signal .9 .7 .5 .3, background .8 .6 .4 .2: a threshold of .7 keeps half of the signal and one
    of four background examples.
    """
    found = roc_curves.roc(predictions([0.9, 0.7, 0.5, 0.3], [0.8, 0.6, 0.4, 0.2]))
    worked = {0.5: 4.0, 0.75: 2.0, 1.0: 4 / 3, 0.55: 2.0}
    for efficiency, rejection in worked.items():
        assert found.rejection[at(efficiency)] == pytest.approx(rejection)
    assert np.isinf(found.rejection[at(0.25)])
    assert found.passing[at(0.75)] == pytest.approx(2)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_roc_curve_goes_through_the_rejections_of_the_table(weighted):
    """Value and error equal those of the metric, with ties and with weights."""
    rng = np.random.default_rng(0)
    signal, background = (rng.beta(*shape, 400).round(2) for shape in ((3, 2), (2, 3)))
    weights = rng.exponential(1, 800) if weighted else None
    given = predictions(signal, background, weights)
    found = roc_curves.roc(given)
    for efficiency in (0.3, 0.5, 0.7):
        metric = metrics.background_rejection(given, signal_efficiency=efficiency)
        assert found.rejection[at(efficiency)] == pytest.approx(metric.value)
        assert found.stderr[at(efficiency)] == pytest.approx(metric.stderr)


def test_a_roc_band_is_drawn_where_enough_background_passes_in_every_seed():
    """Rejections 4 and 6: mean 5, deviation sqrt(2); a point that one seed lacks is left out."""
    n = len(roc_curves.EFFICIENCIES)
    enough = np.arange(n) % 2 == 0
    one = roc_curves.Roc(np.full(n, 4.0), np.full(n, 0.5), np.where(enough, 10.0, 9.0), 100)
    two = roc_curves.Roc(np.full(n, 6.0), np.full(n, 0.7), np.full(n, 50.0), 100)
    curve = roc_curves.over_seeds([one, two])
    assert (curve.efficiency == roc_curves.EFFICIENCIES[enough]).all()
    assert curve.value == pytest.approx(5.0)
    assert curve.stderr == pytest.approx(0.6)
    assert curve.spread == pytest.approx(np.sqrt(2))
    assert roc_curves.over_seeds([two]).spread is None


def test_ratios_are_taken_where_both_curves_are_known():
    """There is no ratio below the efficiency at which the second curve starts."""
    known = np.array([0.2, 0.3, 0.4])
    one = roc_curves.Curve(known, np.array([8.0, 6.0, 4.0]), known, None)
    two = roc_curves.Curve(known[1:], np.array([3.0, 4.0]), known[1:], None)
    common, ratios = roc_curves.ratio(one, two)
    assert common.tolist() == [0.3, 0.4]
    assert ratios.tolist() == [2.0, 1.0]


def test_published_rejections_are_points_in_the_roc_figure():
    """rejection_30 is at 30 %; other published metrics are left out."""
    published = Published(cell="x", metrics={"auc": 0.9, "rejection_30": 900.0}, source="a paper")
    (row,) = collect([record(published=published)], columns=["auc"])
    assert roc_curves.published(row) == [(0.3, 900.0)]


# --- error against cost


def pruned(ratio, flops=100, model="net", seed=0, **changed):
    """Return a record of a pruned network."""
    last = {"ratio": ratio, "epochs": 3, **changed.pop("last", {})}
    written = ",".join(f"{name}={value}" for name, value in last.items())
    return record(
        model,
        seed,
        method="prune",
        chain=f"scratch+prune[{written}]",
        params={"methods": {"scratch": {"epochs": 5}, "prune": last}},
        cost=Cost(flops=flops, macs=flops // 2),
        **changed,
    )


def rows_of(records):
    names = ["auc", "log_loss", "flops", "macs", "theoretical_macs"]
    return collect(records, columns=names)


def grouped(records):
    """Return model and ratio of the points of each curve."""
    rows = rows_of(records)
    return sorted(
        [(rows[i].labels.model, rows[i].record.params["methods"]["prune"]["ratio"]) for i in each]
        for each in pareto.curves(rows, "flops")
    )


def test_rows_that_differ_in_one_parameter_of_the_last_step_are_one_curve():
    """It is sorted by value, not by text; another model is another curve."""
    ratios = [0.5, 0.0, 0.25, 0.125]
    found = grouped([*(pruned(ratio) for ratio in ratios), pruned(0.5, model="tree")])
    assert found == [[("net", ratio) for ratio in sorted(ratios)], [("tree", 0.5)]]


def test_a_second_parameter_splits_curves():
    """Three ratios with 3 epochs and three with 9 epochs are two curves."""
    records = [
        pruned(ratio, last={"epochs": epochs}) for ratio in (0.1, 0.2, 0.3) for epochs in (3, 9)
    ]
    assert [len(each) for each in grouped(records)] == [3, 3]


def test_an_additional_earlier_step_makes_another_curve():
    """A curve only joins prunings of the same network."""
    one = pruned(0.5)
    other = pruned(0.6, key="other")
    chains = (one.chain, f"pretrain+{other.chain}")
    rows = rows_of([one, record("net", chain=chains[1], params=other.params, key="other")])
    assert len(pareto.curves(rows, "flops")) == 2


def test_the_pareto_front_holds_the_points_that_no_other_beats():
    """Of (1, .5) (2, .5) (2, .3) (3, .4) (4, .1) the first, third and last are on it."""
    given = [(1, 0.5), (2, 0.5), (2, 0.3), (3, 0.4), (4, 0.1)]
    points = [pareto.Point(row=i, x=x, y=y) for i, (x, y) in enumerate(given)]
    assert [p.row for p in pareto.front(points, lower=True)] == [0, 2, 4]
    # if higher is better, no point beats the first
    assert [p.row for p in pareto.front(points, lower=False)] == [0]


def timed(ratio, ms, auc, processor, seed=0, **changed):
    """Return a record whose latency was measured on this processor."""
    about = Provenance(finished="2025", machine=Machine(processor=processor), threads=1)
    latency = Latency(runtime="onnxruntime", batch=1, median_ms=ms, p95_ms=ms)
    last = {"ratio": ratio}
    fields = {
        "auc": auc,
        "method": "prune",
        "chain": f"scratch+prune[ratio={ratio}]",
        "params": {"methods": {"prune": last}},
        "cost": Cost(latencies=[latency]),
        "provenance": about,
        "key": f"{ratio}-{seed}-{processor}",
    }
    return record("net", seed, **(fields | changed))


@pytest.fixture
def measured():
    """Return two records from a quick machine and two from a slow one."""
    quick = [timed(0.0, 1.0, 0.90, "quick"), timed(0.1, 2.0, 0.95, "quick")]
    slow = [timed(0.2, 8.0, 0.91, "slow"), timed(0.3, 9.0, 0.92, "slow")]
    return [*quick, *slow]


def test_latencies_of_two_machines_have_two_fronts(measured):
    """Each machine has its own front and its own curves."""
    (panel,) = selection.panels(request(measured), "auc", "latency")
    y = pareto.axis("auc", panel.rows, METRICS)
    points = pareto.points(panel.rows, y, "latency")
    found = pareto.fronts(points, panel.rows, lower=True, against="latency")
    assert {where: [p.x for p in front] for where, front in found.items()} == {
        ("quick, 1 thread",): [1.0, 2.0],
        ("slow, 1 thread",): [8.0, 9.0],
    }
    assert [len(each) for each in pareto.curves(panel.rows, "latency")] == [2, 2]
    # FLOPs do not depend on the machine
    assert [p.x for p in pareto.fronts(points, panel.rows, lower=True, against="flops")[()]] == [
        1.0,
        2.0,
    ]
    assert [len(each) for each in pareto.curves(panel.rows, "flops")] == [4]


def test_a_row_whose_seeds_ran_on_several_machines_is_on_no_front(measured):
    """Its mean describes neither machine; a note says so."""
    mixed = [
        timed(0.4, ms, 0.99, name, i) for i, (ms, name) in enumerate([(1, "quick"), (9, "slow")])
    ]
    (sheet,) = drawn(error_vs_cost, [*measured, *mixed], against="latency")
    (axes,) = sheet.figure.axes
    steps = [line for line in axes.get_lines() if line.get_drawstyle() == "steps-post"]
    assert [line.get_xdata().tolist() for line in steps] == [[1, 2], [8, 9]]
    assert "its seeds ran on several machines, so it is on no Pareto front" in sheet.caption


def test_a_figure_of_latencies_names_the_machines(measured):
    """They are in the caption; several are also in the key, and in the labels of points."""
    (sheet,) = drawn(error_vs_cost, measured[:2], against="latency")
    assert "latency: quick, 1 thread; in ONNX Runtime" in sheet.caption
    (sheet,) = drawn(error_vs_cost, measured, against="latency")
    assert (
        "latency: machine 1: quick, 1 thread; machine 2: slow, 1 thread; in ONNX Runtime"
        in sheet.caption
    )
    names = [text.get_text() for text in sheet.figure.legends[0].get_texts()]
    assert {"Pareto front, machine 1", "Pareto front, machine 2"} <= set(names)
    labels = [text.get_text() for text in sheet.figure.axes[0].texts]
    assert any(label.endswith(", machine 1") for label in labels)


def test_an_auc_is_drawn_as_1_minus_auc_and_a_loss_as_it_is():
    """For both, lower is better. A rejection above 1 is drawn as it is."""
    rows = rows_of([record(metrics={"auc": Value(0.9, 0.01), "log_loss": Value(0.4, 0.02)})])
    auc = pareto.axis("auc", rows, METRICS)
    assert (auc.label, auc.of(0.9), auc.lower) == ("1 - AUC", pytest.approx(0.1), True)
    loss = pareto.axis("log_loss", rows, METRICS)
    assert (loss.of(0.4), loss.lower) == (0.4, True)
    high = collect([record(metrics={"rejection_50": Value(30.0)})], columns=["rejection_50"])
    rejection = pareto.axis("rejection_50", high, METRICS)
    assert (rejection.of(30.0), rejection.lower) == (30.0, False)


def test_points_have_both_errors_and_theoretical_flops():
    """Values are means over seeds; theoretical FLOPs are twice the theoretical MACs."""
    values = [(0.90, 0.01), (0.92, 0.03)]
    cost = Cost(flops=100, macs=50, theoretical_macs=10)
    records = [record(seed=i, metrics={"auc": Value(*v)}, cost=cost) for i, v in enumerate(values)]
    rows = rows_of(records)
    y = pareto.axis("auc", rows, METRICS)
    (point,) = pareto.points(rows, y, "flops")
    assert (point.x, point.y, point.theoretical) == (100, pytest.approx(0.09), 20)
    assert (point.stderr, point.spread) == (pytest.approx(0.02), pytest.approx(0.02 / np.sqrt(2)))
    (only,) = pareto.points(rows, y, "theoretical")
    assert only.x == 20


def test_without_zero_weights_theoretical_flops_are_all_flops():
    """The record has theoretical MACs only if they differ."""
    rows = rows_of([record(cost=Cost(flops=100, macs=50))])
    (point,) = pareto.points(rows, pareto.axis("auc", rows, METRICS), "theoretical")
    assert point.x == 100


# --- scores of training and test


def test_a_histogram_of_scores_has_area_one_and_poisson_errors():
    """Three of four in the first half: density 1.5 with error sqrt(3)/2; the same with weights 2."""
    edges = np.array([0.0, 0.5, 1.0])
    found = overtraining.histogram([predictions([0.1, 0.2, 0.3, 0.9], [0.5])], 1, edges)
    assert found.density == pytest.approx([1.5, 0.5])
    assert found.error == pytest.approx([np.sqrt(3) / 2, 0.5])
    weights = np.array([2.0, 2.0, 2.0, 2.0, 1.0])
    heavy = overtraining.histogram([predictions([0.1, 0.2, 0.3, 0.9], [0.5], weights)], 1, edges)
    assert heavy.density == pytest.approx(found.density)
    assert heavy.error == pytest.approx(found.error)


def test_the_kolmogorov_distance_is_that_of_scipy():
    """The distance is exact, the p-value within the accuracy of the approximation."""
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(3)
    one, other = rng.normal(size=300), rng.normal(0.15, 1, 500)
    found, p = overtraining.kolmogorov_smirnov((one, np.ones(300)), (other, np.ones(500)))
    expected = ks_2samp(one, other, method="asymp")
    assert found == pytest.approx(expected.statistic)
    assert p == pytest.approx(expected.pvalue, abs=0.02)
    assert overtraining.kolmogorov_smirnov((one, np.ones(300)), (one, np.ones(300))) == (0.0, 1.0)


def test_with_more_than_two_classes_the_score_of_the_true_class_is_drawn():
    """Each example uses the column of its own class."""
    scores = np.array([[0.2, 0.3, 0.5], [0.1, 0.8, 0.1]])
    given = Predictions(labels=np.array([2, 0]), scores=scores)
    assert overtraining.shown_scores(given).tolist() == [0.5, 0.1]


# --- training


def epochs(losses, step=0.0, fit=0.0, **more):
    return [
        {"step": step, "fit": fit, "epoch": float(i), "loss": loss, "train_loss": loss / 2, **more}
        for i, loss in enumerate(losses)
    ]


def test_a_training_curve_is_the_mean_over_the_seeds_that_reached_the_epoch():
    """Losses 1 3 and 3 5 7: means 2 4 7; the spread of two seeds is sqrt(2), of one seed 0."""
    found = training.line([epochs([1.0, 3.0]), epochs([3.0, 5.0, 7.0])], "loss")
    assert found.epochs.tolist() == [1, 2, 3]
    assert found.mean.tolist() == [2, 4, 7]
    assert found.spread == pytest.approx([np.sqrt(2), np.sqrt(2), 0])
    assert training.line([epochs([1.0])], "loss").spread is None


def trained(seed=0, **changed):
    history = [*epochs([9.0, 7.0, 8.0]), *epochs([0.6, 0.5], step=1.0)]
    params = {"methods": {"pre": {"monitor": "loss"}, "tune": {"monitor": "loss"}}}
    fields = {"chain": "pre+tune", "method": "tune", "history": history, "params": params}
    return record("net", seed, best_epoch=1, **(fields | changed))


def test_a_step_that_two_rows_share_is_drawn_once():
    """Two rows with the same pretraining are three trainings, not four."""
    other = trained(chain="pre+probe", method="probe", key="other")
    rows = collect([trained(), trained(seed=1, key="seed"), other])
    found = training.trainings([row.labels.chain for row in rows], rows)
    assert sorted(each.step for each in found) == ["pre", "pre", "probe", "tune"]
    one_seed = collect([trained(), other])
    found = training.trainings([row.labels.chain for row in one_seed], one_seed)
    assert [each.name for each in found if each.step == "pre"] == ["pre+probe and 1 more"]


def test_the_kept_epoch_is_recorded_for_the_last_step_and_found_for_others():
    """It has the lowest loss of the last fit, or the highest AUC if the step was set to use AUC."""
    assert [training.kept(trained(), place) for place in (0, 1)] == [1, 1]
    fits = [*epochs([1.0, 5.0]), *epochs([4.0, 3.0], fit=1.0), *epochs([1.0], step=1.0)]
    assert training.kept(trained(history=fits), 0) == 3
    rising = [{**entry, "auc": 0.1 * i} for i, entry in enumerate(epochs([1.0, 2.0, 3.0]))]
    by_auc = {"methods": {"pre": {"monitor": "auc"}, "tune": {}}}
    assert training.kept(trained(history=rising, params=by_auc), 0) == 2


def test_each_use_of_a_method_has_its_own_metric_for_the_kept_epoch():
    """In a chain that tunes twice, only the first use keeps the epoch with the best AUC."""
    rising = [{**entry, "auc": 0.1 * i} for i, entry in enumerate(epochs([1.0, 2.0, 3.0]))]
    params = {"methods": {"tune": {"monitor": "auc"}, "prune": {}, "tune#2": {"monitor": "loss"}}}
    found = trained(chain="tune+prune+tune", history=rising, params=params)
    assert training.kept(found, 0) == 2


def test_a_curve_is_sorted_by_the_parameter_of_the_last_use_of_a_method():
    """The first use has the same parameter in all rows."""
    records = [
        record(
            "net",
            method="prune",
            chain=f"scratch+prune[ratio=0.1]+prune[ratio={ratio}]",
            params={
                "methods": {"scratch": {}, "prune": {"ratio": 0.1}, "prune#2": {"ratio": ratio}}
            },
            key=str(ratio),
        )
        for ratio in (0.5, 0.2, 0.9)
    ]
    rows = rows_of(records)
    (places,) = pareto.curves(rows, "flops")
    ratios = [rows[i].record.params["methods"]["prune#2"]["ratio"] for i in places]
    assert ratios == [0.2, 0.5, 0.9]


def test_new_fits_within_a_step_are_found():
    """Pruning in rounds fits several times."""
    history = [*epochs([1.0, 5.0]), *epochs([4.0], fit=1.0), *epochs([4.0, 3.0], fit=2.0)]
    assert training.StepHistories("net", "prune", [history], [None]).fits == [2, 3]


def test_a_history_that_an_estimator_reports_is_named_as_such():
    """What networks do in each epoch is measured by the core, in numbered fits."""
    own = [{"step": 0.0, "iteration": float(i), "validation_loss": 1.0} for i in range(3)]
    assert training.StepHistories("trees", "scratch", [own], [None]).reported
    assert not training.StepHistories("net", "scratch", [epochs([1.0])], [None]).reported


# --- latents and reconstructions


def test_the_divergence_of_each_dimension_is_worked_by_hand():
    """Mean 1, variance 1: one half. Mean 0, variance e: (e - 2) / 2. N(0, 1): nothing."""
    means, logs = np.array([[1.0, 0, 0], [-1.0, 0, 0]]), np.array([[0.0, 1, 0], [0.0, 1, 0]])
    assert latents.divergence(means, logs) == pytest.approx([0.5, (np.e - 2) / 2, 0])


def test_one_principal_component_explains_all_of_a_line():
    """Its sign is fixed."""
    line = np.outer(np.array([-2.0, -1, 0, 3]), [1.0, 2, 2])
    points, shares = latents.principal(line)
    assert shares == pytest.approx([1, 0, 0], abs=1e-12)
    assert points[:, 0] == pytest.approx([-6, -3, 0, 9])
    assert latents.effective(shares) == pytest.approx(1)
    assert latents.effective(np.full(4, 0.25)) == pytest.approx(4)


def test_latents_are_standardised_or_sampled_before_the_comparison_with_a_normal():
    """A plain encoder's are standardised; a variational one's have variance of mean plus noise."""
    rng = np.random.default_rng(7)
    values = rng.normal(5, 3, (2000, 2))
    plain = latents.normalised(latents.Latents(values, None, values, "pre"))
    assert plain.std(axis=0) == pytest.approx([1, 1])
    logs = np.full((2000, 2), np.log(16.0))
    both = latents.normalised(latents.Latents(values, logs, values, "pre"))
    assert both.std(axis=0) == pytest.approx([5, 5], rel=0.1)


def test_examples_are_picked_from_every_class_in_turn():
    """Five examples of three classes: two, two and one, sorted by class."""
    labels = np.array([0, 0, 0, 0, 1, 0, 1, 2])
    assert reconstructions.picked(labels, 5).tolist() == [0, 1, 4, 6, 7]


def test_a_walk_is_a_straight_line_between_two_latents():
    """It includes both ends."""
    found = reconstructions.between(np.array([0.0, 4.0]), np.array([1.0, 0.0]), steps=3)
    assert found.tolist() == [[0, 4], [0.5, 2], [1, 0]]


def test_samples_have_mean_and_covariance_of_the_latents():
    """So it is for a plain encoder; for a variational one samples are from N(0, 1)."""
    rng = np.random.default_rng(1)
    codes = rng.normal(size=(500, 2)) @ np.array([[2.0, 1.0], [0.0, 0.5]]) + [3.0, -1.0]
    found = reconstructions.sampled(codes, variational=False, n=20000)
    assert found.mean(axis=0) == pytest.approx(codes.mean(axis=0), abs=0.06)
    assert np.cov(found.T) == pytest.approx(np.cov(codes.T), abs=0.15)
    assert reconstructions.sampled(codes, variational=True, n=20000).std() == pytest.approx(1, 0.02)


@pytest.fixture
def pictured():
    """Return an autoencoder, and 2,000 of 2,500 sparse images; dense they have 16 MB."""
    import spots
    import tinynets
    import torch

    from hepbench.plots import trained_networks
    from hepbench.training import network_runs

    ((_, test),) = spots.sample(2500, side=32)
    inputs = {"image": SparseImages.from_dense(test.inputs["image"])}
    task = tinynets.task("ae", "spots:Autoencoder")
    torch.manual_seed(0)
    network = network_runs.fresh(task, inputs, classes=2).eval()
    rows = np.sort(np.random.default_rng(5).permutation(2500)[:2000])
    sealed = Examples(inputs=inputs, ids=test.ids + 7)
    return trained_networks.TrainedNetwork("pre", network, sealed, rows, test.labels[rows])


def test_reconstructions_belong_to_the_drawn_examples(pictured):
    """The error is over all examples, as if they were reconstructed in one batch."""
    import torch

    found = reconstructions.pairs(pictured)
    whole = np.asarray(pictured.test.inputs["image"])
    with torch.no_grad():
        made = pictured.network.encoder.reconstruct({"image": torch.from_numpy(whole)})["image"]
    shown = found.ids - 7
    assert set(shown) <= set(pictured.rows)
    assert (found.originals == whole[shown]).all()
    assert found.made == pytest.approx(made.numpy()[shown], abs=1e-6)
    rows = pictured.rows
    expected = np.square(whole[rows].astype(float) - made.numpy()[rows]).mean()
    assert (found.error, found.count) == (pytest.approx(expected), 2000)


def test_a_masked_autoencoder_is_drawn_with_what_it_sees(pictured):
    """Between the original and the reconstruction; otherwise there is no such line."""
    plain = reconstructions.pairs(pictured)
    pictured.network.encoder.visible = lambda inputs: {"image": inputs["image"] * 0.5}
    found = reconstructions.pairs(pictured)
    assert plain.visible is None
    assert (found.visible == found.originals / 2).all()
    drawn = [
        [line.name for line in reconstructions._lines(each, ["a", "b"], channels=False)][:4]
        for each in (plain, found)
    ]
    assert drawn[0][:3] == ["original", "reconstruction", "difference"]
    assert drawn[1] == ["original", "visible", "reconstruction", "difference"]


def test_only_one_batch_and_the_drawn_images_are_in_memory(pictured):
    """The peak is below a quarter of all dense images; for a detector those are gigabytes."""
    size = 2000 * 2 * 32 * 32 * 4
    reconstructions.pairs(pictured)
    tracemalloc.start()
    try:
        reconstructions.pairs(pictured)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size / 4


# --- chosen rows and their names


def test_rows_that_must_not_be_compared_are_marked():
    """A row of the sample among rows of original files gets a dagger and a note."""
    records = [record("a"), record("b"), record("c", data=DataSummary(**SAMPLE))]
    (panel,) = selection.panels(request(records), "auc")
    marked = [name for name in panel.names if selection.DAGGER in name]
    assert marked == [f"c (sample){selection.DAGGER}"]
    assert "must not be compared with the others: data (bundled sample" in panel.notes[0]


def test_each_dataset_has_its_own_panel():
    """So it is for any group."""
    records = [record("a"), record("a", dataset="jets", key="jets")]
    for group in ("dataset", "suite"):
        found = selection.panels(request(records, group=group), "auc")
        assert [panel.title.partition(",")[0] for panel in found] == ["higgs", "jets"]


def test_names_contain_the_differences_of_rows_and_the_caption_the_rest():
    """A chain that all rows share is only in the caption."""
    (panel,) = selection.panels(request([record("a"), record("b")]), "auc")
    assert sorted(panel.names) == ["a", "b"]
    assert "scratch" in panel.caption
    chains = [record("a"), record("a", chain="pre[epochs=3]+probe", key="probe")]
    (panel,) = selection.panels(request(chains), "auc")
    assert sorted(panel.names) == ["pre[epochs=3]+probe", "scratch"]
    assert "a" in panel.shared


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"models": ["x*"]}, "'x*' matches no model"),
        ({"models": ["a"], "methods": ["probe"]}, "no cell matches all of -d, -m and -x"),
        ({"group": "modle"}, "Did you mean 'model'"),
    ],
)
def test_a_choice_without_rows_is_refused(how, said):
    """The message says which name matches nothing and what is allowed."""
    records = [record("a"), record("b", chain="pre+probe", key="b")]
    with pytest.raises(UsageError, match=said.replace("*", r"\*")):
        selection.panels(request(records, **how), "auc")


@pytest.mark.parametrize("n", [1, 10, 11, 25])
def test_no_two_curves_have_one_colour(n):
    """From the eleventh on they are darker."""
    assert len({style.colour(i) for i in range(n)}) == n


def test_without_matplotlib_one_line_says_how_to_install_it(monkeypatch):
    """It comes before any record is read."""
    monkeypatch.setattr(style, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'hepbench\[plot\]'"):
        drawing.check_figure("roc", None)


# --- end to end

SUITE = """
name = "pics"
cost = false
seeds = 2
[[run]]
datasets = ["spots[n=300]"]
models = ["spot-vae", "spot-ae"]
methods = ["pre+probe", "scratch-net[epochs=1]", "scratch-net[epochs=2,learning_rate=0.02]"]
[[run]]
datasets = ["blobs[n=300]"]
models = ["dense"]
methods = ["scratch-net"]
"""

FIGURES = {
    "roc": [],
    "training": ["-d", "spots", "-x", "probe"],
    "overtraining": ["-d", "blobs"],
    "latents": ["-m", "spot-vae", "-x", "probe"],
    "reconstructions": ["-m", "spot-vae", "-x", "probe", "--channels"],
    "error-vs-flops": ["--against", "parameters"],
}
BEGINS = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Workbench:
    """Return a workbench with results of autoencoders of images; warnings are errors."""
    bench = Workbench(tmp_path_factory.mktemp("pics"))
    for name in ("nets", "spots"):
        bench.plugin(TESTS / "plugins" / f"{name}.py")
    bench.write("site/levels.py", (TESTS / "plugins" / "levels.py").read_text())
    bench.write("pics.toml", SUITE)
    done = bench("run", "pics.toml", "--jobs", "2", timeout=300)
    assert done.code == 0, done.err
    bench.environment["PYTHONWARNINGS"] = "error"
    return bench


def draw(what, *options):
    """Draw in this process, which is much quicker; plugins of the workbench are not loaded."""
    done = CliRunner().invoke(cli, ["plot", what, *map(str, options)], catch_exceptions=True)
    if done.exception:
        raise done.exception
    return [Path(line) for line in done.output.split()]


@pytest.mark.slow
@pytest.mark.parametrize("what", FIGURES)
def test_each_figure_is_drawn_without_a_warning_into_the_results(ran, what):
    """Only the paths are printed; each begins with the name of the figure."""
    if what in {"latents", "reconstructions"}:
        done = ran("plot", what, *FIGURES[what])
        assert (done.code, done.err) == (0, "")
        paths = [ran.folder / line for line in done.out.split()]
    else:
        paths = draw(what, ran.folder / "results", *FIGURES[what])
    for path in paths:
        assert path.parent == ran.folder / "results"
        assert path.name.startswith(what)
        assert path.read_bytes().startswith(BEGINS["png"])
        assert path.stat().st_size > 10_000


@pytest.mark.parametrize("suffix", BEGINS)
def test_the_suffix_sets_the_format_and_the_same_records_give_the_same_bytes(ran, suffix):
    """The file contains no time, no version and no random identifiers."""
    paths = [ran.folder / "new" / f"{name}.{suffix}" for name in ("one", "two")]
    for path in paths:
        draw("roc", ran.folder / "results" / "pics", "-d", "blobs", "-o", path)
    one, two = (path.read_bytes() for path in paths)
    assert one.startswith(BEGINS[suffix])
    assert one == two


def test_a_record_names_the_keys_of_its_stages(ran):
    """So the cache can be asked for the very network that was scored."""
    for found in ran.records().values():
        assert found.stage_keys.keys() == found.key_parts.keys() - {"evaluate"}
        for key in found.stage_keys.values():
            assert (ran.folder / "cache" / "stages" / key[:2] / key / "manifest.json").exists()


def test_reconstructions_use_the_step_that_trained_the_decoder(ran, monkeypatch):
    """Latents use the scored network, whose encoder no longer fits the decoder after fine-tuning."""
    from hepbench.plots import trained_networks
    from hepbench.registry import plugins

    monkeypatch.setenv("HEPBENCH_CACHE", str(ran.folder / "cache"))
    monkeypatch.syspath_prepend(str(ran.site))
    monkeypatch.setattr(trained_networks, "installed", plugins.installed.__wrapped__)
    found = ran.records()["spots[n=300]/spot-vae/pre+probe#0"]
    results = Results(ran.folder / "results")
    assert trained_networks.load(results, found, most=5, decoding=True).step == "pre"
    scored = trained_networks.load(results, found, most=5)
    assert scored.step == "pre+probe"
    assert len(scored.rows) == len(scored.labels) == 5


WRONG = [
    (["rco"], ["no figure named 'rco'", "Did you mean 'roc'?"]),
    (["roc", "-o", "roc.jpeg"], ["--output roc.jpeg", ".png, .pdf, .svg"]),
    (["roc", "-m", "spto"], ["'spto' matches no model", "spot-ae"]),
    (["roc", "-d", "blobs", "-o", "/proc/roc.png"], ["cannot write /proc/roc.png"]),
    (["error-vs-flops"], ["nothing to draw", "FLOPs was not measured"]),
    (["error-vs-flops", "--error", "acu"], ["no metric named 'acu'", "Did you mean 'auc'?"]),
    (["error-vs-flops", "--against", "flosp"], ["no cost named 'flosp'", "'flops'"]),
]


@pytest.mark.parametrize(("command", "parts"), WRONG, ids=lambda part: " ".join(map(str, part)))
def test_a_wrong_figure_is_refused_in_one_line(ran, command, parts):
    """The line says what is wrong, where, and what is allowed."""
    what, *options = command
    with pytest.raises(HepbenchError) as refusal:
        draw(what, ran.folder / "results", *options)
    assert all(part in str(refusal.value) for part in parts), refusal.value
    assert "\n" not in str(refusal.value)


def test_a_model_that_does_not_reconstruct_is_refused(ran):
    """The message has the reason; the exit status is 2."""
    done = ran("plot", "reconstructions", "-m", "dense")
    assert refused(done, "nothing to draw", "does not offer 'reconstruct'")


def test_networks_that_are_no_longer_in_the_cache_are_refused_in_one_line(ran):
    """The line has the command that trains them again."""
    ran.environment["HEPBENCH_CACHE"] = str(ran.folder / "empty")
    try:
        done = ran("plot", "latents", "-x", "probe")
    finally:
        ran.environment.pop("HEPBENCH_CACHE")
    assert refused(done, "no longer in the cache", "'hepbench run pics.toml --fresh'")


@pytest.mark.parametrize(
    ("module", "old", "new", "what"),
    [
        ("spots", "nn.ReLU()", "nn.Tanh()", "spot-ae"),
        ("levels", "/ self.largest", "* self.largest", "the preprocessing levels:Level"),
        ("nets", "hidden, classes)", "hidden, classes, True)", "the head of probe"),
    ],
    ids=["model", "step", "head"],
)
def test_a_network_whose_code_changed_since_is_refused(ran, module, old, new, what):
    """This holds for its model, its preprocessing and its head."""
    path = ran.site / f"{module}.py"
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new))
    try:
        done = ran("plot", "latents", "-m", "spot-ae", "-x", "probe")
    finally:
        path.write_text(before)
    assert refused(done, f"the code of {what} changed since")
