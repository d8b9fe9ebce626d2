"""Findings on a dataset: which pairs of rows are tested, and what is said of them."""

from __future__ import annotations

from typing import Any

from made_records import FILE, METRICS, Comparing, plain, record, seeds

from hepbench.specs.text import one_line
from hepbench.storage.costs import Cost, Latency, Round
from hepbench.storage.records import DataSummary, Published, Value
from hepbench.tables.columns import Columns
from hepbench.tables.ranked import ranked
from hepbench.tables.rows import collect

STEADY = {"runtime": "onnxruntime", "batch": 1, "p95_ms": 9.0}


def findings(records, compare=None, *, metric="auc", metrics=METRICS):
    """The findings on the rows of one dataset."""
    columns = Columns(group="dataset", labels=(), names=[metric], metrics=metrics)
    (peers,) = ranked(collect(records, columns=[metric]), columns, compare or Comparing(0))
    return peers.findings


def part(name: str, *, labels=True, frozen=False, own_loss=False, **params: Any) -> dict[str, Any]:
    """What a key holds of one method of a chain."""
    freezes = ["encoder"] if frozen else []
    return {
        "method": name,
        "labels": labels,
        "own_loss": own_loss,
        "params": params,
        "network": {"freezes": freezes},
        "network_code": {},
    }


def network(model: str, auc: float, *parts: dict[str, Any], cost: Cost | None = None, **more: Any):
    """Records of a network, with the parts of its key for each method of its chain."""
    names = [each["method"] for each in parts]
    key_parts = {f"{'+'.join(names[: i + 1])} {model}": each for i, each in enumerate(parts)}
    fields = {
        "chain": "+".join(names),
        "key_parts": key_parts,
        "cost": cost or Cost(flops=1000),
        "data": DataSummary(**FILE, n_train=10),
    }
    return seeds(model, auc, **(fields | more))


def timed(flops: int, ms: float, cpu: float | None = None, **more: Any) -> Cost:
    """Costs with a latency."""
    return Cost(flops=flops, latencies=[Latency(median_ms=ms, cpu_ms=cpu, **STEADY, **more)])


def calls(wall: float, cpu: float) -> Round:
    """A round of calls."""
    return Round(calls=9, wall_s=wall / 100, cpu_s=cpu / 100, median_ms=wall, cpu_ms=cpu)


TRAIN, CUT = part("train"), part("cut")


def test_a_network_that_later_steps_made_smaller_is_compared_with_the_one_that_they_began_with():
    """With its operations, its time if that is known, and the tested difference."""
    whole = network("net", 0.80, TRAIN, cost=timed(1000, 3.0))
    small = network("net", 0.79, TRAIN, CUT, cost=timed(250, 1.5))
    (said,) = findings([*whole, *small])
    assert said == (
        "net train+cut needs 4 times fewer FLOPs and 2 times less time than net train: "
        "AUC 0.010 ± 0.010 lower, not significant."
    )
    slow = network("net", 0.70, TRAIN, CUT, cost=timed(250, 3.0))
    (said,) = findings([*whole, *slow])
    assert said == (
        "net train+cut needs 4 times fewer FLOPs and no less time than net train: "
        "AUC 0.100 ± 0.010 lower, significant."
    )


def test_a_doubtful_time_is_not_told_but_the_time_of_the_processor_is():
    """Other work on the machine makes a call longer, but not its CPU time."""
    whole = network("net", 0.80, TRAIN, cost=timed(1000, 3.0, 3.0, rounds=[calls(3.0, 3.0)] * 5))
    wild = [calls(wall, 1.5) for wall in (1.5, 9.0, 8.0, 9.0, 7.0)]
    small = network("net", 0.79, TRAIN, CUT, cost=timed(250, 1.5, 1.5, rounds=wild))
    (said,) = findings([*whole, *small])
    assert "4 times fewer FLOPs and 2 times less CPU time than" in said


def test_of_many_smaller_networks_the_smallest_that_ties_is_told_or_the_best():
    """One sentence for each network that others were made from."""
    rows = [*network("net", 0.80, TRAIN)]
    for flops, auc in ((500, 0.80), (200, 0.79), (50, 0.60)):
        name = f"cut[to={flops}]"
        rows += network("net", auc, TRAIN, part(name), cost=Cost(flops=flops))
    (said,) = findings(rows)
    assert said.startswith("net train+cut[to=200] needs 5 times fewer FLOPs than net train:")
    (said,) = findings(rows, Comparing(0, limit=-1.0))
    assert said.startswith("net train+cut[to=500] needs 2 times fewer FLOPs")


def test_networks_with_equal_scores_are_the_same():
    """A difference of 0 is neither higher nor lower."""
    rows = [*network("net", 0.80, TRAIN), *network("net", 0.80, TRAIN, CUT, cost=Cost(flops=500))]
    (said,) = findings(rows)
    assert said.endswith("2 times fewer FLOPs than net train: AUC the same, not significant.")


def test_networks_that_need_as_many_operations_are_not_called_smaller():
    """Zeros among the weights save nothing."""
    rows = [*network("net", 0.80, TRAIN), *network("net", 0.79, TRAIN, CUT)]
    assert findings(rows) == []


OWN = part("own", labels=False)


def test_a_pretrained_network_is_compared_with_one_that_had_the_same_labels():
    """Both trained as a whole; whatever their methods are called."""
    rows = [*network("net", 0.80, OWN, part("tune")), *network("net", 0.70, part("plain"))]
    assert findings(rows) == [
        "With 10 labels, net own+tune against net plain: AUC 0.100 ± 0.010 higher, significant."
    ]


def test_a_pretrained_network_is_not_compared_with_one_that_was_trained_otherwise():
    """A frozen encoder, another model, an own loss beside the labels, a network of other settings."""
    probe = part("probe", frozen=True)
    pretrained = network("net", 0.80, OWN, probe)
    assert findings([*pretrained, *network("net", 0.70, part("plain"))]) == []
    tuned = network("net", 0.80, OWN, part("tune"))
    assert findings([*tuned, *network("other", 0.70, part("plain"))]) == []
    assert findings([*tuned, *network("net", 0.70, part("joint", own_loss=True))]) == []
    assert findings([*tuned, *seeds("net", 0.70, key_parts={"x": {"network_code": {}}})]) == []
    wider = {"params": {"model": {"width": 9}}}
    assert findings([*tuned, *network("net", 0.70, part("plain"), **wider)]) == []
    # the encoder of a probe may be a random one
    (said,) = findings([*pretrained, *network("net", 0.70, probe, chain="fresh+probe")])
    assert said.startswith("With 10 labels, net own+probe against net fresh+probe:")


def test_a_cheaper_network_that_ties_with_the_best_network_is_told():
    """The cheapest one; not one that is significantly worse."""
    rows = [
        *network("large", 0.80, TRAIN),
        *network("middle", 0.79, TRAIN, cost=Cost(flops=500)),
        *network("small", 0.78, TRAIN, cost=Cost(flops=100)),
        *network("tiny", 0.60, TRAIN, cost=Cost(flops=10)),
    ]
    (said,) = findings(rows)
    assert said == (
        "small needs 10 times fewer FLOPs than large and is not significantly worse "
        "(AUC 0.020 ± 0.010 lower)."
    )


def test_a_published_value_stands_beside_that_of_the_row():
    """Of few rows; more of them are a column of the table."""
    value = Published(cell="*", metrics={"auc": 0.9}, source="A paper", n_test=4000, caveat="old")
    known = {"published": value}
    assert findings(seeds("a", 0.8, **known)) == [
        "a: AUC 0.800 here, 0.9 published in A paper on 4,000 test examples; caveat: old."
    ]
    many = [r for i in range(4) for r in seeds(f"a{i}", 0.8 - i / 100, **known)]
    assert findings(many) == []


def test_of_a_loss_a_higher_value_is_worse():
    """The metric's direction decides what ties."""
    made = []
    for loss, flops in ((0.3, 1000), (0.5, 100)):
        made += network("big" if flops == 1000 else "small", 0.8, TRAIN, cost=Cost(flops=flops))
        made[-2:] = [_with_loss(each, loss) for each in made[-2:]]
    assert findings(made, metric="log_loss") == []
    assert len(findings(made, Comparing(0, limit=0.3), metric="log_loss")) == 1


def _with_loss(made, loss):
    return record(made.model, made.seed, key_parts=made.key_parts, chain=made.chain, cost=made.cost,
                  metrics={"log_loss": Value(loss, 0.01)})  # fmt: skip


def test_findings_stand_below_the_verdict_on_their_dataset():
    """Each on lines of its own; in Markdown as a list."""
    rows = [*network("net", 0.80, OWN, part("tune")), *network("net", 0.70, part("plain"))]
    text = plain(rows, compare=Comparing(0))
    assert "\n  With 10 labels, net own+tune against net plain:" in text
    assert "\n  - With 10 labels" in plain(rows, compare=Comparing(0), format="github")
    assert one_line("higgs: net own+tune is best") in text


def test_without_predictions_nothing_is_claimed_of_pairs():
    """Differences that cannot be tested are not told."""
    rows = [*network("net", 0.80, OWN, part("tune")), *network("net", 0.70, part("plain"))]
    assert "against" not in plain(rows)
