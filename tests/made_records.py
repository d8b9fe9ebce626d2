"""Records made for tests of tables, and stand-ins for the comparison of rows."""

from __future__ import annotations

import json
from statistics import fmean
from typing import Any, NamedTuple

from hepbench.specs.errors import ResultsError
from hepbench.storage.costs import Latency
from hepbench.storage.records import (
    DataSummary,
    Failure,
    Provenance,
    Record,
    Value,
)
from hepbench.tables import document
from hepbench.tables.request import Request

SAME = frozenset({"data", "split", "labels"})
METRICS = {
    "auc": (True, SAME),
    "accuracy": (True, SAME),
    "rejection_50": (True, SAME),
    "log_loss": (False, SAME),
}
FILE = {"source": "file", "fingerprint": "aaaaaaaaaa", "split_hash": "1a2b3c4d5e", "n_test": 500000}
SAMPLE = {
    "source": "sample",
    "fingerprint": "bbbbbbbbbb",
    "split_hash": "9f8e7d6c5b",
    "n_test": 2196,
}


LATENCY = Latency(runtime="onnxruntime", batch=1, median_ms=1.0, p95_ms=2.0)


def record(
    model: str = "gbdt",
    seed: int = 0,
    auc: float = 0.75,
    stderr: float | None = 0.01,
    *,
    finished: str = "2025-11-20T10:00:00",
    **changed: Any,
) -> Record:
    """A good record of higgs from file, changed where the test says so."""
    fields: dict[str, Any] = {
        "suite": "standard",
        "dataset": "higgs",
        "model": model,
        "method": "scratch",
        "chain": "scratch",
        "preset": "quick",
        "seed": seed,
        "params": {},
        "key": f"{model}-{seed}-{finished}",
        "status": "ok",
        "metrics": {"auc": Value(auc, stderr)},
        "data": DataSummary(**FILE),
        "provenance": Provenance(finished=finished),
    }
    return Record(**(fields | changed))


def failed(
    model: str = "gbdt", seed: int = 0, message: str = "out of memory", **changed: Any
) -> Record:
    """A record as a run writes it for a cell that failed: no data, no metrics."""
    error = Failure(stage="finetune", type="MemoryError", message=message)
    parts = {"read": {"source": "file"}}
    fields = {"status": "failed", "metrics": {}, "data": None, "error": error, "key_parts": parts}
    return record(model, seed, **(fields | changed))


class Found(NamedTuple):
    """What a comparison of rows found: places of the best ones, and of those on other examples."""

    best: tuple[int, ...]
    elsewhere: tuple[int, ...] = ()
    differences: tuple[Any, ...] = ()


class Difference(NamedTuple):
    """The difference of two rows, as a comparison finds it."""

    value: float
    stderr: float
    significant: bool


class Comparing:
    """Stands for the comparison of rows: finds what it was given, and keeps what it was asked.

    Pairs differ by their values; they do so significantly beyond ``limit``.
    """

    def __init__(self, *best: int, elsewhere: tuple[int, ...] = (), limit: float = 0.05):
        self.found = Found(best, elsewhere)
        self.limit = limit
        self.asked: list[list[str]] = []

    def __call__(self, rows, metric, pairs=()):
        self.asked.append([f"{row[0].model}{len(row)}" for row in rows])
        return self.found._replace(differences=tuple(self._differences(rows, metric, pairs)))

    def _differences(self, rows, metric, pairs):
        values = [fmean(each.metrics[metric].value for each in row) for row in rows]
        for first, second in pairs:
            value = values[first] - values[second]
            yield Difference(value, 0.01, abs(value) > self.limit)


def without_predictions(rows, metric, pairs=()):
    """Results beside which no predictions are stored."""
    raise ResultsError("higgs/gbdt/scratch#0: no predictions were recorded")


def table(records: list[Record], *, compare=without_predictions, **how: Any) -> str:
    """A table, by default of results without predictions."""
    own = ("metrics", "looked", "count_labels")
    given = {name: how.pop(name) for name in own if name in how}
    return document.table(records, compare=compare, request=Request(**how), **given)


def seeds(model: str, auc: float = 0.75, *, n: int = 2, **changed: Any) -> list[Record]:
    """Records of all seeds of a row."""
    return [record(model, seed, auc, **changed) for seed in range(n)]


def objects(records: list[Record], **how: Any) -> list[dict[str, Any]]:
    """The rows of a table, unrounded."""
    found: list[dict[str, Any]] = json.loads(table(records, metrics=METRICS, format="json", **how))
    return found


def plain(records: list[Record], **how: Any) -> str:
    """A table for a terminal."""
    return table(records, metrics=METRICS, **how)


def unwrapped(text: str) -> str:
    """A text without line ends."""
    return " ".join(text.split())


def row_of(text: str, model: str) -> str:
    """The line of a plain table that begins with a model."""
    return next(line for line in text.splitlines() if line.startswith(f"{model} "))


def models(records: list[Record], **how: Any) -> list[str]:
    """Which models a table shows, from above."""
    return [row["model"] for row in objects(records, **how)]
