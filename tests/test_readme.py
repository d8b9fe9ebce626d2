"""README: its list of files, its commands and its suite are those of the code."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

from click.testing import CliRunner

from hepbench.cli import cli
from hepbench.suite import parse

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
FOLDERS = ("hepbench", *sorted(f"plugins/{p.name}" for p in ROOT.glob("plugins/hepbench_*")))


def listed():
    """Return the list of files: one line each, the first of its docstring."""
    lines = []
    for folder in FOLDERS:
        lines += ["", f"`{folder}/`", "", "| file | what it holds |", "|---|---|"]
        for path in sorted((ROOT / folder).rglob("*.py")):
            first = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]
            lines.append(f"| `{path.relative_to(ROOT / folder)}` | {first} |")
    return "\n".join(lines).strip() + "\n"


def section(name):
    """Return what stands behind a marker, up to the next heading."""
    found = re.search(rf"<!-- {name} -->\n\n(.*?)\n(?=## )", README.read_text(), re.DOTALL)
    return found.group(1) if found else ""


def test_every_file_is_listed_with_its_first_line():
    """A newcomer finds each room; write the list anew with: python tests/test_readme.py"""
    assert section("files") == listed()


def test_every_verb_is_in_the_table_of_commands():
    """And nothing that does not exist is."""
    verbs = set(re.findall(r"`(?:hepbench )?(\w+) ?[^`]*`", section_of_commands()))
    assert set(cli.commands) <= verbs


def section_of_commands():
    text = README.read_text()
    return text[text.index("## The commands") : text.index("## A suite")]


def test_the_suite_in_the_readme_is_one():
    """It parses as strictly as any other."""
    text = README.read_text()
    block = re.search(r"```toml\n(.*?)```", text[text.index("## A suite") :], re.DOTALL)
    assert tomllib.loads(block.group(1))
    assert parse(block.group(1).encode(), "README.md").name == "mine"


def test_help_of_every_verb_says_what_it_does():
    """One sentence at least."""
    for name, command in cli.commands.items():
        done = CliRunner().invoke(cli, [name, "--help"])
        assert done.exit_code == 0
        assert command.help


if __name__ == "__main__":
    text = README.read_text()
    start = text.index("<!-- files -->") + len("<!-- files -->\n\n")
    end = text.find("\n## ", start)
    README.write_text(text[:start] + listed() + text[end:])
