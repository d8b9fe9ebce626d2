"""Tables: what rows hold, how they are ranked, and what is true of any records."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import (
    FILE,
    METRICS,
    SAME,
    SAMPLE,
    Comparing,
    failed,
    models,
    objects,
    plain,
    record,
    row_of,
    seeds,
    table,
    unwrapped,
)

from hepbench.evaluation.seed_averages import SeedAverage
from hepbench.specs.text import DASH
from hepbench.storage.costs import Cost
from hepbench.storage.records import (
    DataSummary,
    Record,
    Value,
)
from hepbench.tables import stars
from hepbench.tables.request import FORMATS
from hepbench.tables.rows import collect

# --- what a row holds


def test_a_row_is_the_mean_over_seeds_with_both_errors():
    """.70, .72 and .74 by hand: mean .72, sample standard deviation .02; stderr (1+1+4)/3 = .02."""
    given = [(0.70, 0.01), (0.72, 0.01), (0.74, 0.04)]
    (row,) = objects([record(seed=i, auc=a, stderr=e) for i, (a, e) in enumerate(given)])
    found = [row["auc"], row["auc_stderr"], row["auc_spread"]]
    assert found == pytest.approx([0.72, 0.02, 0.02], rel=1e-12)
    assert (row["seeds"], row["failed"]) == (3, 0)


@given(value=st.floats(0, 1), seeds=st.integers(1, 9))
def test_equal_seeds_have_exactly_their_value_and_no_spread(value, seeds):
    """A mean of equal numbers is that number to the last bit."""
    (row,) = objects([record(seed=i, auc=value) for i in range(seeds)])
    assert row["auc"] == value
    assert row["auc_spread"] == (None if seeds == 1 else 0)


def test_a_single_seed_has_a_dash_for_its_spread():
    """A spread of one is unknown, not zero."""
    assert row_of(plain([record()]), "gbdt").endswith(f"0.750(10)({DASH})")


def test_the_newest_record_of_a_cell_is_shown():
    """By the time at which it finished, whether that was a success or not."""
    old = record(auc=0.7, finished="2025-11-19T10:00:00")
    new = record(auc=0.8, finished="2025-11-20T10:00:00")
    assert [row["auc"] for row in objects([new, old])] == [0.8]
    (row,) = objects([old, failed(finished="2025-11-21T10:00:00")])
    assert (row["auc"], row["failed"]) == (None, 1)


def test_of_records_finished_at_once_the_larger_key_is_shown():
    """So that the order of files decides nothing."""
    pair = [record(auc=0.7, key="a"), record(auc=0.8, key="b")]
    assert objects(pair) == objects(pair[::-1])
    assert objects(pair)[0]["auc"] == 0.8


@pytest.mark.parametrize(
    "changed",
    [
        {"suite": "other"},
        {"dataset": "jets"},
        {"model": "mlp"},
        {"chain": "pretrain+scratch"},
        {"preset": "paper"},
        {"params": {"model": {"depth": 4}}},
        {"data": DataSummary(**SAMPLE)},
    ],
)
def test_whatever_makes_another_cell_makes_another_row(changed):
    """Nothing else is averaged over than seeds."""
    assert len(objects([record(seed=0), record(**({"seed": 1} | changed))])) == 2


def test_seeds_that_saw_another_split_are_not_averaged():
    """A seed that was not run again after the data had changed is a row of its own, and says so."""
    stale = record(
        seed=2, auc=0.9, data=DataSummary(**(FILE | {"split_hash": "0000", "n_test": 400}))
    )
    rows = objects([record(seed=0), record(seed=1), stale])
    assert [row["seeds"] for row in rows] == [2, 1]
    assert rows[1]["notes"] == [
        "not comparable with the rows above: split (n_test 400 against 500000) differs"
    ]


def test_a_failed_seed_stands_in_the_row_of_its_source():
    """It has no data, but its key says what they were to be."""
    sample = [record(seed=i, data=DataSummary(**SAMPLE)) for i in range(2)]
    rows = objects([record(seed=0), *sample, failed(seed=1)])
    assert {row["source"]: row["failed"] for row in rows} == {"file": 1, "sample": 0}


def test_a_failed_seed_stands_with_most_of_its_cell():
    """Where seeds saw two splits, with those that more of them saw."""
    stale = record(seed=3, data=DataSummary(**(FILE | {"split_hash": "0000"})))
    rows = objects([record(seed=0), record(seed=1), failed(seed=2), stale])
    assert [(row["seeds"], row["failed"]) for row in rows] == [(2, 1), (1, 0)]


def test_rows_hold_what_collect_was_asked_for():
    """The public function gives rows without any text."""
    (row,) = collect([record(seed=0), record(seed=1, auc=0.77)], columns=["auc", "parameters"])
    assert row.averages["auc"].value == pytest.approx(0.76)
    assert row.averages["parameters"] == SeedAverage()
    assert [cell.seed for cell in row.cells] == [0, 1]


# --- ranking


def test_rows_are_ranked_best_first_in_the_direction_of_the_metric():
    """Higher AUC, lower log loss: the first metric column decides."""
    pair = [
        record("a", metrics={"auc": Value(0.7, 0.001), "log_loss": Value(0.4, 0.001)}),
        record("b", metrics={"auc": Value(0.8, 0.001), "log_loss": Value(0.5, 0.001)}),
    ]
    assert models(pair) == ["b", "a"]
    assert models(pair, columns=["log_loss", "auc"]) == ["a", "b"]


def test_rows_that_are_not_significantly_worse_are_marked():
    """Those that the comparison finds, by their place among the rows that it was given."""
    three = [*seeds("a", 0.80), *seeds("b", 0.78), *seeds("c", 0.6)]
    assert [row["best"] for row in objects(three, compare=Comparing(0, 1))] == [True, True, False]
    text = plain(three, compare=Comparing(0, 1))
    assert "*0.800" in row_of(text, "a")
    assert "*0.780" in row_of(text, "b")
    assert "*" not in row_of(text, "c")
    assert f"*: {stars.MEANING}" in unwrapped(text)
    assert stars.OR_NOTED not in unwrapped(text)


def test_where_all_rows_tie_none_is_marked_and_one_sentence_says_so():
    """A mark on each row would say nothing."""
    three = [*seeds("a"), *seeds("b"), *seeds("c")]
    text = plain(three, compare=Comparing(0, 1, 2))
    assert text.count("No significant winner: a is first") == 1
    assert "*" not in text
    assert not any(row["best"] for row in objects(three, compare=Comparing(0, 1, 2)))


def test_one_seed_claims_nothing():
    """No prediction is read; one sentence says why no row is marked."""
    compare = Comparing(0)
    text = plain([record("a", auc=0.9), record("b", auc=0.6)], compare=compare)
    assert (
        f"a is first, AUC 0.900(10)({DASH}); differences are not tested: {stars.ONE_SEED}."
        in unwrapped(text)
    )
    assert ("*" in text, compare.asked) == (False, [])


def test_a_row_with_one_seed_is_not_compared_with_the_others():
    """It says so, even where it leads."""
    compare = Comparing(0)
    rows = objects([record("a", auc=0.9), *seeds("b", 0.8), *seeds("c", 0.7)], compare=compare)
    assert [(row["model"], row["best"]) for row in rows] == [("a", 0), ("b", 1), ("c", 0)]
    assert [row["notes"] for row in rows] == [[stars.NOT_ONE_SEED], [], []]
    assert compare.asked == [["b2", "c2"]]


def test_only_seeds_with_a_value_are_compared():
    """Seeds that failed, or whose metric is undefined, have no predictions or no value."""
    compare = Comparing(0)
    undefined = record("a", 2, metrics={"auc": Value(undefined="no background")})
    objects([*seeds("a", 0.9, n=2), undefined, failed("a", 3), *seeds("b", n=3)], compare=compare)
    assert compare.asked == [["a2", "b3"]]


def test_without_predictions_no_row_is_marked_and_one_sentence_says_why():
    """Results may be packed, or copied, without them."""
    text = plain([*seeds("a", 0.9), *seeds("b", 0.6)])
    assert "not tested: higgs/gbdt/scratch#0: no predictions were recorded." in unwrapped(text)
    assert "*" not in text


def test_nothing_is_compared_where_there_is_nothing_to_compare_with():
    """One row beats nobody; rows that must not be compared are no others."""
    compare = Comparing(0)
    alone = seeds("a", 0.9)
    other = seeds("b", 0.6, data=DataSummary(**SAMPLE))
    for records in (alone, [*alone, *other], [*alone, failed("b")]):
        assert "not tested" not in plain(records, compare=compare)
        assert not objects(records, compare=compare)[0]["best"]
    assert compare.asked == []


def test_a_limit_is_not_compared():
    """How far above the limit the value is, nobody knows."""
    limited = seeds("a", metrics={"rejection_50": Value(500.0, limit=True)})
    known = [seeds(m, metrics={"rejection_50": Value(v, 20.0)}) for m, v in (("b", 200.0), ("c", 90.0))]  # fmt: skip
    compare = Comparing(0)
    rows = objects([*limited, *known[0], *known[1]], columns=["rejection_50"], compare=compare)
    assert [row["best"] for row in rows] == [False, True, False]
    assert compare.asked == [["b2", "c2"]]
    text = plain([*limited, *known[0]], columns=["rejection_50"])
    assert stars.TOO_FEW in text


def test_a_row_whose_seeds_differ_by_too_much_is_not_marked_and_says_so():
    """.9, and .7 with a spread of .07 over two seeds: the test cannot tell. It has no star."""
    wide = [record("b", seed, 0.7 + d) for seed, d in enumerate((0.05, -0.05))]
    rows = objects([*seeds("a", 0.9), *wide, *seeds("c", 0.5)], compare=Comparing(0, 1))
    assert [row["notes"] for row in rows] == [[], [stars.FEW_SEEDS], []]
    assert [row["best"] for row in rows] == [True, False, False]
    rows = objects([*seeds("a", 0.9), *wide], compare=Comparing(0, 1))
    assert [(row["best"], row["notes"]) for row in rows] == [
        (False, []),
        (False, [stars.FEW_SEEDS]),
    ]
    near = [record("b", seed, 0.88 + d) for seed, d in enumerate((0.05, -0.05))]
    rows = objects([*seeds("a", 0.9), *near, *seeds("c", 0.5)], compare=Comparing(0, 1))
    assert [row["notes"] for row in rows] == [[], [], []]


def test_rows_on_other_test_examples_are_not_compared():
    """A metric may allow other splits; its rows are then ranked together, not compared."""
    pair = [*seeds("a", 0.9), *seeds("b", 0.8), *seeds("c", 0.7)]
    rows = objects(pair, compare=Comparing(0, elsewhere=(2,)))
    assert [row["best"] for row in rows] == [True, False, False]
    assert rows[2]["notes"] == [stars.NOT_SAME_EXAMPLES]
    assert stars.TOO_FEW in unwrapped(plain(pair, compare=Comparing(elsewhere=(1, 2))))


def test_constant_scores_are_never_best_and_have_no_error_of_zero():
    """An AUC of one half without any scatter is no measurement."""
    same = ["scores: all test examples get the same scores (largest difference 0)"]
    flat = seeds("flat", 0.5, stderr=0.0, warnings=same)
    compare = Comparing(0)
    rows = objects([*flat, *seeds("b", 0.4), *seeds("c", 0.3)], compare=compare)
    assert [(row["model"], row["best"]) for row in rows] == [("flat", 0), ("b", 1), ("c", 0)]
    assert compare.asked == [["b2", "c2"]]
    assert (rows[0]["auc_stderr"], rows[0]["auc_spread"]) == (None, None)
    assert re.search(r"flat +scratch +0\.500  1$", row_of(plain(flat), "flat"))


def test_a_row_is_constant_if_the_scores_of_one_of_its_seeds_are():
    """Its spread would make every difference insignificant."""
    same = ["scores: all test examples get the same scores (largest difference 0)"]
    mixed = [record("a", 0, 0.9), record("a", 1, 0.5, stderr=None, warnings=same)]
    compare = Comparing(0)
    rows = objects([*mixed, *seeds("b", 0.6), *seeds("c", 0.5)], compare=compare)
    assert not rows[0]["best"]
    assert rows[0]["auc_stderr"] == 0.01
    assert compare.asked == [["b2", "c2"]]


def test_the_dataset_of_a_sentence_is_named_where_a_table_may_show_several():
    """Grouped by model, each dataset is ranked by itself."""
    four = [r for c, d in product("xy", ("higgs", "jets")) for r in seeds("a", chain=c, dataset=d)]
    text = plain(four, group="model", compare=Comparing(0, 1))
    named = [f"model a, {name}: No significant winner" in text for name in ("higgs", "jets")]
    assert named == [True, True]


def test_rows_on_other_data_stand_below_and_say_what_differs():
    """The most common data and split are the reference, however good the others are."""
    sample = record("svm", auc=0.99, data=DataSummary(**SAMPLE))
    rows = objects([sample, record("a", auc=0.6), record("b", auc=0.7)])
    assert [row["model"] for row in rows] == ["b", "a", "svm"]
    assert [row["comparable"] for row in rows] == [True, True, False]
    (note,) = rows[2]["notes"]
    assert note.startswith("not comparable with the rows above: ")
    assert "data (bundled sample against file) and split (n_test 2196 against 500000)" in note
    assert not rows[2]["best"]


def test_of_two_equally_common_splits_the_larger_test_set_is_the_reference():
    """The original file, where a sample was run as often."""
    rows = objects([record("a", auc=0.9, data=DataSummary(**SAMPLE)), record("b", auc=0.6)])
    assert [row["source"] for row in rows] == ["file", "sample"]


def test_other_classes_are_not_comparable():
    """Labels are the same where the classes are; they stand in the parameters or the key."""
    three = {"read": {"source": "file", "classes": ["b", "c", "g"]}}
    two = {"read": {"source": "file", "classes": ["b", "g"]}}
    rows = objects(
        [record(m, auc=0.7, key_parts=two) for m in "ab"] + [record("z", key_parts=three)]
    )
    assert rows[2]["notes"] == [
        "not comparable with the rows above: labels (b, c, g against b, g) differs"
    ]


def test_only_metrics_that_declare_the_preset_are_not_comparable_across_presets():
    """The row keeps its rank by AUC; the note names the metric that may not be compared."""
    metrics = METRICS | {"log_loss": (False, SAME | {"preset"})}
    both = {"auc": Value(0.8, 0.01), "log_loss": Value(0.5, 0.01)}
    paper = record("c", preset="paper", metrics=both)
    others = [record(m, metrics=both | {"auc": Value(0.7, 0.01)}) for m in "ab"]
    rows = json.loads(table([paper, *others], metrics=metrics, format="json"))
    assert rows[0]["model"] == "c"
    assert rows[0]["comparable"]
    assert rows[0]["notes"] == [
        "not comparable in log loss with the other rows: preset (paper against quick) differs"
    ]


def test_datasets_in_one_table_are_ranked_each_by_itself():
    """Grouped by model, an AUC on one dataset beats none on another."""
    four = [r for c, d, a in
            [("x", "higgs", 0.6), ("y", "higgs", 0.7), ("x", "jets", 0.9), ("y", "jets", 0.8)]
            for r in seeds("gbdt", a, chain=c, dataset=d)]  # fmt: skip
    rows = objects(four, group="model", compare=Comparing(0))
    assert [(row["dataset"], row["best"]) for row in rows] == [
        ("higgs", True),
        ("higgs", False),
        ("jets", True),
        ("jets", False),
    ]


def test_a_metric_that_nobody_declares_ranks_nothing():
    """Its direction is unknown: rows stand in the order of their names."""
    rows = objects(
        [record(m, metrics={"mass_bias": Value(v, 0.1)}) for m, v in (("a", 1.0), ("b", 9.0))],
        columns=["mass_bias"],
    )
    assert [(row["model"], row["best"]) for row in rows] == [("a", False), ("b", False)]


# --- properties

RECORDS = st.lists(
    st.builds(
        lambda model, seed, hour, auc, data, ok: (
            record(model, seed, auc, finished=f"2025-11-20T{hour:02}", data=DataSummary(**data))
            if ok
            else failed(model, seed, f"at {hour}", finished=f"2025-11-20T{hour:02}")
        ),
        model=st.sampled_from(["gbdt", "mlp"]),
        seed=st.integers(0, 2),
        hour=st.integers(0, 23),
        auc=st.floats(0.5, 1),
        data=st.sampled_from([FILE, SAMPLE]),
        ok=st.booleans(),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda r: (r.key, r.status),
)


@given(records=RECORDS, random=st.randoms(use_true_random=False), name=st.sampled_from(FORMATS))
@settings(max_examples=60)
def test_the_order_of_records_never_matters(records, random, name):
    """Files may be listed in any order."""
    shuffled = random.sample(records, len(records))
    assert table(records, metrics=METRICS, format=name) == table(
        shuffled, metrics=METRICS, format=name
    )


@given(records=RECORDS)
@settings(max_examples=60)
def test_every_newest_failure_is_visible(records):
    """Counted in its row and told in its notes."""
    last: dict[Any, Record] = {}
    for r in sorted(records, key=lambda r: (r.provenance.finished, r.key, r.status)):
        source = r.data.source if r.data else "file"
        last[r.model, r.seed, source] = r
    failures = [r for r in last.values() if r.error]
    rows = objects(records)
    assert sum(row["failed"] for row in rows) == len(failures)
    for r in failures:
        notes = [note for row in rows if row["model"] == r.model for note in row["notes"]]
        assert any(r.error and r.error.message in note for note in notes)


@given(records=RECORDS)
@settings(max_examples=60)
def test_no_value_is_invented(records):
    """Each lies between the smallest and largest of its row's seeds, or is not there at all."""
    for row in objects(records):
        given = [
            r.metrics["auc"].value
            for r in records
            if r.model == row["model"] and r.data and r.data.source == row["source"]
        ]
        if row["seeds"] == 1:
            assert row["auc"] in given
        elif row["seeds"]:
            assert min(given) - 1e-15 <= row["auc"] <= max(given) + 1e-15
        else:
            assert row["auc"] is None


def test_tables_import_nothing_heavy():
    """Neither numpy nor torch nor rich: a table of a thousand records is there at once."""
    code = (
        "import sys, hepbench.tables.document; print({'numpy', 'torch', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_table_has_no_column_that_none_of_its_rows_fills():
    """Unless it was asked for; the columns of the other tables are their own."""
    one = record("mlp", dataset="higgs", cost=Cost(flops=12))
    other = record("gbdt", dataset="jets")

    def heads(**how: Any) -> list[bool]:
        lines = table([one, other], metrics=METRICS, **how).split("\n")
        return ["FLOPs" in line for line in lines if line.startswith("model")]

    assert heads() == [True, False]
    assert heads(columns=["auc", "flops"]) == [True, True]
