"""Write table rows as CSV or JSON: unrounded numbers, units in names, notes as lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepbench.storage.costs import LATENCIES
from hepbench.tables import latencies
from hepbench.tables.columns import COUNTS, LABELS, UNITS
from hepbench.tables.notes import SIZES
from hepbench.tables.rows import recorded
from hepbench.tables.where import value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hepbench.storage.records import Record
    from hepbench.tables.columns import Columns
    from hepbench.tables.rows import Row


def row_objects(
    rows: Iterable[Row], columns: Columns, looks: Mapping[str, int], *, per_seed: bool
) -> list[dict[str, Any]]:
    """Return table rows as plain data, unrounded: one for each row, or for each of its seeds.

    Args:
        rows: ranked.
        columns: the columns to write.
        looks: how often each test set was looked at.
        per_seed: whether each seed has a row of its own, with values and errors of this seed.
    """
    if not per_seed:
        return [_averaged(row, columns, looks) for row in rows]
    return [_of_seed(row, record, columns, looks) for row in rows for record in row.cells]


def _averaged(row: Row, columns: Columns, looks: Mapping[str, int]) -> dict[str, Any]:
    entries = _identity(row, columns)
    entries |= {"seeds": len(row.ok), "failed": len(row.cells) - len(row.ok)}
    for name in columns.names:
        if name == "published":
            entries[name] = value(row, name, columns.main)
        elif name == "labels_from_scratch":
            entries |= _labels_from_scratch(row)
        elif average := row.averages.get(name):
            entries[UNITS.get(name, name)] = average.value
            if name not in COUNTS:
                entries |= {f"{name}_stderr": average.stderr, f"{name}_spread": average.spread}
                entries[f"{name}_limit"] = average.limit
    return entries | _origin(row, columns, looks, row.cells)


def _labels_from_scratch(row: Row) -> dict[str, Any]:
    """Return the labels that a training from scratch needs; those beyond what was tried as bounds."""
    found, name = row.labels_from_scratch, "labels_from_scratch"
    return {
        name: found and found.clipped(found.number),
        f"{name}_low": found and found.clipped(found.low),
        f"{name}_high": found and found.clipped(found.high),
        f"{name}_bound": found.bound if found else "",
    }


def _of_seed(
    row: Row, record: Record, columns: Columns, looks: Mapping[str, int]
) -> dict[str, Any]:
    entries = _identity(row, columns) | {"seed": record.seed, "status": record.status}
    for name in columns.names:
        if name == "published":
            entries[name] = value(row, name, columns.main)
        elif name in row.averages:
            found = recorded(record, name)
            entries[UNITS.get(name, name)] = found.value if found else None
            if name not in COUNTS:
                entries[f"{name}_stderr"] = found.stderr if found else None
                entries[f"{name}_limit"] = bool(found and found.limit)
    error = record.error
    entries["error"] = f"{error.stage}: {error.type}: {error.message}" if error else ""
    return entries | {"key": record.key} | _origin(row, columns, looks, [record])


def _identity(row: Row, columns: Columns) -> dict[str, Any]:
    """Return what tells a row apart, and its data."""
    entries = {name: getattr(row.labels, name) for name in LABELS} | {columns.group: row.group}
    entries |= {size: getattr(row.data, size, None) for size in SIZES}
    return entries | {"split_hash": getattr(row.data, "split_hash", "")}


def _origin(
    row: Row, columns: Columns, looks: Mapping[str, int], records: Sequence[Record]
) -> dict[str, Any]:
    """Return how a row stands among others, its notes, and where it was computed."""
    doubts = latencies.notes_on_doubts(row, columns.names)
    timed = any(name in LATENCIES for name in columns.names)
    made = [record.provenance for record in records]
    return {
        "comparable": row.comparable,
        "best": row.best,
        "standing": row.standing,
        "test_looks": looks[row.data.test_set] if row.data else 0,
        **({"latency_steady": not doubts} if timed else {}),
        "stated": [name for name in columns.names if name in row.stated],
        "notes": [*row.notes, *doubts],
        "host": _listed(each.machine.host for each in made),
        "commit": _listed(each.git for each in made),
    }


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(sorted({text for text in texts if text}))


def csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return table rows as comma-separated values (RFC 4180); a list is a JSON array."""
    from csv import DictWriter
    from io import StringIO

    text = StringIO(newline="")
    writer = DictWriter(text, list(rows[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(dict(_fields(row)) for row in rows)
    return text.getvalue()


def _fields(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    import msgspec

    for name, entry in row.items():
        plain = not isinstance(entry, (bool, list))
        yield name, entry if plain else msgspec.json.encode(entry).decode()


def json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return table rows as a JSON array of objects."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(rows), indent=1).decode() + "\n"
