"""Docs: the tables of measured values are those of the packed results.

They are written anew with: python tests/test_docs.py
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

from click.testing import CliRunner

from hepbench.cli.commands import cli

ROOT = Path(__file__).parents[1]
SYSTEMS = ROOT / "docs" / "systems.md"
MEASURED = re.compile(r"<!-- measured: ([^;]+); ([^;]+); (.+?) -->\n\n(?:\|.*\n)*\n?")
HEADER = """\
| model | chain | published AUC | AUC ±test ±seeds | training AUC | training examples | seeds |
|---|---|---|---|---|---|---|
"""


@cache
def rows(packed):
    """Return the rows of the table of a packed file by dataset, model and chain."""
    columns = "auc,train_auc,published"
    path = str(ROOT / "results" / "baseline" / f"{packed}.zip")
    done = CliRunner().invoke(cli, ["table", path, "--format", "json", "--columns", columns])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    return {(row["dataset"], row["model"], row["chain"]): row for row in found}


def table(packed, dataset, cells):
    """Return the table of some cells; each is named ``model/chain``."""
    lines = []
    for cell in cells.split(", "):
        model, _, chain = cell.partition("/")
        row = rows(packed)[dataset, model, chain]
        published = row["published"]
        values = [
            f"`{model}`",
            f"`{chain}`",
            "\N{EN DASH}" if published is None else f"{published:.4g}",
            f"{row['auc']:.3f} ±{row['auc_stderr']:.3f} ±{row['auc_spread']:.3f}",
            f"{row['train_auc']:.3f}",
            f"{row['n_train']:,}",
            str(row["seeds"]),
        ]
        lines.append(f"| {' | '.join(values)} |\n")
    return HEADER + "".join(lines)


def written(text):
    """Return a page with each of its tables made from the packed results."""

    def again(found):
        packed, dataset, cells = found.groups()
        return f"<!-- measured: {packed}; {dataset}; {cells} -->\n\n{table(*found.groups())}\n"

    return MEASURED.sub(again, text)


def test_the_reference_systems_are_shown_with_what_was_measured():
    """No number in these tables is typed; write them anew with: python tests/test_docs.py"""
    text = SYSTEMS.read_text()
    assert len(MEASURED.findall(text)) == 11
    assert written(text) == text


if __name__ == "__main__":
    SYSTEMS.write_text(written(SYSTEMS.read_text()))
