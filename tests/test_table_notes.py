"""Notes below tables: failures, warnings, missing values, other machines."""

from __future__ import annotations

import json
import re

from made_records import (
    FILE,
    LATENCY,
    METRICS,
    SAME,
    SAMPLE,
    failed,
    objects,
    plain,
    record,
    row_of,
    table,
    unwrapped,
)

from hepbench.specs.text import DASH
from hepbench.storage.costs import Cost
from hepbench.storage.records import (
    DataSummary,
    Failure,
    Machine,
    Provenance,
    Published,
    Record,
    Value,
    decode,
    encode,
)


def test_a_failed_seed_is_counted_and_its_reason_told():
    """The others are averaged: 2 of 3."""
    three = [record(seed=0), record(seed=2), failed(seed=1)]
    text = plain(three)
    assert "2 of 3" in row_of(text, "gbdt")
    assert "failed in finetune: MemoryError: out of memory (seed 1)" in text


def test_a_row_that_failed_wholly_is_still_a_row():
    """All dashes, last, with its reason."""
    text = plain([failed("svm", seed=0), failed("svm", seed=1), record("gbdt")])
    assert re.fullmatch(rf"svm +scratch +{DASH} +0 of 2 +1", row_of(text, "svm"))
    assert text.index("\nsvm") > text.index("\ngbdt")
    assert "  1  failed in finetune: MemoryError: out of memory\n" in text


def test_a_timeout_and_the_stage_of_another_cell_are_named():
    """A cell whose stage failed for another names that one."""
    error = Failure(stage="pretrain", type="", message="took 600 s", cell="higgs/vae/svm#0")
    text = plain([failed(status="timeout", error=error)])
    assert "timed out in pretrain of higgs/vae/svm#0: took 600 s" in text


def test_warnings_mark_the_row_once_with_the_seeds_that_have_them():
    """One note for each kind; seeds are named unless all agree."""
    lists = [
        ["seal: broken", "calibration: 0.1"],
        ["seal: broken", "calibration: 0.2"],
        ["seal: broken"],
    ]
    (row,) = objects([record(seed=i, warnings=w) for i, w in enumerate(lists)])
    assert row["notes"] == ["seal: broken", "calibration: 0.1 (seed 0); 0.2 (seed 1)"]


def test_an_undefined_metric_is_a_dash_with_its_reason():
    """Never 0.0; the mean is over the seeds that have a value."""
    bad = Value(undefined="no background")
    pair = [record(seed=0, metrics={"auc": bad}), record(seed=1, auc=0.7)]
    assert objects(pair)[0]["auc"] == 0.7
    assert objects(pair)[0]["notes"] == ["AUC is undefined: no background (seed 0)"]
    assert re.search(rf" {DASH}  1$", row_of(plain(pair[:1]), "gbdt"))


def of_values(reconstruction, **changed):
    """A record of a network that has a loss of its own, or of a model that has none."""
    lacks = "nothing has such values"
    given = {"reconstruction": reconstruction, "kl": None}
    values = {n: Value(undefined=lacks) if v is None else Value(v, 0.1) for n, v in given.items()}
    return record(metrics={"auc": Value(0.7, 0.01), **values}, **changed)


def test_what_few_networks_have_is_shown_where_one_has_it():
    """And a dash elsewhere; what no record has is no column. No note says so: it is not missed."""
    known = METRICS | {"reconstruction": (False, SAME), "kl": (False, SAME)}

    def shown(*records):
        return json.loads(table(records, metrics=known, format="json"))

    (row,) = shown(of_values(None))
    assert "reconstruction" not in row
    assert row["notes"] == []
    rows = {row["model"]: row for row in shown(of_values(3.0, model="vae"), of_values(None))}
    assert rows["vae"]["reconstruction"] == 3
    assert "kl" not in rows["vae"]
    assert rows["gbdt"]["reconstruction"] is None
    assert rows["gbdt"]["notes"] == []


def test_what_is_missing_for_one_reason_is_one_note():
    """However many columns it empties."""
    (row,) = objects([of_values(None)], columns=["auc", "reconstruction", "kl"])
    assert row["notes"] == ["reconstruction and KL are undefined: nothing has such values"]


def test_errors_of_inputs_that_were_preprocessed_otherwise_are_not_compared():
    """What has no such value is not said to differ in it."""
    metrics = METRICS | {"reconstruction": (False, SAME | {"preprocess"})}

    def params(*steps):
        return {"model": {"preprocess": list(steps)}}

    four = [
        of_values(3.0, model="a", params=params("signed-log")),
        of_values(4.0, model="b", params=params("signed-log")),
        of_values(5.0, model="c", params=params("channel-maximum")),
        of_values(None, model="gbdt"),
    ]
    rows = json.loads(table(four, metrics=metrics, format="json"))
    notes = {row["model"]: [n for n in row["notes"] if "undefined" not in n] for row in rows}
    difference = "preprocess (channel-maximum against signed-log) differs"
    assert notes == {
        "a": [],
        "b": [],
        "c": [f"not comparable in reconstruction with the other rows: {difference}"],
        "gbdt": [],
    }
    assert all(row["comparable"] for row in rows)


def test_a_metric_that_is_not_in_a_record_is_said_to_be_missing():
    """A record made before the metric was installed."""
    pair = [record("a", metrics={"auc": Value(0.7), "accuracy": Value(0.6)}), record("b")]
    assert objects(pair)[0]["notes"] == ["accuracy is not recorded"]


def test_a_limit_in_one_seed_makes_the_mean_a_limit():
    """The mean of limits and values is a lower limit; it has no error."""
    values = [Value(100.0, limit=True), Value(200.0, 20.0)]
    pair = [record(seed=i, metrics={"rejection_50": v}) for i, v in enumerate(values)]
    (row,) = objects(pair, columns=["rejection_50"])
    assert (row["rejection_50"], row["rejection_50_limit"]) == (150, True)
    assert row["rejection_50_stderr"] is None
    assert row["notes"] == ["rej. 50 % is given as 95 % lower limit (≥) (seed 0)"]
    assert "≥150" in plain(pair)


def test_a_published_value_stands_beside_with_its_source_and_caveat():
    """As it was published, unrounded."""
    published = Published(
        cell="*",
        metrics={"auc": 0.833, "accuracy": 0.7526},
        source="write-up 002",
        n_test=100000,
        caveat="attended across the batch",
    )
    both = [record(published=published), record("mlp")]
    assert "published: write-up" not in plain(both)
    assert re.search(r" 0\.833  1$", row_of(plain(both, columns=["auc", "published"]), "gbdt"))
    (row,) = objects([record(published=published)], columns=["accuracy", "published"])
    assert row["published"] == 0.7526
    (note,) = objects([record(published=published)])[0]["notes"]
    assert note.startswith("published: write-up 002; 100000 test examples; accuracy 0.7526; ")
    assert note.endswith("; caveat: attended across the batch")


def test_rows_of_one_name_say_what_changed_between_them():
    """A default that changed makes another cell under the same labels."""
    old = record(params={"model": {"depth": 3}}, finished="2025-11-19T10:00:00")
    new = record(params={"model": {"depth": 4}}, auc=0.7)
    assert [row["notes"] for row in objects([old, new])] == [
        ["parameters changed since: model.depth: 3 -> 4"],
        [],
    ]


def test_looks_at_a_test_set_count_superseded_records_and_no_failures():
    """Protocol point 1; for a single record, once."""
    old = record(auc=0.7, finished="2025-11-19T10:00:00")
    late = failed("svm", data=DataSummary(**FILE))
    elsewhere = failed("svm", seed=1, data=DataSummary(**SAMPLE))
    text = plain([old, record(), record("mlp"), late, elsewhere])
    assert "9f8e7d6c" not in text
    assert "test set 1a2b3c4d (500000 examples): looked at 3 times" in text
    assert "looked at once" in plain([record()])
    assert objects([old, record(), late])[0]["test_looks"] == 2


def test_looks_may_be_counted_over_more_records_than_are_shown():
    """A run shows its own cells, but others looked at the same test set before."""
    others = [record("mlp"), record("svm"), record()]
    text = plain([record()], looked=others)
    assert "looked at 3 times" in text
    assert "mlp" not in text


def test_the_legend_explains_a_value_in_brackets():
    """Whoever does not know the brackets can read them off an example."""
    both = {"auc": Value(0.75, 0.01), "accuracy": Value(0.703, 0.0099)}
    text = unwrapped(plain([record(metrics=both)], columns=["accuracy"]))
    assert f"0.7030(99)({DASH}): mean over seeds 0.7030, ±0.0099 standard error" in text
    seeds = [both | {"accuracy": Value(a, 0.0099)} for a in (0.703, 0.7044)]
    rows = [record(seed=i, metrics=m) for i, m in enumerate(seeds)]
    text = unwrapped(plain(rows, columns=["accuracy"]))
    assert "0.7037(99)(10): mean over seeds 0.7037, ±0.0099 standard error of the test" in text
    assert "sample, ±0.0010 standard deviation over seeds" in text


def test_times_of_another_machine_or_setting_are_named_and_nothing_else():
    """AUC may be compared; latency and training time may not, and the note says what differs."""

    def timed(model: str, processor: str, threads: int) -> Record:
        about = Provenance(machine=Machine(processor=processor), threads=threads, finished="2025")
        made = record(model, cost=Cost(latencies=[LATENCY], train_seconds=1.0), provenance=about)
        return decode(encode(made))

    records = [timed("gbdt", "one", 1), timed("mlp", "one", 1), timed("other", "two", 4)]
    notes = {row["model"]: row["notes"] for row in objects(records)}
    assert notes["gbdt"] == notes["mlp"] == []
    (note,) = notes["other"]
    assert note.startswith("not comparable in latency and training with other rows: ")
    assert note.endswith("processor (two against one) and threads (4 against 1) differ")
    assert all(not row["notes"] for row in objects(records, columns=["auc"]))


def test_a_latency_in_doubt_for_some_seeds_is_one_note():
    """Which seeds they were says nothing. A table without latencies does not show it."""
    line = "latency: not steady while it was measured"
    cost = Cost(latencies=[LATENCY])
    seeds = [record(seed=i, cost=cost, warnings=[line] if i else []) for i in range(3)]
    (row,) = objects(seeds, columns=["auc", "latency"])
    assert row["notes"] == [f"{line} (some seeds)"]
    (row,) = objects(seeds, columns=["auc", "flops"])
    assert row["notes"] == []


def test_seeds_that_were_timed_on_other_machines_are_named():
    """Their mean is no latency of either."""

    def timed(seed: int, processor: str) -> Record:
        about = Provenance(machine=Machine(processor=processor), finished="2025")
        cost = Cost(latencies=[LATENCY])
        return decode(encode(record(seed=seed, cost=cost, provenance=about)))

    (row,) = objects([timed(0, "one"), timed(1, "two")])
    (note,) = row["notes"]
    assert note == (
        "latency: mean over seeds that were measured with different settings: "
        "processor (one and two)"
    )
