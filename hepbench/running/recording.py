"""Parts of a record, made from the results of stages: examples, history, parameters, cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from hepbench.specs.references import uses
from hepbench.storage.records import Cost, Latency, Round

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hepbench.planning.matrix import Combination
    from hepbench.specs.metric import Predictions
    from hepbench.storage.records import Device


SPLIT_FACTS = (
    *("n_validation", "n_test", "split_hash"),
    *("contents", "test_contents", "duplicates"),
)


def example_counts(split: Mapping[str, Any], *, trained: int) -> dict[str, Any]:
    """Return the fields of ``DataSummary`` that come from the split; examples without their label
    count as unlabelled.
    """
    withheld = split["n_train"] - trained
    sizes = {"n_train": trained, "n_unlabelled": split["n_unlabelled"] + withheld}
    return sizes | {name: split[name] for name in SPLIT_FACTS}


def history(chain: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Return the epochs of every step of a chain, each with the number of its step.

    Args:
        chain: results of the method stages, in order.
    """
    return [
        {"step": float(step), **row}
        for step, facts in enumerate(chain)
        for row in facts.get("history", ())
    ]


def params(c: Combination) -> dict[str, Any]:
    """Return the parameters of a combination as a record holds them."""
    names = uses(entry.spec.name for entry in c.methods)
    return {
        "dataset": dict(c.dataset_params),
        "model": dict(c.model_params),
        "methods": {n: dict(params) for n, params in zip(names, c.method_params, strict=True)},
    }


def label_warnings(c: Combination, test: Predictions) -> list[str]:
    """Warn if the encoder whose loss gives anomaly scores was trained with labels, too."""
    jointly = [
        m.spec.name
        for m in c.methods
        if "pretrain" in m.spec.needs and m.spec.labels and m.spec.makes == "classifier"
    ]
    if not (test.values and jointly):
        return []
    return [f"values: the encoder saw labels, too ({jointly[-1]}): no unsupervised anomaly score"]


def cost_warnings(warnings: Sequence[str]) -> list[str]:
    """Return the warnings of a cost stage; one line for all latencies that were not steady."""
    unsteady = any(warning.startswith("latency:") for warning in warnings)
    others = [warning for warning in warnings if not warning.startswith("latency:")]
    line = "latency: not steady while it was measured (other work, or the processor's speed)"
    return [*others, line] if unsteady else others


def cost(
    chain: list[dict[str, Any]], measured: dict[str, Any], *, device: Device, measured_on: str
) -> Cost:
    """Return the cost of training, and that of scoring if it was measured.

    Args:
        chain: results of the method stages, in order.
        measured: result of the cost stage, or empty.
        device: where latencies were measured.
        measured_on: key of the method stage whose network was timed.
    """
    seconds = sum(facts["seconds"] for facts in chain)
    training = {
        "train_seconds": seconds,
        "examples_per_second": chain[-1]["examples"] / seconds if seconds else None,
        "peak_memory_mb": max(facts["peak_memory_mb"] for facts in chain),
    }
    # the method stage counted the parameters that a score depends on
    counted = {k: v for k, v in chain[-1].items() if k in {"parameters", "nonzero_parameters"}}
    timed = latencies(measured, device=device, measured_on=measured_on)
    known = {**training, **measured, **counted, "latencies": timed}
    return msgspec.convert({k: v for k, v in known.items() if k in Cost.__struct_fields__}, Cost)


def latencies(measured: Mapping[str, Any], *, device: Device, measured_on: str) -> list[Latency]:
    """Return the latencies that a cost stage measured, one for each runtime and batch."""
    return [
        Latency(
            runtime=runtime,
            batch=int(batch),
            median_ms=timed["median"],
            p95_ms=timed["p95"],
            # a result that an older hepbench left in the cache has no rounds
            rounds=msgspec.convert(timed.get("rounds", ()), list[Round]),
            load=measured.get("load"),
            measured_on=measured_on,
            device=device,
        )
        for runtime, batches in measured.get("latency_ms", {}).items()
        for batch, timed in batches.items()
    ]
