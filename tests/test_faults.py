"""Run every plugin of ``faults/`` on the command line and compare with ``faults/README.md``."""

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
    """A row of the table: the fault, its plugin and cell, the printed text and the exit code."""

    point: str
    fault: str
    plugin: str
    cell: str
    printed: str
    code: int

    @property
    def words(self) -> str:
        """The printed text, with ``…`` for variable parts; empty if nothing is printed."""
        return "" if self.printed.startswith("nothing") else self.printed.strip("`")

    @property
    def costed(self) -> bool:
        """Whether the fault needs a cost stage."""
        return int(self.point.split(", ")[-1]) in {8, 9} and self.code == 0


def rows() -> list[Fault]:
    """Return the rows of the table."""
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")][1:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [Fault(p, f, plugin[1:-1], c.strip("`"), s, int(e)) for p, f, plugin, c, s, e in cells]


ROWS = rows()
RUN = [row for row in ROWS if row.cell != "\N{EN DASH}"]


def suite(name: str, faults: Iterable[Fault], *, cost: bool) -> str:
    """Return a suite with the cells of some faults."""
    lines = [f'name = "{name}"', f"cost = {str(cost).lower()}"]
    for cell in dict.fromkeys(fault.cell for fault in faults):
        parts = zip(("datasets", "models", "methods"), cell.split("/"), strict=True)
        lines += ["[[run]]", *(f'{kind} = ["{part}"]' for kind, part in parts)]
    return "\n".join(lines)


class Outcome(NamedTuple):
    """The outcome of a cell: record, notes, printed table and exit code."""

    record: Record
    notes: list[str]
    table: str
    code: int


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, Outcome]:
    """Return the outcome of every cell, from three runs: with warnings, failures and costs."""
    found = {}
    for name, chosen in {
        "marked": [f for f in RUN if f.code == 0 and not f.costed],
        "refused": [f for f in RUN if f.code != 0],
        "costed": [f for f in RUN if f.costed],
    }.items():
        bench = Workbench(tmp_path_factory.mktemp(name))
        plugins = {FAULTS / fault.plugin for fault in chosen}
        for path in (TESTS / "plugins/toys.py", TESTS / "plugins/nets.py", *sorted(plugins)):
            bench.plugin(path)
        bench.write(f"{name}.toml", suite(name, chosen, cost=name == "costed"))
        done = bench("run", f"{name}.toml", "--jobs", "2", timeout=600)
        records = bench.records()
        # a warning about a metric is beside that metric
        shown = dict.fromkeys(
            ["auc", "flops", "latency", *(m for r in records.values() for m in r.metrics)]
        )
        columns = ("table", "--columns", ",".join(shown))
        table = " ".join((done.out + bench(*columns).out).split())
        for row in bench(*columns, "--format", "json").json:
            cell = "/".join(row[part] for part in ("dataset", "model", "chain"))
            found[cell] = Outcome(records[f"{cell}#0"], row["notes"], table, done.code)
    return found


def test_every_fault_is_in_the_table():
    """The table lists all plugins of ``faults/`` and no others."""
    assert {row.plugin for row in ROWS} == {path.name for path in FAULTS.glob("*.py")}


def test_faults_without_effect_have_a_test():
    """If nothing is printed, the named test shows that the fault has no effect."""
    tests = "".join(path.read_text() for path in TESTS.glob("test_*.py"))
    named = [re.fullmatch(r"nothing: `(test_\w+)`", row.printed) for row in ROWS if not row.words]
    assert named
    assert all(match and f"\ndef {match.group(1)}(" in tests for match in named)


@pytest.mark.slow
@pytest.mark.parametrize("row", RUN, ids=lambda row: f"{row.plugin}:{row.cell}")
def test_a_fault_is_caught_as_the_table_says(outcomes, row):
    """The text is in the notes of the cell and in the printed table; the exit code agrees."""
    found = outcomes[row.cell]
    assert found.code == row.code
    assert found.record.status == ("ok" if row.code == 0 else "failed")
    assert bool(found.record.metrics) == (row.code == 0)
    if row.code == 2:
        # a user error is one line, and only user errors exit 2
        assert found.record.error.traceback == ""
    if row.words:
        words = re.escape(row.words).replace("…", ".+?")
        assert any(re.search(words, note) for note in found.notes), found.notes
        assert re.search(words, found.table)
    else:
        # faulty metrics, background load and few test examples give warnings in every row
        common = ("metric", "latency", "errors")
        printed = [w for w in found.record.warnings if not w.startswith(common)]
        assert not printed
