"""README and the guides: short enough, and complete about verbs and suites."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from hepbench.cli.commands import cli
from hepbench.planning.suite_file import parse
from hepbench.registry.plugins import installed

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
FIGURES = {".webp", ".png", ".svg", ".pdf"}
SUITES = ROOT / "docs" / "howto" / "suite.md"


def test_the_readme_is_read_in_minutes():
    """What is longer belongs to docs/."""
    assert len(README.read_bytes()) <= 8000


def test_every_verb_is_in_the_readme():
    """And nothing that does not exist is."""
    (line,) = re.findall(r"^The verbs: (.+?); each", README.read_text(), re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`(\w+)`", line)) == set(cli.commands)


def test_every_suite_that_comes_with_hepbench_is_in_the_guide():
    """With what it is and how long it takes."""
    entries = installed().entries("suite")
    ours = [e.spec.name for e in entries if e.plugin.distribution == "hepbench-plugins"]
    listed = re.findall(r"^\| `([\w-]+)` \|", SUITES.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(ours)


def test_the_suite_in_the_guide_is_one():
    """It parses as strictly as any other."""
    (block,) = re.findall(r"^```toml\n(.*?)^```", SUITES.read_text(), re.DOTALL | re.MULTILINE)
    assert parse(block.encode(), SUITES.name).name == "mine"


def test_figures_of_results_are_small():
    """At most 150 kB each: a clone stays small, and a page opens at once."""
    figures = [p for p in (ROOT / "results" / "baseline").rglob("*") if p.suffix in FIGURES]
    assert figures
    assert not {p.name: p.stat().st_size for p in figures if p.stat().st_size > 150_000}


def test_help_of_every_verb_says_what_it_does():
    """One sentence at least."""
    for name, command in cli.commands.items():
        done = CliRunner().invoke(cli, [name, "--help"])
        assert done.exit_code == 0
        assert command.help
