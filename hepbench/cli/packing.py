"""The verb ``pack``: results and their tables in one zip file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench.cli import tabulating
from hepbench.data.splits import PARTS
from hepbench.registry.plugins import installed
from hepbench.specs.errors import UsageError
from hepbench.specs.text import several, unknown
from hepbench.storage.results import Results

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hepbench.storage.records import Record


TABLES = {"table.md": "github", "table.csv": "csv"}
"""File names and formats of the tables that are packed with each suite."""


def pack(*, results: Path, output: Path, parts: str | None, networks: bool) -> str:
    """Pack results and tables into a zip file, and return a line about it.

    Raises:
        UsageError: ``parts`` names something else than parts.
        ResultsError: see ``storage.packing.pack``.
    """
    from hepbench.running.session import cache_folder
    from hepbench.storage import packing
    from hepbench.storage.stage_cache import StageCache

    chosen = _parts(parts)
    opened = Results(results)
    found = tabulating.recorded(opened, None)
    contents = packing.Contents(
        parts=chosen,
        networks=StageCache(cache_folder()) if networks else None,
        more=_tables(opened, found),
    )
    files = packing.pack(opened, output, contents)
    suites = sorted({record.suite for record in found})
    kept = f"; predictions of {', '.join(chosen)} only" if chosen else ""
    kilobytes = output.stat().st_size / 1e3
    return (
        f"{output}: {several(len(found), 'record')} of {', '.join(suites)}, "
        f"{several(files, 'file')}, {kilobytes:,.0f} kB{kept}"
    )


def _parts(names: str | None) -> tuple[str, ...]:
    if names is None:
        return ()
    chosen = {name.strip() for name in names.split(",")} - {""} or {names}
    for name in sorted(chosen - {*PARTS}):
        raise UsageError(unknown("part", name, PARTS))
    return tuple(part for part in PARTS if part in chosen)


def _tables(results: Results, found: Sequence[Record]) -> dict[str, bytes]:
    """Return the tables of each suite by file name, to be packed with the results."""
    from hepbench.tables.request import Request

    registry = installed()
    tables = {}
    for suite in {record.suite for record in found}:
        inside = [record for record in found if record.suite == suite]
        for name, format_ in TABLES.items():
            text = tabulating.tabulate(
                inside, registry, results=results, everything=found, request=Request(format=format_)
            )
            tables[f"{suite}/{name}"] = text.encode()
    return tables
