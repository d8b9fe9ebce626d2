"""The verdict on a dataset: what is said of the first row, of the others, and of doubts."""

from __future__ import annotations

from made_records import METRICS, SAMPLE, Comparing, failed, record, seeds, without_predictions

from hepbench.specs.text import DASH
from hepbench.storage.records import DataSummary, Value
from hepbench.tables import row_names
from hepbench.tables.columns import Columns, Labels
from hepbench.tables.ranked import ranked
from hepbench.tables.rows import collect


def verdict(records, compare=without_predictions, *, metric="auc", metrics=METRICS):
    """The verdict on the rows of one dataset."""
    columns = Columns(group="dataset", labels=(), names=[metric], metrics=metrics)
    (peers,) = ranked(collect(records, columns=[metric]), columns, compare)
    return peers.verdict


THREE = [*seeds("a", 0.80), *seeds("b", 0.78), *seeds("c", 0.6)]


def test_a_row_that_all_others_are_significantly_worse_than_is_best():
    """With its value and errors as in the table."""
    assert verdict(THREE, Comparing(0)) == (
        "a is best, AUC 0.800(10)(0). Significantly worse: 2 rows."
    )


def test_a_row_with_which_others_tie_is_first_but_not_called_best():
    """They are named."""
    assert verdict(THREE, Comparing(0, 1)) == (
        "a is first, AUC 0.800(10)(0). Not significantly worse: b. Significantly worse: 1 row."
    )


def test_where_no_row_is_worse_there_is_no_winner():
    """The first of them is named, but not called best."""
    near = [*seeds("a", 0.80), *seeds("b", 0.79), *seeds("c", 0.79)]
    assert verdict(near, Comparing(0, 1, 2)) == (
        "No significant winner: a is first, AUC 0.800(10)(0). Not significantly worse: b, c."
    )
    assert verdict(THREE, Comparing(0, 1, 2)) == (
        "No significant winner: a is first, AUC 0.800(10)(0). Not significantly worse: b. "
        "Unclear with so few seeds: c."
    )


def test_a_row_that_the_test_cannot_judge_is_not_said_to_be_worse():
    """.9 against .7, with a spread of .07 over two seeds."""
    wide = [record("b", seed, 0.7 + d) for seed, d in enumerate((0.05, -0.05))]
    assert verdict([*seeds("a", 0.9), *wide], Comparing(0, 1)) == (
        "No significant winner: a is first, AUC 0.900(10)(0). Unclear with so few seeds: b."
    )
    assert verdict([*seeds("a", 0.9), *wide, *seeds("c", 0.5)], Comparing(0, 1)) == (
        "a is best, AUC 0.900(10)(0). Significantly worse: 1 row. Unclear with so few seeds: b."
    )


def test_without_a_test_the_first_row_is_named_with_the_reason():
    """One seed; or no predictions beside the records."""
    pair = [record("a", auc=0.9), record("b", auc=0.6)]
    assert verdict(pair).startswith(
        f"a is first, AUC 0.900(10)({DASH}); differences are not tested: one "
    )
    assert verdict([*seeds("a", 0.9), *seeds("b", 0.6)]) == (
        "a is first, AUC 0.900(10)(0); differences are not tested: "
        "higgs/gbdt/scratch#0: no predictions were recorded."
    )


def test_rows_that_were_not_compared_are_not_counted_as_worse():
    """One seed, another split, a failure: each is told."""
    others = [record("d", auc=0.95), record("e", data=DataSummary(**SAMPLE)), failed("f")]
    assert verdict([*THREE, *others], Comparing(0, 1)) == (
        "a (file) is first, AUC 0.800(10)(0). Not significantly worse: b (file). "
        "Significantly worse: 1 row. Not tested: d (file). Failed: 1 row. Not comparable: 1 row."
    )


def test_the_best_network_is_named_where_another_model_is_first():
    """What readers come for, though trees are better. Old records do not tell networks apart."""
    of_network = {"key_parts": {"scratch net": {"network_code": {}}}}
    net = seeds("net", 0.7, **of_network)
    said = "Best network: net, 0.700(10)(0), significantly worse (0.100 ± 0.010 lower)."
    assert verdict([*seeds("trees", 0.8), *net], Comparing(0)).endswith(said)
    assert "network" not in verdict([*seeds("trees", 0.6), *net], Comparing(0))
    assert "network" not in verdict(THREE, Comparing(0))


def test_a_single_row_beats_nobody():
    """It has a value, and nothing is claimed."""
    assert verdict(seeds("a", 0.8)) == (
        "a has AUC 0.800(10)(0); no other row can be compared with it."
    )


def test_rows_without_a_value_give_no_result():
    """Failures are counted; an undefined metric is none."""
    assert verdict([failed("a"), failed("b")]) == "No result: 2 rows failed."
    undefined = record(metrics={"auc": Value(undefined="one class")})
    assert verdict([undefined]) == "No row has a value of AUC."


def test_a_metric_without_a_direction_ranks_nothing():
    """Nobody knows whether more of it is better."""
    pair = [record(m, metrics={"bias": Value(v, 0.1)}) for m, v in (("a", 1.0), ("b", 9.0))]
    said = "Rows are not ranked: bias is neither better high nor low."
    assert verdict(pair, metric="bias") == said


def test_many_rows_are_counted_and_not_named():
    """A line stays readable."""
    many = [r for i in range(9) for r in seeds(f"model-{i}", 0.8 - i / 1000)]
    assert "Not significantly worse: 7 rows." in verdict(many, Comparing(*range(8)))


def test_a_verdict_is_one_line():
    """Names may hold anything."""
    assert "\n" not in verdict([*seeds("a\nb", 0.9), *seeds("c", 0.8)], Comparing(0))


# --- names of rows


def labels(model="net", chain="scratch", **more):
    """Labels of a row."""
    fields = {"suite": "s", "dataset": "higgs", "preset": "quick", "source": "file"}
    return Labels(**(fields | {"model": model, "chain": chain} | more))


def test_a_row_is_named_by_its_model_or_with_its_chain_where_the_model_has_several():
    """And by what else differs."""
    three = [labels("net"), labels("net", "a+b"), labels("trees")]
    assert row_names.in_words(three) == ["net scratch", "net a+b", "trees"]
    presets = [labels(preset="quick"), labels(preset="paper")]
    assert row_names.in_words(presets) == ["net scratch (quick)", "net scratch (paper)"]


def test_parameters_of_all_uses_of_a_name_are_taken_out_and_told_once():
    """Those that differ stay, as do those of a name that is used once."""
    given = [
        labels("net[width=8]", "scratch[epochs=20,augment=['a','b'],rate=0.1]"),
        labels("net[width=8]", "pretrain[epochs=9]+scratch[epochs=30,augment=['a','b']]"),
    ]
    short = row_names.shorten(given)
    assert [(each.model, each.chain) for each in short.labels] == [
        ("net", "scratch[epochs=20,rate=0.1]"),
        ("net", "pretrain[epochs=9]+scratch[epochs=30]"),
    ]
    assert short.shared == ["net[width=8]", "scratch[augment=['a','b']]"]


def test_a_label_of_any_text_is_shortened_without_an_error():
    """Brackets and quotes may be open, or stand within quotes."""
    for text in ("", "a[", "]+[", "a[b='+,]'", "a['", "x[y={p=1,q=[2,3]}]+z"):
        assert row_names.shorten([labels(chain=text)]).labels[0].chain == text
    odd = "x[y={p=1,q='a,b'},w=2]"
    assert row_names.steps(odd)[0].params == ("y={p=1,q='a,b'}", "w=2")
