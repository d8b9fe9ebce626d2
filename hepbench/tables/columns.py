"""The columns of result tables: names, titles, and which metrics can be compared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from hepbench.specs.metric import ASPECTS
from hepbench.storage.costs import LATENCIES, Cost

if TYPE_CHECKING:
    from hepbench.storage.records import Record


Metrics: TypeAlias = Mapping[str, tuple[bool | None, frozenset[str]]]
"""By metric: whether higher is better, and what must be equal in rows to compare their values."""


class Labels(NamedTuple):
    """The names that identify a table row; ``source`` is empty where it is not recorded."""

    suite: str
    dataset: str
    model: str
    chain: str
    preset: str
    source: str


LABELS = Labels._fields


# latencies have columns by runtime; gaps are notes
COSTS = (
    *(n for n in Cost.__struct_fields__ if n not in ("stated", "latencies", "gaps")),
    *LATENCIES,
    *("large_batch", "load"),
)


COUNTS = (*COSTS, "epochs", "best_epoch")


OTHERS = ("seeds", "labels_from_scratch", "published")


PARTS = {"train": "metrics_train", "validation": "metrics_validation"}


TIMES = (
    *LATENCIES,
    "train_seconds",
    "train_cpu_seconds",
    "pretrain_cpu_seconds",
    "trained_per_second",
)


LOSS_METRICS = ("reconstruction", "kl", "latent_sparsity", "auc_reconstruction", "auc_elbo")


DEFAULT_COLUMNS = (
    *("auc", "seeds", "labels_from_scratch", "rejection_50", "ams"),
    *("parameters", "flops", "latency"),
)


FEW_ROWS = ("labels_from_scratch",)
"""Default columns that are shown also if few rows have a value."""


WORTH_NAMING = (
    *("train_auc", "accuracy", "log_loss", *LOSS_METRICS),
    *("epochs", "train_seconds", "pretrain_cpu_seconds", "published"),
)
"""Columns that the usual tables mention, if they have values."""


LEAST_NEEDED = ("parameters", "rejection_50", "ams", "flops")
"""Default columns that a narrow table leaves out, the first one first."""


ALL = "all"
"""Stands for all columns in which a row has a value."""


UNITS = {
    **{name: f"{name}_ms" for name in LATENCIES},
    "load": "load_cores",
}
"""Names of columns in CSV and JSON where the column's name lacks the unit."""


TITLES = {
    "auc": "AUC",
    "ams": "AMS",
    "kl": "KL",
    "auc_reconstruction": "AUC of rec.",
    "auc_elbo": "AUC of ELBO",
    "parameters": "params",
    "flops": "FLOPs",
    "train_seconds": "training",
    "train_cpu_seconds": "training (CPU)",
    "trained_per_second": "trained examples/s",
    "pretrain_cpu_seconds": "pretraining (CPU)",
    "pretrain_examples": "pretraining examples",
    "peak_memory_mb": "memory (MB)",
    "load": "load (cores)",
}


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns of result tables.

    Attributes:
        group: field of a record; each of its values has a table of its own.
        labels: those of LABELS that are needed to tell rows apart.
        names: of the other columns: test metrics by their name, those of other parts as
            ``train_auc``.
        metrics: direction and comparability of metrics.
        asked: whether the user named the columns; else tables leave out those with few values.
    """

    group: str
    labels: Sequence[str]
    names: Sequence[str]
    metrics: Metrics
    asked: bool = True

    @cached_property
    def tests(self) -> list[str]:
        """Names of the columns with metrics of test examples."""
        others = (*COUNTS, *OTHERS)
        return [name for name in self.names if name not in others and base(name) == name]

    @cached_property
    def main(self) -> str:
        """The name of the first test metric, which ranks rows; empty if there is none."""
        return next(iter(self.tests), "")

    def direction(self, name: str) -> bool | None:
        """Return whether higher values of a metric are better; None if neither is."""
        return self.metrics[name][0] if name in self.metrics else None

    def same(self, name: str) -> frozenset[str]:
        """Return what must be equal in two rows to compare their values of a metric."""
        return self.metrics[name][1] if name in self.metrics else frozenset(ASPECTS)


def known(records: Iterable[Record], metrics: Metrics) -> set[str]:
    """Return the names of all columns that tables of these records can have, with labels."""
    tests = _test_metrics(records, metrics)
    parts = (f"{part}_{name}" for part in PARTS for name in tests)
    return {*tests, *parts, *COUNTS, *OTHERS, *LABELS}


def ordered(records: Iterable[Record], metrics: Metrics) -> list[str]:
    """Return the names of the columns of a table with all of them, labels apart.

    Of training and validation examples only the first metric is there.
    """
    tests = _test_metrics(records, metrics)
    parts = [f"{part}_{name}" for name in tests[:1] for part in PARTS]
    every = [*tests[:1], *parts, *tests[1:], *OTHERS, *DEFAULT_COLUMNS, *COUNTS]
    return [name for name in dict.fromkeys(every) if name in {*tests, *parts, *OTHERS, *COUNTS}]


def _test_metrics(records: Iterable[Record], metrics: Metrics) -> list[str]:
    """Return the names of all metrics, the usual ones first."""
    every = dict.fromkeys([*metrics, *sorted({name for r in records for name in r.metrics})])
    return list(dict.fromkeys([*(n for n in DEFAULT_COLUMNS if n in every), *every]))


def named(text: str) -> str:
    """Return the name of the column that a user means: also as CSV and JSON call it."""
    return {title: name for name, title in UNITS.items()}.get(text, text)


@cache
def base(name: str) -> str:
    """Return the metric of a table column: ``auc`` for ``train_auc`` and ``validation_auc``."""
    part, _, metric = name.partition("_")
    return metric if part in PARTS and name not in COUNTS else name


def title(name: str) -> str:
    """Return the title of a table column in words."""
    if (metric := base(name)) != name:
        return f"{name.partition('_')[0]} {title(metric)}"
    words = name.replace("_", " ")
    if name in LATENCIES:
        return _latency_title(words)
    return TITLES.get(name) or re.sub(r"^rejection (\d+)$", r"rej. \1 %", words)


def _latency_title(words: str) -> str:
    """Return the title of a column of latencies: ``latency (Python, CPU)``."""
    batch, _, rest = words.partition("latency")
    kinds = ", ".join({"python": "Python", "cpu": "CPU"}.get(word, word) for word in rest.split())
    return f"{batch}latency ({kinds})" if kinds else f"{batch}latency"
