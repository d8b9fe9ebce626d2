"""Make table rows from records: the newest record of each cell, averaged over seeds."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from hepbench.evaluation.seed_averages import over_seeds
from hepbench.specs.metric import ASPECTS
from hepbench.storage import keys
from hepbench.storage.costs import LATENCIES
from hepbench.storage.records import Value
from hepbench.tables.columns import COSTS, COUNTS, LABELS, OTHERS, PARTS, Labels, base

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hepbench.evaluation.labels_needed import LabelsNeeded
    from hepbench.evaluation.seed_averages import SeedAverage
    from hepbench.storage.records import DataSummary, Published, Record


SETTING = ("processor", "threads", "device", "precision")


Standing = Literal["best", "tied", "worse", "unclear", ""]
"""How a row compares with the best one: not significantly worse; the same, where no row is worse;
significantly worse; unclear, as its seeds differ by too much; empty: not tested."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A table row: the newest records of one cell, which differ only in their seeds.

    Attributes:
        group: value of the field by which tables are grouped.
        labels: names that identify the row.
        cells: records of all seeds, in order.
        averages: over seeds, by column.
        labels_from_scratch: labels that a training from scratch needs to be as good, for rows that
            pretrain. This attribute and the next one are set by ``label_efficiency.fill``.
        labels_note: why this number is not known; empty if it is, or if there is nothing to compare.
        comparable: its value can be compared with the best one. This attribute and the next two
            are set when rows are ranked.
        standing: how it compares with the best row; see ``stars``.
        notes: lines below the table.
    """

    group: Any
    labels: Labels
    cells: list[Record]
    averages: Mapping[str, SeedAverage]
    labels_from_scratch: LabelsNeeded | None = None
    labels_note: str = ""
    comparable: bool = False
    standing: Standing = ""
    notes: list[str] = field(default_factory=list)

    @property
    def best(self) -> bool:
        """Whether the row is marked: not significantly worse than the best one, as others are."""
        return self.standing == "best"

    @cached_property
    def is_network(self) -> bool:
        """Whether the row's model is a network, as far as its records show."""
        return any("network_code" in parts for parts in self.record.key_parts.values())

    @cached_property
    def inputs(self) -> list[str]:
        """Names of the inputs that the row's model sees; empty in older records."""
        return [*self.record.key_parts.get("inputs", {}).get("inputs", ())]

    @cached_property
    def stated(self) -> set[str]:
        """Columns of costs that an estimator states about itself."""
        return {name for record in self.ok for name in record.stated}

    @cached_property
    def ok(self) -> list[Record]:
        """Records of the seeds that succeeded."""
        return [record for record in self.cells if record.status == "ok"]

    @cached_property
    def constant(self) -> bool:
        """Whether the scores of a seed are constant, so that the row says nothing."""
        return any(record.constant_scores for record in self.ok)

    @property
    def record(self) -> Record:
        """One record of the row, from which to read what all its seeds share."""
        return (self.ok or self.cells)[0]

    @cached_property
    def data(self) -> DataSummary | None:
        """The summary of the row's data; None if all seeds failed."""
        return next((record.data for record in self.cells if record.data), None)

    @property
    def published(self) -> Published | None:
        """Published results to show in the row."""
        return next((record.published for record in self.cells if record.published), None)

    @cached_property
    def aspects(self) -> dict[str, Any]:
        """Values of ASPECTS (data, split, ...), which must be equal to compare two rows."""
        record, data = self.record, self.data
        read = record.key_parts.get("read", {})
        classes = record.params.get("dataset", {}).get("classes") or read.get("classes", ())
        return {
            "data": (data.contents or data.fingerprint) if data else "",
            "split": data.split_hash if data else "",
            "labels": tuple(map(str, classes)),
            "preset": record.preset,
            "preprocess": tuple(record.params.get("model", {}).get("preprocess", ())),
        }

    @cached_property
    def setting(self) -> dict[str, str]:
        """Values of SETTING (processor, threads, ...), which must be equal to compare times."""
        found: dict[str, set[str]] = defaultdict(set)
        for record in self.ok or self.cells:
            made = record.provenance
            # the name of a CPU is the processor
            gpu = made.device.name if made.device.kind != "cpu" else ""
            device = f"{made.device.kind} {gpu}".strip()
            values = (made.machine.processor, made.threads, device, made.device.precision)
            for name, value in zip(SETTING, values, strict=True):
                found[name].add(str(value or "not recorded"))
        return {name: " and ".join(sorted(values)) for name, values in found.items()}

    @property
    def methods(self) -> list[Mapping[str, Any]]:
        """What the row's keys hold of its methods, in the order of the chain."""
        parts = self.record.key_parts
        return [parts[name] for name in keys.methods(parts)]

    def with_value(self, metric: str) -> list[Record]:
        """Return the records of the seeds in which a metric has a value."""
        found = ((record, record.metrics.get(metric)) for record in self.ok)
        return [record for record, value in found if value is not None and value.value is not None]

    def differing(self, other: Row | None) -> list[str]:
        """Return the ASPECTS in which two rows differ; none if this row has no value."""
        if other is None or not self.ok:
            return []
        return [name for name in ASPECTS if self.aspects[name] != other.aspects[name]]


def collect(
    records: Iterable[Record], *, group: str = "dataset", columns: Iterable[str] = ()
) -> list[Row]:
    """Return table rows sorted by labels: one for all seeds of a cell, with averages.

    Seeds with other data or computed by other code get a row of their own: they are not averaged.
    """
    newest = {(*_cell_identity(record), record.seed): record for record in sorted(records, key=age)}
    families: dict[Any, list[Record]] = defaultdict(list)
    for (labels, params, _), record in sorted(newest.items()):
        value = labels.source if group == "source" else getattr(record, group)
        families[labels, params, value].append(record)
    names = {part for name in columns for part in (name, base(name))}.difference(OTHERS, LABELS)
    return [
        Row(group=value, labels=labels, cells=cells, averages=_averages(cells, names))
        for (labels, _, value), members in families.items()
        for cells in _divide_by_data(members)
    ]


def age(record: Record) -> tuple[str, str, str]:
    """Return a key that sorts records by age: the newer one has the larger key."""
    return (record.provenance.finished, record.key, record.status)


def newest(rows: Iterable[Row]) -> dict[Labels, Row]:
    """Return the newest row of each name: rows of one name are of other code or data."""
    return {row.labels: row for row in sorted(rows, key=lambda row: max(map(age, row.cells)))}


def recorded(record: Record, name: str) -> Value | None:
    """Return the value of a record in a table column of numbers."""
    if name in LATENCIES:
        ms = record.cost.milliseconds(name)
        return None if ms is None else Value(ms)
    if name in COUNTS:
        number = getattr(record.cost if name in COSTS else record, name)
        return None if number is None else Value(number)
    if (metric := base(name)) == name:
        return record.metrics.get(name)
    part: Mapping[str, Value] = getattr(record, PARTS[name.partition("_")[0]])
    return part.get(metric)


def made_of(record: Record) -> dict[str, Any]:
    """Return the parts of a record's key that all seeds of a table row share."""
    return {
        stage: {name: part for name, part in sorted(parts.items()) if name not in own}
        for stage, parts in sorted(record.key_parts.items())
        if stage not in {"evaluate", "cost"}
        # the seed of the split stays: it is set by the suite, not by the cell
        for own in [{"seed"} if "method" in parts else ()]
    }


def _cell_identity(record: Record) -> tuple[Labels, bytes]:
    """Return the names and parameters of a record's cell, without the seed."""
    # a failed cell has no data summary, but its key parts name the source
    planned = record.key_parts.get("read", {}).get("source", "")
    source = record.data.source if record.data else str(planned)
    names = (record.suite, record.dataset, record.model, record.chain, record.preset, source)
    return Labels(*names), msgspec.json.encode(record.params, order="sorted")


def _divide_by_data(members: Iterable[Record]) -> list[list[Record]]:
    """Divide records into lists whose members differ only in the seed.

    Records of failures join the longest list."""
    lists: dict[Any, list[Record]] = defaultdict(list)
    for record in members:
        data = record.data
        saw = data and (data.contents or data.fingerprint, data.split_hash)
        lists[(*saw, msgspec.json.encode(made_of(record))) if saw else None].append(record)
    blind = lists.pop(None, [])
    if not lists:
        return [blind]
    longest = max(lists.values(), key=len)
    longest.extend(blind)
    longest.sort(key=lambda record: record.seed)
    return list(lists.values())


def _averages(cells: Iterable[Record], names: Iterable[str]) -> dict[str, SeedAverage]:
    ok = [record for record in cells if record.status == "ok"]
    found = {name: over_seeds(recorded(record, name) for record in ok) for name in names}
    if not all(record.constant_scores for record in ok):
        return found
    # that equal scores have equal metrics does not mean that their errors are zero
    return {
        name: replace(average, stderr=average.stderr or None, spread=average.spread or None)
        for name, average in found.items()
    }
