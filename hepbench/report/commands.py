"""The commands that make a row of a report again."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from hepbench.planning.suite_file import DEFAULT_PRESET

if TYPE_CHECKING:
    from hepbench.storage.records import Record
    from hepbench.tables.rows import Row


def of_row(row: Row, results: str) -> list[str]:
    """Return the commands that run the cells of a row again, and that compare one bit for bit."""
    record = row.record
    named = record.provenance.suite_file or record.suite
    seeds = max(each.seed for each in row.cells) + 1
    cells = ["-d", record.dataset, "-m", record.model, "-x", record.chain, "--seeds", str(seeds)]
    verify = ["hepbench", "verify", results, "--cell", record.cell]
    return [shlex.join(["hepbench", "run", named, *cells, *_options(record)]), shlex.join(verify)]


def _options(record: Record) -> list[str]:
    """Return the options of a run that a record holds and that are not the defaults."""
    made = record.provenance
    found = [] if record.preset == DEFAULT_PRESET else ["--preset", record.preset]
    if record.data and record.data.source == "sample":
        found += ["--source", "sample"]
    elif record.data:
        found += ["--data", "DIR"]
    if (made.threads or 1) > 1:
        found += ["--threads", str(made.threads)]
    return found if made.device.kind in {"", "cpu"} else [*found, "--device", made.device.kind]
