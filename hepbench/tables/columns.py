"""The columns of result tables: names, titles, and which metrics can be compared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from hepbench.specs.errors import UsageError
from hepbench.specs.metric import ASPECTS
from hepbench.specs.text import unknown
from hepbench.storage.records import Cost

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


# of the latencies, two are columns; gaps are notes
COSTS = (
    *(n for n in Cost.__struct_fields__ if n not in ("latencies", "gaps")),
    *("latency", "large_batch", "batch_latency", "load"),
)


COUNTS = (*COSTS, "epochs", "best_epoch")


OTHERS = ("seeds", "published")


PARTS = {"train": "metrics_train", "validation": "metrics_validation"}


TIMES = ("latency", "batch_latency", "train_seconds", "examples_per_second")


LOSS_METRICS = ("reconstruction", "kl", "latent_sparsity", "auc_reconstruction", "auc_elbo")


DEFAULT_COLUMNS = (
    *("auc", "seeds", "train_auc", "accuracy", "rejection_50", "ams", "log_loss"),
    *LOSS_METRICS,
    *("parameters", "flops", "latency", "epochs", "train_seconds", "published"),
)


TITLES = {
    "auc": "AUC",
    "ams": "AMS",
    "kl": "KL",
    "auc_reconstruction": "AUC of rec.",
    "auc_elbo": "AUC of ELBO",
    "parameters": "params",
    "flops": "FLOPs",
    "train_seconds": "training",
    "peak_memory_mb": "memory (MB)",
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
        optional: columns that a table leaves out where no row has a value.
    """

    group: str
    labels: Sequence[str]
    names: Sequence[str]
    metrics: Metrics
    optional: frozenset[str] = frozenset()

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


def check(names: Iterable[str], records: Iterable[Record], metrics: Metrics) -> None:
    """Raise UsageError if a table column does not exist."""
    tests = set(metrics).union(*(record.metrics for record in records))
    parts = (f"{part}_{name}" for part in PARTS for name in tests)
    known = {*tests, *parts, *COUNTS, *OTHERS, *LABELS}
    for name in names:
        if name not in known:
            raise UsageError(unknown("column", name, known))


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
    return TITLES.get(name) or re.sub(r"^rejection (\d+)$", r"rej. \1 %", words)
