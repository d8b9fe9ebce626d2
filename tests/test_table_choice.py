"""Which rows and columns a table shows, and in which order."""

from __future__ import annotations

import pytest
from made_records import (
    METRICS,
    Comparing,
    failed,
    models,
    objects,
    plain,
    record,
    seeds,
    table,
    unwrapped,
)

from hepbench.specs.errors import UsageError
from hepbench.storage.costs import Cost, Latency
from hepbench.storage.records import Published, Value


def timed(model, auc, median, **changed):
    """A record with a latency."""
    latency = Latency(runtime="onnxruntime", batch=1, median_ms=median, p95_ms=median)
    return record(model, auc=auc, cost=Cost(latencies=[latency], flops=20), **changed)


THREE = [timed("fast", 0.7, 0.1), timed("good", 0.9, 3.0), timed("middle", 0.8, 1.0)]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("", ["good", "middle", "fast"]),
        ("latency", ["fast", "middle", "good"]),
        ("latency_ms", ["fast", "middle", "good"]),
        ("-latency", ["good", "middle", "fast"]),
        ("auc", ["good", "middle", "fast"]),
        ("-auc", ["fast", "middle", "good"]),
        ("model", ["fast", "good", "middle"]),
        ("-model", ["middle", "good", "fast"]),
    ],
)
def test_rows_are_sorted_by_the_column_that_was_asked_for(sort, expected):
    """Better metrics first, smaller costs first, names by the alphabet; a minus reverses."""
    assert models(THREE, sort=sort) == expected


def test_rows_without_a_value_come_last_whatever_the_order():
    """A dash is neither small nor large."""
    rows = [*THREE, failed("svm")]
    assert models(rows, sort="latency")[-1] == models(rows, sort="-latency")[-1] == "svm"


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (["auc>0.75"], ["good", "middle"]),
        (["auc >= 0.8", "latency_ms<2"], ["middle"]),
        (["latency<=1"], ["middle", "fast"]),
        (["model=*o*"], ["good"]),
        (["model!=good"], ["middle", "fast"]),
        (["flops=20"], ["good", "middle", "fast"]),
        (["seeds==1", "auc<.75"], ["fast"]),
        (["comparable=true"], ["good", "middle", "fast"]),
    ],
)
def test_conditions_choose_the_rows_that_are_shown(where, expected):
    """All of them must hold."""
    assert models(THREE, where=where) == expected


def test_rows_that_are_hidden_are_still_compared():
    """The mark of a row does not depend on what is shown, and a line says how many there are."""
    pair = [*seeds("a", 0.9), *seeds("b", 0.7)]
    compare = Comparing(0)
    (row,) = objects(pair, compare=compare, where=["model=b"])
    assert (row["best"], row["standing"]) == (False, "worse")
    assert compare.asked == [["a2", "b2"]]
    text = plain(pair, compare=compare, where=["model=b"])
    assert "higgs: a is best, AUC 0.900(10)(0)." in text
    assert "1 of 2 rows are shown; they are compared with all of them" in text


def test_a_row_without_the_value_fulfils_no_condition_on_it():
    """Not even an inequality: it is unknown."""
    rows = [*THREE, failed("svm")]
    assert "svm" not in models(rows, where=["auc!=0.9"])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"where": ["auc"]}, "--where 'auc': expected NAME=VALUE or NAME<NUMBER"),
        ({"where": ["auc>high"]}, "--where 'auc>high': 'high' is not a number"),
        ({"where": ["model>a"]}, "--where 'model>a': model is no number; only = and != are"),
        ({"where": ["best=yes"]}, "--where 'best=yes': best is true or false"),
        ({"where": ["acu>1"]}, "no column named 'acu'. Did you mean 'auc'?"),
        ({"where": ["auc>0.99"]}, "none of 3 rows fulfils --where auc>0.99"),
        ({"sort": "latenzy"}, "no column named 'latenzy'. Did you mean 'latency'?"),
        ({"sort": "-"}, "no column named ''."),
        ({"style": "paper"}, "style paper exists only with --format latex"),
        ({"style": "papre", "format": "latex"}, "no style named 'papre'. Did you mean 'paper'?"),
        ({"per_seed": True}, "a row for each seed exists only with --format csv or json"),
    ],
)
def test_a_wrong_choice_is_answered_in_one_line(wrong, said):
    """What was given, and what is allowed."""
    with pytest.raises(UsageError) as found:
        plain(THREE, **wrong)
    assert str(found.value).startswith(said)
    assert "\n" not in str(found.value)


# --- columns


def heads(records, **how):
    """The titles of the columns of a table with one line of titles."""
    lines = plain(records, **how).splitlines()
    return next(line for line in lines if line.startswith("model ")).split()


def test_usual_columns_that_are_empty_in_most_rows_leave():
    """Half of the rows are enough; all is all."""
    one, two, more = record("a", cost=Cost(flops=9)), record("b"), record("c")
    assert "FLOPs" in heads([one, two])
    assert "FLOPs" not in heads([one, two, more])
    assert "FLOPs" in heads([one, two, more], columns=["all"])
    assert "params" not in heads([one, two, more], columns=["all"])


def test_seeds_are_told_once_or_in_a_column_where_they_differ():
    """A row with fewer seeds, or with a failure, must be seen."""
    equal = plain([*seeds("a"), *seeds("b")])
    assert "test examples; 2 seeds\n" in equal
    assert "seeds" not in heads([*seeds("a"), *seeds("b")])
    for fewer in ([record("b")], [record("b"), failed("b", 1)]):
        assert "seeds" in heads([*seeds("a"), *fewer])
        assert "2 seeds\n" not in plain([*seeds("a"), *fewer])
    assert "; 1 to 2 seeds\n" in plain([*seeds("a"), record("b")], columns=["auc"])


def test_all_columns_are_those_with_a_value_the_main_metric_first():
    """CSV and JSON have them without being asked."""
    both = {"log_loss": Value(0.4, 0.1), "auc": Value(0.8, 0.1)}
    (row,) = objects([record(metrics=both, cost=Cost(flops=3), epochs=4)])
    assert {"auc", "log_loss", "flops", "epochs"} <= row.keys()
    assert "parameters" not in row
    names = heads([record(metrics=both, epochs=4)], columns=["all"])
    assert names == ["model", "chain", "AUC", "log", "loss", "seeds", "epochs"]
    first = heads([record(metrics=both)], columns=["log_loss", "all"])
    assert first[2:5] == ["log", "loss", "AUC"]


def test_columns_that_could_be_shown_are_named_below():
    """Those with values only; of training examples, those that test examples have."""
    published = Published(cell="*", metrics={"auc": 0.8}, source="a paper")
    text = unwrapped(plain([record(epochs=3, published=published)]))
    assert "more columns: --columns all, or NAME,... of train_auc, epochs, published" in text
    assert "more columns" not in plain([record(epochs=3)], columns=["auc"])


def test_a_table_without_a_metric_has_no_verdict():
    """Costs alone rank nothing."""
    assert plain(THREE, columns=["flops"]).startswith("higgs  file: ")


# --- a row for each seed


def test_each_seed_has_a_row_with_its_own_values_and_origin():
    """Failures too, with their reason; in CSV and JSON."""
    records = [record(seed=0, auc=0.7), record(seed=1, auc=0.8), failed(seed=2)]
    rows = objects(records, per_seed=True)
    assert [(r["seed"], r["status"], r["auc"]) for r in rows] == [
        (0, "ok", 0.7),
        (1, "ok", 0.8),
        (2, "failed", None),
    ]
    assert rows[2]["error"] == "finetune: MemoryError: out of memory"
    assert [r["key"] for r in rows] == [r.key for r in records]
    text = table(records, metrics=METRICS, format="csv", per_seed=True)
    assert len(text.splitlines()) == 4
