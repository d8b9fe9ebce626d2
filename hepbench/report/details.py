"""What a report says about one row beside its numbers: seeds, parameters, data, origin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from hepbench.report.content import Section
from hepbench.specs.text import duration, one_line, several, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hepbench.storage.records import DataSummary, Record
    from hepbench.tables.rows import Row


LONGEST_VALUE = 400
"""Characters of a value or an error in a page."""


def sections(row: Row) -> Iterator[Section]:
    """Yield what there is to say about a row: parameters, data, published, costs, origin."""
    record = row.record
    for kind in ("dataset", "model"):
        yield _parameters(kind, record.params.get(kind, {}))
    for name, given in record.params.get("methods", {}).items():
        yield _parameters(name, given)
    if row.data:
        yield _data(row.data)
    if row.published:
        known = (f"{name} {value!r}" for name, value in row.published.metrics.items())
        more = row.published.caveat or "none given"
        items = [("source", row.published.source), ("values", ", ".join(known)), ("caveat", more)]
        yield Section("Published", _texts(items))
    if row.data and (found := row.labels_from_scratch):
        interval = ", with a 68 % interval" if found.low is not None else ""
        items = [("labels", f"{row.data.n_train:,}")]
        items.append(("from scratch", f"{found.text} labels are as good{interval}"))
        yield Section("Label efficiency", _texts(items))
    elif row.labels_note:
        yield Section("Label efficiency", _texts([("from scratch", row.labels_note)]))
    yield Section("Latencies", _texts(_latencies(record)))
    yield Section("Not measured", _texts(gap.partition(": ")[::2] for gap in record.cost.gaps))
    yield environment(record)


def environment(record: Record) -> Section:
    """Return versions, machine and settings that a record was made with."""
    made, machine = record.provenance, record.provenance.machine
    memory = f"{machine.memory_gb:.3g} GB" if machine.memory_gb else ""
    cores = several(machine.cores, "core") if machine.cores else ""
    where = (machine.host, machine.processor, cores, memory, machine.system)
    device = (made.device.kind, made.device.name, made.device.precision, made.device.capability)
    items = [
        ("hepbench", made.hepbench),
        *((name, version) for name, version in sorted(made.plugins.items())),
        ("commit", made.git),
        ("machine", ", ".join(filter(None, where))),
        ("device", ", ".join(filter(None, device))),
        ("threads", str(made.threads or "")),
        ("libraries", ", ".join(f"{n} {v}" for n, v in sorted(made.libraries.items()))),
        ("suite file", made.suite_file),
        ("run", made.run or made.started),
    ]
    return Section("Environment", _texts(items))


def seeds(row: Row, main: str) -> list[list[str]]:
    """Return a line for each seed of a row: seed, status, value, key, time, or its error."""
    return [
        [str(r.seed), r.status, _value(r, main), r.key[:12], r.provenance.finished, _error(r)]
        for r in row.cells
    ]


def _value(record: Record, main: str) -> str:
    found = record.metrics.get(main)
    return "" if found is None or found.value is None else f"{found.value:.6g}"


def _error(record: Record) -> str:
    if record.error is None:
        return ""
    text = f"{record.error.stage}: {record.error.type}: {record.error.message}"
    return one_line(shortened(text, LONGEST_VALUE))


def _parameters(name: str, given: Mapping[str, Any]) -> Section:
    items = ((key, msgspec.json.encode(value).decode()) for key, value in sorted(given.items()))
    return Section(f"Parameters of {name}", _texts(items))


def _data(data: DataSummary) -> Section:
    sizes = {
        "training": data.n_train,
        "without labels": data.n_unlabelled,
        "validation": data.n_validation,
        "test": data.n_test,
    }
    items = [
        ("files", ", ".join(data.files)),
        ("examples", ", ".join(f"{n:,} {part}" for part, n in sizes.items() if n)),
        ("fingerprint", data.fingerprint),
        ("split", data.split_hash),
        ("test set", data.test_set),
        ("duplicates", ", ".join(f"{parts}: {n}" for parts, n in data.duplicates.items())),
    ]
    return Section("Data", _texts(items))


def _latencies(record: Record) -> Iterator[tuple[str, str]]:
    for each in record.cost.latencies:
        load = "" if each.load is None else f", background load {each.load:.2f} cores"
        text = f"{duration(each.median_ms / 1e3)}, 95 %: {duration(each.p95_ms / 1e3)}{load}"
        yield f"{each.runtime}, batch of {each.batch}", text


def _texts(items: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return names with texts of one line; empty ones are left out."""
    return [(one_line(n), one_line(shortened(t, LONGEST_VALUE))) for n, t in items if t]
