"""Pages: links lead somewhere, commands exist, and what comes from the code is what the code says."""

from __future__ import annotations

import re
import shlex
import tomllib
from functools import cache
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner

import conf
import hepbench
import made
import outputs
import snippets
from hepbench.cli.commands import cli
from hepbench.planning.matrix import Choice, expand
from hepbench.planning.suite_file import Matrix, SuiteFile, parse
from hepbench.registry.plugins import installed
from hepbench.storage.records import Published

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"

FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(
    r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)|<(?:a|img)\s[^>]*?(?:href|src)=\"([^\"]+)\""
)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
INLINE_COMMAND = re.compile(r"`(hepbench [a-z][^`]*)`")
PLACEHOLDERS = (click.BadParameter, click.BadOptionUsage, click.exceptions.NoArgsIsHelpError)
PROGRAM = re.compile(r"(?:.*/)?hepbench")

every_page = pytest.mark.parametrize(
    "page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in outputs.pages()]
)


@every_page
def test_every_link_leads_somewhere(page):
    """To a file of the repository, and to a heading in it if one is named."""
    dead = [link for link in links(page) if not leads_somewhere(page, link)]
    assert not dead


def links(page):
    """Return the links of a page to files and headings, without those to other sites."""
    found = [a or b for a, b in LINK.findall(prose(page))]
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def leads_somewhere(page, link):
    name, _, heading = link.partition("#")
    target = page.parent / name if name else page
    return target.exists() and (not heading or heading in anchors(target))


@cache
def prose(page):
    """Return the text of a page without its blocks of code."""
    return FENCED.sub("", page.read_text())


@cache
def anchors(page):
    """Return the anchors of the headings of a page, as GitHub names them."""
    found: list[str] = []
    for heading in HEADING.findall(prose(page)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        again = sum(re.fullmatch(rf"{re.escape(name)}(-\d+)?", each) is not None for each in found)
        found.append(f"{name}-{again}" if again else name)
    return found


@every_page
def test_every_command_is_one(page):
    """Its verb and its options exist, and their values are allowed."""
    wrong = [f"{' '.join(words)}: {why}" for words in in_blocks(page) if (why := refusal(words))]
    assert not wrong


@every_page
def test_every_command_in_a_sentence_is_one(page):
    """It may leave out arguments, or have words in their place: ``hepbench run --seeds N``."""
    inline = [words for line in INLINE_COMMAND.findall(prose(page)) for words in ours(line)]
    wrong = {" ".join(words): refusal(words, whole=False) for words in inline}
    assert not any(wrong.values()), wrong


def in_blocks(page):
    """Return the words of each hepbench command in the blocks of a page."""
    lines = []
    for language, inside in outputs.BLOCK.findall(page.read_text()):
        if language in {"sh", "bash"}:
            lines += inside.replace("\\\n", " ").splitlines()
        if language == "console":
            lines += [command.replace("\\\n", " ") for _, command in outputs.commands(inside)]
    return [words for line in lines for words in ours(line)]


def ours(line):
    """Return the words of each hepbench command in a line of shell."""
    return [words for words in simple_commands(line) if words and PROGRAM.fullmatch(words[0])]


def simple_commands(line):
    """Return the words of each simple command in a line of shell, without variables before it."""
    reader = shlex.shlex(line, posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    found = [[]]
    for word in reader:
        if set(word) <= set("();<>|&"):
            found.append([])
        elif found[-1] or not re.match(r"\w+=", word):
            found[-1].append(word)
    return found


def refusal(words, *, whole=True):
    """Return why the command line refuses a command, or ''; not ``whole``: words may stand for arguments."""
    command, arguments = cli, words[1:]
    parent = click.Context(cli, info_name="hepbench", **cli.context_settings)
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        name = arguments.pop(0)
        if name not in command.commands:
            return f"no verb {name}"
        command = command.commands[name]
    try:
        command.make_context(command.name, arguments, parent=parent)
    except click.exceptions.Exit:
        return ""
    except click.UsageError as error:
        return "" if isinstance(error, PLACEHOLDERS) and not whole else error.format_message()
    return ""


@every_page
def test_what_comes_from_the_code_is_what_the_code_says(page):
    """Write it anew with: make docs"""
    text = page.read_text()
    assert outputs.with_made_parts(text) == text


def verbs(group=cli, prefix=""):
    """Return every verb by its name, such as ``data list``."""
    found = {}
    for name, command in group.commands.items():
        inner = verbs(command, f"{name} ") if isinstance(command, click.Group) else None
        found |= inner or {prefix + name: command}
    return found


def test_the_help_of_every_verb_is_in_the_reference():
    """As it is today; write it anew with: make docs"""
    text = (REFERENCE / "command-line.md").read_text()
    for name in verbs():
        # click leaves two of the 100 columns empty
        how = {"prog_name": "hepbench", "terminal_width": 98}
        done = CliRunner().invoke(cli, [*name.split(), "--help"], **how)
        shown = "".join(f"{line.rstrip()}\n" for line in done.output.splitlines())
        assert f"```console\n$ hepbench {name} --help\n{shown}```" in text


def test_every_public_name_is_in_the_reference():
    """Under a heading of its own, or in the list of errors."""
    text = (REFERENCE / "api.md").read_text()
    named = {*HEADING.findall(text), *re.findall(r"^- `(\w+)`: ", text, re.MULTILINE), "hookimpl"}
    assert set(hepbench.__all__) <= named


def test_the_example_suite_has_every_key_that_a_suite_can_have():
    """A new key cannot be forgotten: each has an example, which is a suite that can be planned."""
    text = (REFERENCE / "suite.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    suite = parse(example.encode(), "suite.md")
    combinations, _ = expand(suite, installed(), Choice())
    assert combinations
    tables = tomllib.loads(example)
    assert set(tables) == {*SuiteFile.__struct_fields__}
    assert {key for run in tables["run"] for key in run} == {*Matrix.__struct_fields__}
    assert {key for p in tables["published"] for key in p} == {*Published.__struct_fields__}


def test_every_page_is_listed_in_one_index():
    """So that it can be found, and is in the contents of the site."""
    listed = [
        (index.parent / f"{name}.md").resolve()
        for index in DOCS.rglob("index.md")
        for name in conf.LISTED.findall(index.read_text())
    ]
    pages = {page for page in outputs.pages() if page.is_relative_to(DOCS)}
    assert sorted(listed) == sorted(pages - {DOCS / "index.md"})


def test_outputs_are_written_behind_their_commands():
    """What was written there before goes; files of a page are there for its commands."""
    text = "```toml\n# a/b.toml\nx = 1\n```\n\n```console\n$ cat a/b.toml\nold\n$ echo 1 \\\n> 2\n```\n"
    shown = "```console\n$ cat a/b.toml\n# a/b.toml\nx = 1\n$ echo 1 \\\n> 2\n1 2\n```\n"
    assert outputs.rewritten(text, Path("page.md")).endswith(shown)


def test_a_block_does_not_replace_a_file_of_the_repository():
    """The folder of a page's commands holds links to it."""
    text = "```toml\n# pyproject.toml\nx = 1\n```\n\n```console\n$ true\n```\n"
    with pytest.raises(SystemExit, match=r"page.md: pyproject.toml is a file of the repository"):
        outputs.rewritten(text, Path("page.md"))
    assert "x = 1" not in (ROOT / "pyproject.toml").read_text()


def test_a_check_names_the_page_and_shows_what_differs(tmp_path, monkeypatch, capsys):
    """And writes nothing; without a check the page is written."""
    monkeypatch.setattr(outputs, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("<!-- made: errors -->\nold\n<!-- end -->\n")
    assert outputs.main(["--check", str(page)]) == 1
    assert "page.md: not what its commands print; run: make docs" in (
        out := capsys.readouterr().out
    )
    assert "-old" in out.splitlines()
    assert "old" in page.read_text()
    assert (outputs.main([str(page)]), outputs.main(["--check", str(page)])) == (0, 0)
    assert "`DataError`" in page.read_text()


@pytest.mark.parametrize(
    ("shown", "same"),
    [
        ("a  AUC\n-----\nb  0.912(12) of 4 cells\n", True),
        ("a  AUC\n-----\nb *0.912(12) of 4 cells\n", False),
        ("a  AUC\n-----\nb  0.19(12) of 4 cells\n", False),
        ("a  AUC\n-----\nb  0.912(12) of 9 cells\n", False),
    ],
)
def test_a_check_allows_for_processors_that_round_differently(shown, same):
    """Last digits of computed numbers and widths of columns may differ; nothing else may."""
    now = "a   AUC\n------\nb   0.91(9) of 4 cells\n"
    assert outputs.same_but_for_rounding(shown, now) is same


def test_a_command_that_fails_is_not_shown():
    """The page, the command and what it printed are named."""
    text = "```console\n$ echo no; false\n```\n"
    with pytest.raises(SystemExit, match=r"page.md: exit status 1: echo no; false\nno"):
        outputs.rewritten(text, Path("page.md"))


def test_code_on_pages_is_that_of_the_repository():
    """Whole statements in the order of the page; a name that is gone is an error."""
    shown = snippets.snippet("docs/snippets.py ROOT defined")
    assert shown.startswith("```python\nROOT = Path(__file__)")
    assert "\n\n\ndef defined(node: ast.stmt)" in shown
    with pytest.raises(ValueError, match=r"docs/snippets.py defines no 'gone'"):
        snippets.snippet("docs/snippets.py gone")


def test_a_field_without_a_description_is_an_error():
    """Of a class whose fields a page lists."""

    class Box(msgspec.Struct):
        """A box.

        Attributes:
            width: in mm.
        """

        width: float
        height: float = 1.0

    Box.__module__ = "hepbench.boxes"
    with pytest.raises(ValueError, match="Box: the docstring does not describe height"):
        made.described_class(Box)
