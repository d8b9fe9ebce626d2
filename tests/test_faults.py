"""Every fault of ``faults/`` on the real command line: ``faults/README.md`` holds what is said of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conftest import TESTS, Workbench

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hepbench.storage.records import Record

FAULTS = TESTS / "faults"
TABLE = FAULTS / "README.md"
FIRST_WITH_COST = 8


class Fault(NamedTuple):
    """A row of the table: what the plugin does in which cell, and what comes of it."""

    point: str
    fault: str
    plugin: str
    cell: str
    said: str
    code: int

    @property
    def words(self) -> str:
        """What the table prints, ``…`` for what differs; empty where it prints nothing."""
        return "" if self.said.startswith("nothing") else self.said.strip("`")

    @property
    def costed(self) -> bool:
        """Whether it is one of cost."""
        return int(self.point.split(", ")[-1]) in {8, 9} and self.code == 0


def rows() -> list[Fault]:
    """Return the table of the faults."""
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")][1:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [Fault(p, f, plugin[1:-1], c.strip("`"), s, int(e)) for p, f, plugin, c, s, e in cells]


ROWS = rows()
RUN = [row for row in ROWS if row.cell != "\N{EN DASH}"]


def suite(name: str, faults: Iterable[Fault], *, cost: bool) -> str:
    """Return a suite of the cells of some faults."""
    lines = [f'name = "{name}"', f"cost = {str(cost).lower()}"]
    for cell in dict.fromkeys(fault.cell for fault in faults):
        parts = zip(("datasets", "models", "methods"), cell.split("/"), strict=True)
        lines += ["[[run]]", *(f'{kind} = ["{part}"]' for kind, part in parts)]
    return "\n".join(lines)


class Seen(NamedTuple):
    """What became of a cell: its record, its notes, the printed table, the code of its run."""

    record: Record
    notes: list[str]
    table: str
    code: int


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> dict[str, Seen]:
    """Return what was seen of every cell: those that are refused and those with cost in one run
    each, without any other fault in it.
    """
    found = {}
    for name, kept in {
        "marked": [f for f in RUN if f.code == 0 and not f.costed],
        "refused": [f for f in RUN if f.code != 0],
        "costed": [f for f in RUN if f.costed],
    }.items():
        bench = Workbench(tmp_path_factory.mktemp(name))
        plugins = {FAULTS / fault.plugin for fault in kept}
        for path in (TESTS / "plugins/toys.py", TESTS / "plugins/nets.py", *sorted(plugins)):
            bench.plugin(path)
        bench.write(f"{name}.toml", suite(name, kept, cost=name == "costed"))
        done = bench("run", f"{name}.toml", "--jobs", "2", timeout=600)
        table = " ".join(done.out.split())
        records = bench.records()
        for row in bench("table", "--format", "json").json:
            cell = "/".join(row[part] for part in ("dataset", "model", "chain"))
            found[cell] = Seen(records[f"{cell}#0"], row["notes"], table, done.code)
    return found


def test_every_fault_is_in_the_table():
    """A plugin that breaks the protocol is listed, and what is listed is there."""
    assert {row.plugin for row in ROWS} == {path.name for path in FAULTS.glob("*.py")}


def test_what_the_table_leaves_to_tests_is_tested():
    """Where a fault leaves nothing to say, a test of that name shows it."""
    tests = "".join(path.read_text() for path in TESTS.glob("test_*.py"))
    named = [re.fullmatch(r"nothing: `(test_\w+)`", row.said) for row in ROWS if not row.words]
    assert named
    assert all(match and f"\ndef {match.group(1)}(" in tests for match in named)


@pytest.mark.parametrize("row", RUN, ids=lambda row: f"{row.plugin}:{row.cell}")
def test_a_fault_is_caught_as_the_table_says(seen, row):
    """In the words of the table, beneath the row of its own cell, and with that exit code."""
    found = seen[row.cell]
    assert found.code == row.code
    assert found.record.status == ("ok" if row.code == 0 else "failed")
    assert bool(found.record.metrics) == (row.code == 0)
    if row.code == 2:
        # what the user can mend is one line, and alone makes the code 2
        assert found.record.error.traceback == ""
    if row.words:
        words = re.escape(row.words).replace("…", ".+?")
        assert any(re.search(words, note) for note in found.notes), found.notes
        assert re.search(words, found.table)
    else:
        # metrics that break the protocol are named at every row, and so is a machine that is busy
        said = [w for w in found.record.warnings if not w.startswith(("metric", "latency"))]
        assert not said
