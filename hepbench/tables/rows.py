"""Rows: the newest record of each cell, averaged over seeds. Pure: records in, rows out."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from hepbench.evaluation.seed_averages import over_seeds
from hepbench.storage.records import Value
from hepbench.tables.columns import ASPECTS, COSTS, COUNTS, LABELS, OTHERS, PARTS, Labels, base

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hepbench.evaluation.seed_averages import SeedAverage
    from hepbench.storage.records import DataSummary, Published, Record


SETTING = ("processor", "threads", "device", "precision")


@dataclass(frozen=True, kw_only=True)
class Row:
    """The newest records of a cell's seeds; they differ in nothing else and may be averaged.

    Attributes:
        group: the value of what tables are grouped by.
        labels: what names it.
        cells: all seeds, in order.
        figures: by the name of a column.
        comparable: it has a value that may be compared with the best. This and what follows is
            known of a row that is ranked.
        best: the best, or within two standard errors of it.
        notes: what must be said of it.
    """

    group: Any
    labels: Labels
    cells: list[Record]
    figures: Mapping[str, SeedAverage]
    comparable: bool = False
    best: bool = False
    notes: list[str] = field(default_factory=list)

    @cached_property
    def ok(self) -> list[Record]:
        """The seeds that succeeded."""
        return [record for record in self.cells if record.status == "ok"]

    @property
    def record(self) -> Record:
        """One that stands for all in what they share."""
        return (self.ok or self.cells)[0]

    @cached_property
    def data(self) -> DataSummary | None:
        """What its seeds saw; None where all failed."""
        return next((record.data for record in self.cells if record.data), None)

    @property
    def published(self) -> Published | None:
        """Published figures to show beside."""
        return next((record.published for record in self.cells if record.published), None)

    @cached_property
    def aspects(self) -> dict[str, Any]:
        """What must be equal for values to be compared, by ASPECTS."""
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
        """What must be equal for times to be compared; of seeds that differ in it, all values."""
        found: dict[str, set[str]] = defaultdict(set)
        for record in self.ok or self.cells:
            made = record.provenance
            said = (made.machine.processor, made.threads, made.device.kind, made.device.precision)
            for name, value in zip(SETTING, said, strict=True):
                found[name].add(str(value or "not recorded"))
        return {name: " and ".join(sorted(values)) for name, values in found.items()}

    def differing(self, other: Row | None) -> list[str]:
        """Return which of ASPECTS tell it from another; none where it has no value to compare."""
        if other is None or not self.ok:
            return []
        return [name for name in ASPECTS if self.aspects[name] != other.aspects[name]]


def collect(
    records: Iterable[Record], *, group: str = "dataset", columns: Iterable[str] = ()
) -> list[Row]:
    """Return one row for all seeds of a cell, with the figures of ``columns``, sorted by labels.

    Seeds that saw other data or were computed by other code make a row of their own: they may not
    be averaged.
    """
    newest = {(*_cell(record), record.seed): record for record in sorted(records, key=age)}
    families: dict[Any, list[Record]] = defaultdict(list)
    for (labels, params, _), record in sorted(newest.items()):
        value = labels.source if group == "source" else getattr(record, group)
        families[labels, params, value].append(record)
    names = {part for name in columns for part in (name, base(name))}.difference(OTHERS, LABELS)
    return [
        Row(group=value, labels=labels, cells=cells, figures=_figures(cells, names))
        for (labels, _, value), members in families.items()
        for cells in _alike(members)
    ]


def age(record: Record) -> tuple[str, str, str]:
    """Return what is larger for the newer of two records, and never equal."""
    return (record.provenance.finished, record.key, record.status)


def recorded(record: Record, name: str) -> Value | None:
    """Return what a record holds for a column of figures."""
    if name in COUNTS:
        number = getattr(record.cost if name in COSTS else record, name)
        return None if number is None else Value(number)
    if (metric := base(name)) == name:
        return record.metrics.get(name)
    part: Mapping[str, Value] = getattr(record, PARTS[name.partition("_")[0]])
    return part.get(metric)


def made_of(record: Record) -> dict[str, Any]:
    """Return the parts of a key but for its seed, and for which metrics were installed."""
    return {
        stage: {name: part for name, part in sorted(parts.items()) if name not in own}
        for stage, parts in sorted(record.key_parts.items())
        if stage not in {"evaluate", "cost"}
        # the seed of the split is the suite's
        for own in [{"seed"} if "method" in parts else ()]
    }


def _cell(record: Record) -> tuple[Labels, bytes]:
    """Return what makes a cell the same cell, but for its seed."""
    # a cell that failed has no data, but its key says what they were to be
    planned = record.key_parts.get("read", {}).get("source", "")
    source = record.data.source if record.data else str(planned)
    names = (record.suite, record.dataset, record.model, record.chain, record.preset, source)
    return Labels(*names), msgspec.json.encode(record.params, order="sorted")


def _alike(members: Iterable[Record]) -> list[list[Record]]:
    """Return records in lists that differ in their seed alone; failed ones join the longest."""
    lists: dict[Any, list[Record]] = defaultdict(list)
    for record in members:
        data = record.data
        saw = data and (data.contents or data.fingerprint, data.split_hash)
        lists[(*saw, repr(made_of(record))) if saw else None].append(record)
    blind = lists.pop(None, [])
    if not lists:
        return [blind]
    longest = max(lists.values(), key=len)
    longest.extend(blind)
    longest.sort(key=lambda record: record.seed)
    return list(lists.values())


def _figures(cells: Iterable[Record], names: Iterable[str]) -> dict[str, SeedAverage]:
    ok = [record for record in cells if record.status == "ok"]
    return {name: over_seeds(recorded(record, name) for record in ok) for name in names}
