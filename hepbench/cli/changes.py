"""The verb ``why``: which parts of the keys of cells changed since their last records."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from hepbench.cli import tabulating, verbs
from hepbench.specs.errors import UsageError
from hepbench.specs.references import without_parameters
from hepbench.specs.text import several, unknown
from hepbench.storage.results import Results

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hepbench.planning.matrix import Choice
    from hepbench.planning.plan import Cell, Plan
    from hepbench.running.session import LocalOptions, Session
    from hepbench.storage.records import Record


class Change(NamedTuple):
    """What changed since a record was made: a sentence, and one line for each part."""

    sentence: str
    lines: tuple[str, ...]


NOTHING = Change("nothing changed", ())


def why(
    *,
    cell: str,
    suite: str | None,
    choice: Choice,
    local: LocalOptions,
    results: Path,
    run: str | None,
) -> str:
    """Return the text of ``why``: what changed since the last record of a cell, for each seed.

    Seeds with the same change are listed together.
    """
    records = last_records(cell, tabulating.recorded(Results(results), run))
    most = max(record.seed for record in records)
    choice = replace(choice, seeds=choice.seeds or most + 1)
    opened = verbs.open_suite_of(records[0], choice, local, suite=suite)
    changes: dict[Change, list[Record]] = defaultdict(list)
    for record in records:
        changes[_change(record, opened)].append(record)
    return "\n".join(line for change, some in changes.items() for line in _lines(change, some))


def _change(record: Record, opened: Session) -> Change:
    from hepbench.storage.keys import differences

    now = _counterpart(record, opened.plan)
    if now.key != record.key:
        old, new = _without_seed(record.key_parts), _without_seed(_builtins(now.key_parts))
        lines = differences(old, new)
        changed = several(len(lines), "part")
        return Change(f"{changed} of its key changed since its last record", tuple(lines))
    if lines := opened.validity.changes(record):
        said = "its key is the same, but files or versions it used have changed"
        return Change(said, tuple(lines))
    return NOTHING


def _without_seed(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a key without the seed in the cell's name, which is shown before."""
    evaluate = parts.get("evaluate", {})
    if not isinstance(cell := evaluate.get("cell"), list):
        return dict(parts)
    return {**parts, "evaluate": {**evaluate, "cell": cell[:-1]}}


def _lines(change: Change, records: Sequence[Record]) -> list[str]:
    """Return the lines about a change of some seeds of one cell."""
    name, _, _ = records[0].cell.rpartition("#")
    seeds = ", ".join(str(record.seed) for record in records)
    cell = records[0].cell if len(records) == 1 else f"{name}, seeds {seeds}"
    since = ""
    if change is NOTHING:
        since = f" since {min(record.provenance.finished for record in records) or '?'}"
    return [f"{cell}: {change.sentence}{since}", *(f"  {line}" for line in change.lines)]


def last_records(cell: str, records: Sequence[Record]) -> list[Record]:
    """Return the newest record of each seed of a cell, in order of the seeds.

    Args:
        cell: the name of a cell; without ``#`` and a seed: all its seeds. Or the beginning of a key.
        records: of results.

    Raises:
        UsageError: no record is meant.
    """
    meant = [r for r in records if cell in {r.cell, r.cell.rpartition("#")[0]}]
    if meant:
        newest = {r.seed: r for r in sorted(meant, key=lambda r: r.provenance.finished)}
        return [newest[seed] for seed in sorted(newest)]
    meant = [r for r in records if len(cell) >= 4 and r.key.startswith(cell)]
    if not meant:
        raise UsageError(unknown("cell", cell, {r.cell for r in records}))
    return [max(meant, key=lambda r: r.provenance.finished)]


def last_record(cell: str, records: Sequence[Record]) -> Record:
    """Return the newest record of a cell or, without a seed, of all its seeds."""
    return max(last_records(cell, records), key=lambda r: r.provenance.finished)


def _builtins(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a cell's key in the JSON types that records hold."""
    import msgspec

    built: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(parts))
    return built


def _counterpart(record: Record, plan: Plan) -> Cell:
    """Return the planned cell of the same names as a record's, if possible of equal parameters."""
    same_names = [
        c for c in plan.cells if without_parameters(c.name) == without_parameters(record.cell)
    ]
    for cell in same_names:
        if cell.name == record.cell:
            return cell
    if not same_names:
        raise UsageError(unknown("cell", record.cell, [cell.name for cell in plan.cells]))
    return same_names[0]
