"""Costs in tables: one runtime in a column, and marks of what is stated or in doubt."""

from __future__ import annotations

import msgspec
from made_records import LATENCY, objects, plain, record, row_of, unwrapped

from hepbench.storage.costs import Cost, Latency, Round

IN_PYTHON = "the column latency_python has the time in Python"


def test_a_doubt_is_about_the_latency_that_is_shown():
    """Three rounds far apart: those of ONNX Runtime, not those of torch, and not the load."""

    def timed(runtime: str, *medians: float) -> Latency:
        rounds = [Round(calls=9, wall_s=m, cpu_s=m, median_ms=m, cpu_ms=m) for m in medians]
        median = sorted(medians)[1]
        return Latency(
            runtime=runtime, batch=1, median_ms=median, p95_ms=9.0, cpu_ms=median, rounds=rounds
        )

    cost = Cost(latencies=[timed("onnxruntime", 1, 1, 1), timed("torch", 1, 2, 3)])
    made = record("mlp", cost=cost, warnings=["latency under load: other work kept 1.0 cores busy"])
    assert not objects([made], columns=["auc", "latency"])[0]["notes"]
    (row,) = objects([made], columns=["auc", "latency", "latency_torch"])
    assert "latency (torch): repeated timings differ by more than 20%" in row["notes"]
    assert (row["latency_steady"], row["latency_ms"], row["latency_torch_ms"]) == (False, 1, 2)
    text = unwrapped(plain([made], columns=["auc", "latency", "latency_torch"]))
    assert " 1 ms " in text
    assert " 2 ms?" in text
    assert (
        "?: repeated timings differ by more than 20%; measure it again on an idle machine" in text
    )


def test_a_latency_column_has_one_runtime():
    """A time in Python or torch stands in a column of its own; a dash says why."""
    native = Latency(runtime="native", batch=1, median_ms=3.4, p95_ms=4.0, cpu_ms=3.3)
    gaps = ["onnxruntime: GradientBoosting offers no ONNX graph"]
    estimator = record("gbdt", cost=Cost(latencies=[native], gaps=gaps))
    network = record("mlp", cost=Cost(latencies=[LATENCY]))
    old = record("old", cost=Cost(latencies=[msgspec.structs.replace(native, cpu_ms=None)]))
    columns = ["auc", "latency", "latency_python", "latency_python_cpu", "batch_latency"]
    rows = {row["model"]: row for row in objects([estimator, network, old], columns=columns)}
    assert [rows[name]["latency_ms"] for name in ("gbdt", "mlp", "old")] == [None, 1.0, None]
    assert [rows[name]["latency_python_ms"] for name in ("gbdt", "mlp", "old")] == [3.4, None, 3.4]
    assert [rows[name]["latency_python_cpu_ms"] for name in ("gbdt", "old")] == [3.3, None]
    assert rows["gbdt"]["notes"] == [
        f"no latency: GradientBoosting offers no ONNX graph; {IN_PYTHON}"
    ]
    assert rows["mlp"]["notes"] == []
    assert rows["old"]["notes"] == [
        f"no latency: an older hepbench did not export estimators; {IN_PYTHON}"
    ]


def test_a_failed_export_is_one_note_and_points_to_it():
    """The reason stands in the warning, also in tables without latencies."""
    timed = Latency(runtime="torch", batch=1, median_ms=3.4, p95_ms=4.0, cpu_ms=3.3)
    cost = Cost(latencies=[timed], gaps=["onnxruntime: scores differ"])
    made = record("mlp", cost=cost, warnings=["export: scores differ"])
    (row,) = objects([made], columns=["auc", "latency"])
    assert row["notes"] == [
        "export: scores differ",
        "no latency: the ONNX export failed; the column latency_torch has the time in torch",
    ]


def test_what_an_estimator_states_is_marked():
    """In records of older versions too, whose keys of networks alone hold a version of torch."""
    cost = Cost(parameters=7, flops=12)
    stated = record("gbdt", cost=msgspec.structs.replace(cost, stated=["parameters", "flops"]))
    parts = {"method": "scratch", "libraries": {"numpy": "2"}}
    old = record("old", cost=cost, key_parts={"scratch old": parts})
    network = {**parts, "libraries": {"numpy": "2", "torch": "2"}}
    counted = record("mlp", cost=cost, key_parts={"scratch mlp": network})
    rows = {row["model"]: row for row in objects([stated, old, counted], columns=["auc", "flops"])}
    assert {name: row["stated"] for name, row in rows.items()} == {
        "gbdt": ["flops"],
        "old": ["flops"],
        "mlp": [],
    }
    text = plain([stated, old, counted], columns=["auc", "flops", "parameters"])
    assert text.count("stated by the estimator, not counted: params and FLOPs") == 1
    assert [row_of(text, name).split()[-1] for name in ("gbdt", "old", "mlp")] == ["1", "1", "7"]
