"""The parts of a record: examples, history, parameters, warnings and cost of a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from hepbench.specs.references import uses
from hepbench.storage.records import Cost

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hepbench.planning.matrix import Combination
    from hepbench.specs.metric import Predictions


SPLIT_FACTS = (
    *("n_validation", "n_test", "split_hash"),
    *("contents", "test_contents", "duplicates"),
)


def examples(split: Mapping[str, Any], *, trained: int) -> dict[str, Any]:
    """Return what is told of the examples: those whose labels were withheld count as unlabelled."""
    withheld = split["n_train"] - trained
    sizes = {"n_train": trained, "n_unlabelled": split["n_unlabelled"] + withheld}
    return sizes | {name: split[name] for name in SPLIT_FACTS}


def history(chain: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Return the epochs of every step of a chain, each with the number of its step."""
    return [
        {"step": float(step), **row}
        for step, facts in enumerate(chain)
        for row in facts.get("history", ())
    ]


def params(c: Combination) -> dict[str, Any]:
    names = uses(entry.spec.name for entry in c.methods)
    return {
        "dataset": dict(c.dataset_params),
        "model": dict(c.model_params),
        "methods": {n: dict(params) for n, params in zip(names, c.method_params, strict=True)},
    }


def supervised(c: Combination, test: Predictions) -> list[str]:
    """Say where values of an encoder's own loss, such as anomaly scores, hang on labels too."""
    jointly = [
        m.spec.name
        for m in c.methods
        if "pretrain" in m.spec.needs and m.spec.labels and m.spec.makes == "classifier"
    ]
    if not (test.values and jointly):
        return []
    return [f"values: the encoder saw labels too ({jointly[-1]}): no unsupervised anomaly score"]


def doubts(warnings: Sequence[str]) -> list[str]:
    """Return what is doubtful about a cost; one line for all latencies that were not steady."""
    unsteady = any(warning.startswith("latency:") for warning in warnings)
    others = [warning for warning in warnings if not warning.startswith("latency:")]
    line = "latency: not steady while it was measured (other work, or the processor's speed)"
    return [*others, line] if unsteady else others


def cost(chain: list[dict[str, Any]], measured: dict[str, Any]) -> Cost:
    """Return what training cost, and what scoring costs where that was measured."""
    seconds = sum(facts["seconds"] for facts in chain)
    training = {
        "train_seconds": seconds,
        "examples_per_second": chain[-1]["examples"] / seconds if seconds else None,
        "peak_memory_mb": max(facts["peak_memory_mb"] for facts in chain),
    }
    # parameters are those that a score depends on, as the method's stage counted them
    counted = {k: v for k, v in chain[-1].items() if k in {"parameters", "nonzero_parameters"}}
    known = {**training, **measured, **counted}
    return msgspec.convert({k: v for k, v in known.items() if k in Cost.__struct_fields__}, Cost)
