"""Label efficiency: toys with known answers, bounds where nothing was tried, and rows that are paired."""

from __future__ import annotations

import math
from dataclasses import replace

import made_records
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepbench.evaluation.label_efficiency import labels_for, labels_needed
from hepbench.evaluation.labels_needed import LabelsNeeded
from hepbench.evaluation.paired import Means
from hepbench.report import details
from hepbench.specs.errors import ResultsError
from hepbench.specs.text import DASH
from hepbench.tables.label_efficiency import fill
from hepbench.tables.rows import collect

LABELS = np.array([100, 1000, 10_000])
VALUES = np.array([0.7, 0.8, 0.9])


def means(values, *, of_test=0.0, of_trainings=0.0, trainings=3, shared=0.0):
    """Return means whose test errors have a common part."""
    n = len(values)
    covariance = np.eye(n) * (of_test**2 - shared**2) + shared**2
    return Means(np.asarray(values), covariance, np.full(n, of_trainings**2), np.full(n, trainings))


@pytest.mark.parametrize(
    ("target", "number"),
    [
        (0.7, 100),
        (0.75, 100 * math.sqrt(10)),
        (0.8, 1000),
        (0.85, 1000 * math.sqrt(10)),
        (0.9, 10_000),
        (0.69, 0),
        (0.91, math.inf),
    ],
)
def test_a_straight_line_in_log_labels_is_interpolated_exactly(target, number):
    """Beyond its ends there is only a bound."""
    assert labels_for(LABELS, VALUES, target) == pytest.approx(number)


def test_a_dip_is_pooled_with_what_came_before():
    """0.8 and 0.7 count as 0.75 each, which is reached with the first of them."""
    found = labels_for(np.array([10, 100, 1000]), np.array([0.65, 0.8, 0.7]), 0.75)
    assert found == pytest.approx(100)


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=8),
    st.tuples(st.floats(-0.2, 1.2), st.floats(-0.2, 1.2)),
)
def test_a_better_row_never_needs_fewer_labels(values, targets):
    """Whatever the curve looks like; all numbers are among those tried, or bounds."""
    labels = 10 * 2 ** np.arange(len(values))
    fewer, more = (labels_for(labels, np.array(values), target) for target in sorted(targets))
    assert fewer <= more
    for found in (fewer, more):
        assert found in {0, math.inf} or labels[0] <= found <= labels[-1] * (1 + 1e-9)


def test_the_interval_of_a_toy_is_that_of_its_error():
    """One sigma of the difference moves a line of slope 0.1 per decade by sigma / 0.1 decades."""
    sigma = 0.01
    (found,) = labels_needed(LABELS, means([*VALUES, 0.85], of_test=sigma))
    # at the middle of two points: errors of both count half, that of the target whole
    decades = sigma * math.sqrt(1 + 0.5) / 0.1
    assert found.number == pytest.approx(1000 * math.sqrt(10))
    assert math.log10(found.high / found.number) == pytest.approx(decades, rel=0.1)
    assert math.log10(found.number / found.low) == pytest.approx(decades, rel=0.1)


def test_errors_that_rows_share_cancel():
    """The same test examples are too easy for all rows, or too hard."""
    (found,) = labels_needed(LABELS, means([*VALUES, 0.85], of_test=0.02, shared=0.02))
    assert found.low == pytest.approx(found.number, rel=1e-3)
    assert found.high == pytest.approx(found.number, rel=1e-3)


def test_few_seeds_widen_the_interval():
    """Student's t of two trainings has long tails."""
    spans = [
        labels_needed(LABELS, means([*VALUES, 0.85], of_trainings=0.01, trainings=n))[0]
        for n in (2, 3, 30)
    ]
    widths = [found.high / found.low for found in spans]
    assert widths == sorted(widths, reverse=True)


def test_one_seed_has_no_interval():
    """How much another training would change is not known."""
    (found,) = labels_needed(LABELS, means([*VALUES, 0.85], of_trainings=math.nan, trainings=1))
    assert (found.low, found.high) == (None, None)
    assert found.text == f"3,200 ({DASH})"


def test_a_class_with_one_test_example_has_no_interval():
    """Its error is not known, so the covariance holds no numbers."""
    (found,) = labels_needed(LABELS, means([*VALUES, 0.85], of_test=math.nan))
    assert (found.low, found.high) == (None, None)
    assert found.number == pytest.approx(1000 * math.sqrt(10))


def test_rows_are_counted_together_or_alone():
    """With one curve, another row changes no number; one seed of one row hides no other interval."""
    both = means([*VALUES, 0.85, 0.75], of_test=0.01)
    first, second = labels_needed(LABELS, both)
    assert (first.number, second.number) == pytest.approx((1000 * 10**0.5, 100 * 10**0.5))
    single = Means(
        both.values, both.covariance, np.array([0, 0, 0, 0, math.nan]), np.array([3, 3, 3, 3, 1])
    )
    first, second = labels_needed(LABELS, single)
    assert first.low < first.number < first.high
    assert (second.low, second.high) == (None, None)


def test_a_lower_metric_may_be_better():
    """A loss falls with more labels."""
    loss = means([0.5, 0.4, 0.3, 0.35], of_test=0.001)
    (found,) = labels_needed(LABELS, loss, higher_is_better=False)
    assert found.number == pytest.approx(1000 * math.sqrt(10))


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (LabelsNeeded(2130.4, 1490.0, math.inf, 100, 3000), "2,100 (1,500 to >3,000)"),
        (LabelsNeeded(math.inf, 2800.0, math.inf, 100, 3000), ">3,000 (2,800 to >3,000)"),
        (LabelsNeeded(math.inf, math.inf, math.inf, 100, 3000), ">3,000"),
        (LabelsNeeded(0.0, 0.0, 120.0, 100, 3000), "<100 (<100 to 120)"),
        (LabelsNeeded(8.4, 6.6, 12.4, 6, 3000), "8 (7 to 12)"),
    ],
)
def test_a_number_is_written_with_its_interval_and_bounds(found, text):
    """Two digits, and no number beyond those that were tried."""
    assert found.text == text


TRAINED = {"freezes": []}
SCRATCH = {"s net": {"method": "s", "makes": "classifier", "labels": True, "network": TRAINED}}
TUNED = {
    "p net": {"method": "p", "makes": "encoder", "labels": False, "network": TRAINED},
    "p+f net": {"method": "f", "makes": "classifier", "labels": True, "network": TRAINED},
}
PROBED = {"f net": {**TUNED["p+f net"], "network": {"freezes": ["encoder"]}}}


def rows(chain, parts, aucs, *, dataset="higgs"):
    """Return records of a chain at several label fractions, two seeds of each."""
    found = []
    for fraction, auc in aucs.items():
        label = dataset if fraction == 1 else f"{dataset}[label_fraction={fraction}]"
        data = made_records.DataSummary(
            **made_records.FILE, n_train=round(3000 * fraction), test_contents="same"
        )
        params = {"dataset": {"label_fraction": fraction}, "model": {}, "methods": {}}
        more = {"dataset": label, "chain": chain, "params": params, "data": data}
        found += made_records.seeds("net", auc, key=f"{label}/{chain}", key_parts=parts, **more)
    return found


CURVE = {0.01: 0.7, 0.1: 0.8, 1.0: 0.9}


def counted(curve, others, metric):
    """Count labels on the recorded values alone."""
    labels = [row[0].data.n_train for row in curve]
    values = [np.mean([r.metrics[metric].value for r in row]) for row in (*curve, *others)]
    return labels_needed(labels, means(values, of_test=1e-6))


def table(records, **how):
    """Return the rows of a table by chain and number of labels."""
    found = made_records.objects(records, count_labels=counted, **how)
    return {(row["chain"], row["n_train"]): row for row in found}


def test_pretrained_rows_are_compared_with_the_curve_from_scratch_of_their_model():
    """The curve has rows of several tables; rows from scratch and probes of new encoders have none."""
    records = rows("s", SCRATCH, CURVE) + rows("p+f", TUNED, {0.01: 0.75, 0.1: 0.85, 1.0: 0.95})
    records += rows("fresh+f", PROBED, CURVE)
    found = table(records)
    assert found["p+f", 30]["labels_from_scratch"] == pytest.approx(30 * math.sqrt(10), rel=1e-3)
    assert found["p+f", 300]["labels_from_scratch"] == pytest.approx(300 * math.sqrt(10), rel=1e-3)
    last = found["p+f", 3000]
    assert (last["labels_from_scratch"], last["labels_from_scratch_bound"]) == (3000, ">")
    for (chain, _), row in found.items():
        assert chain == "p+f" or row["labels_from_scratch"] is None


def test_of_two_curves_from_scratch_the_one_with_the_usual_settings_counts():
    """Without one, a note says that there are several."""
    tuned = rows("p+f", TUNED, CURVE)
    longer = rows("s[epochs=5]", SCRATCH, {0.01: 0.75, 0.1: 0.85, 1.0: 0.95})
    found = table([*rows("s", SCRATCH, CURVE), *longer, *tuned])
    assert found["p+f", 300]["labels_from_scratch"] == pytest.approx(300, rel=1e-3)
    found = table([*rows("s[epochs=9]", SCRATCH, CURVE), *longer, *tuned])
    assert found["p+f", 30]["labels_from_scratch"] is None
    assert "several rows from scratch: s[epochs=5], s[epochs=9]" in " ".join(
        found["p+f", 30]["notes"]
    )


def test_the_column_is_there_only_where_fractions_exist_for_both():
    """Also without predictions: then a note says why there is no number."""

    def missing(*_):
        msg = "no predictions were recorded"
        raise ResultsError(msg)

    both = rows("s", SCRATCH, CURVE) + rows("p+f", TUNED, CURVE)
    assert "labels from scratch" in made_records.plain(both, count_labels=counted)
    one = rows("s", SCRATCH, CURVE) + rows("p+f", TUNED, {1.0: 0.9})
    assert "labels from scratch" not in made_records.plain(one, count_labels=counted)
    text = made_records.plain(both, count_labels=missing, columns=["auc", "labels_from_scratch"])
    assert "labels from scratch are not known: no predictions were recorded" in " ".join(
        text.split()
    )


def details_of(records, count):
    """The details on label efficiency of each row, by chain and number of labels."""
    found = fill(collect(records, columns=["auc"]), "auc", count)
    return {
        (row.labels.chain, row.data.n_train): dict(section.items)
        for row in found
        for section in details.sections(row)
        if section.title == "Label efficiency"
    }


def test_the_page_of_a_report_has_it_in_the_details_of_a_row():
    """Rows from scratch have no such section; without a number or an interval it says so."""
    records = rows("s", SCRATCH, CURVE) + rows("p+f", TUNED, {0.01: 0.75, 0.1: 0.85, 1.0: 0.95})
    found = details_of(records, counted)
    assert {chain for chain, _ in found} == {"p+f"}
    assert found["p+f", 30]["from scratch"] == "95 labels are as good, with a 68 % interval"

    def without_interval(curve, others, metric):
        return [replace(each, low=None, high=None) for each in counted(curve, others, metric)]

    found = details_of(records, without_interval)
    assert found["p+f", 30]["from scratch"] == f"95 ({DASH}) labels are as good"

    def missing(*_):
        msg = "no predictions were recorded"
        raise ResultsError(msg)

    note = "labels from scratch are not known: no predictions were recorded"
    assert details_of(records, missing)["p+f", 30]["from scratch"] == note


def test_rows_of_other_data_or_models_are_not_compared():
    """A curve belongs to one model on one dataset."""
    records = rows("s", SCRATCH, CURVE, dataset="other") + rows("p+f", TUNED, CURVE)
    assert "labels_from_scratch" not in table(records)["p+f", 30]
