"""Results with chosen scores, to compare: cells of models whose trainings differ as they are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from hepbench import Predictions
from hepbench.evaluation import metrics
from hepbench.storage.costs import Cost, Latency
from hepbench.storage.records import (
    DataSummary,
    Failure,
    Machine,
    Provenance,
    Record,
    Stored,
    Value,
)
from hepbench.storage.results import ResultsFolder

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Cell:
    """How the records of one model are made.

    Attributes:
        separation: of signal and background, in standard deviations of the noise.
        spread: standard deviation of the separation over trainings.
        own: noise that each training has of its own.
        first: seed of the generator: other numbers stand for other seeds.
        seeds: number of trainings.
        failed: seeds that fail.
        cost: of each record.
        latencies: of each seed with its reference, in ms.
        learning_rate: a part of the key.
    """

    separation: float = 1.19
    spread: float = 0.0
    own: float = 0.3
    first: int = 0
    seeds: int = 3
    failed: tuple[int, ...] = ()
    cost: dict[str, Any] | None = None
    latencies: tuple[tuple[float, float | None], ...] = ()
    learning_rate: float = 0.1


def run(folder: Path, *, n: int = 2000, data: str = "d1", suite: str = "made", suite_file: str = "",
        weights: bool = False, **cells: Cell) -> ResultsFolder:  # fmt: skip
    """Write the results of a run: a cell for each model, all on the same ``n`` test examples."""
    results = ResultsFolder(folder)
    labels = np.arange(n) % 2
    noise = np.random.default_rng(99).normal(size=n)
    columns = {"labels": labels, "ids": np.arange(n)}
    if weights:
        columns["weights"] = np.random.default_rng(98).lognormal(size=n)
    both = {f"{part}.{name}": a for part in ("test", "validation") for name, a in columns.items()}
    stored = _saved(results, suite, "labels/all.npz", both)
    for model, cell in cells.items():
        for seed in range(cell.seeds):
            rng = np.random.default_rng([seed + cell.first, *model.encode()])
            separation = cell.separation + cell.spread * rng.normal()
            logits = separation * (labels - 0.5) + noise + cell.own * rng.normal(size=n)
            signal = 1 / (1 + np.exp(-logits))
            scores = np.stack([1 - signal, signal], axis=1).astype(np.float32)
            name = f"predictions/{model}{seed}.npz"
            kept = _saved(results, suite, name, {"test": scores, "validation": scores})
            record = _record(model, seed, cell, data=data, suite=suite, n=n)
            record |= {"provenance": _provenance(suite_file, cell)}
            if record["status"] == "ok":
                record |= {"predictions": kept, "labels": stored}
                record["metrics"] = _metrics(labels, scores, columns.get("weights"))
            results.write(Record(**record))
    return results


def _saved(results: ResultsFolder, suite: str, name: str, arrays: dict[str, Any]) -> Stored:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    return results.create(suite, name, write)


def _metrics(labels: Any, scores: Any, weights: Any) -> dict[str, Value]:
    part = Predictions(labels=labels, scores=scores.astype(float), weights=weights)
    part = Predictions(labels=labels, scores=part.scores, weights=weights, validation=part)
    found = {name: getattr(metrics, name)(part) for name in ("auc", "accuracy", "log_loss")}
    return {name: Value(each.value, each.stderr) for name, each in found.items()}


def _provenance(suite_file: str, cell: Cell) -> Provenance:
    return Provenance(
        hepbench="0.1",
        machine=Machine(processor="p1"),
        threads=1,
        suite_file=suite_file,
        started="2026-11-20T10:00:00+00:00",
        finished=f"2026-11-20T10:0{cell.first % 10}:00+00:00",
    )


def _record(model: str, seed: int, cell: Cell, *, data: str, suite: str, n: int) -> dict[str, Any]:
    failed = seed in cell.failed
    error = Failure(stage="scratch", type="ValueError", message="told to fail")
    timed = [
        Latency(runtime="onnxruntime", batch=1, median_ms=ms, p95_ms=2 * ms, reference_ms=reference)
        for ms, reference in cell.latencies[seed : seed + 1]
    ]
    return {
        "suite": suite,
        "dataset": "higgs",
        "model": model,
        "method": "scratch",
        "chain": "scratch",
        "preset": "quick",
        "seed": seed,
        "params": {"methods": {"scratch": {"learning_rate": cell.learning_rate}}},
        "key": f"{seed:012x}{crc32(repr((model, cell)).encode()):012x}",
        "status": "failed" if failed else "ok",
        "error": error if failed else None,
        "cost": Cost(**(cell.cost or {}), latencies=timed),
        "data": DataSummary(
            source="sample", fingerprint=data, contents=data, test_contents=data, split_hash="s1",
            n_test=n,
        ),
        "key_parts": {"scratch": {"method": "scratch", "seed": seed,
                                  "params": {"learning_rate": cell.learning_rate}}},
    }  # fmt: skip
