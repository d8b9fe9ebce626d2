"""Write anew the parts of pages that are made: outputs of commands, and texts from the code.

`make docs` runs it. `python docs/outputs.py PAGE...` writes some pages; with `--check` it writes
nothing, and exits with 1 if a page differs in more than the last digits of numbers that were
computed, which processors round differently.

A page may contain:

- Blocks of ``console``: commands, each behind ``$ ``, and what they print. All commands of a page
  run in one empty folder, which has the folders of the repository in it. A line that begins with
  ``> `` continues a command. A command that fails stops this script; to show a failure, end the
  command with ``; echo "exit code $?"``.
- Blocks of another language whose first line is a comment with a file name, ``# mine.toml``: the
  file is written into that folder, so later commands can use it.
- ``<!-- plugins: examples/NAME ... -->``: these distributions are installed for the page's commands.
- ``<!-- made: KIND ARGUMENT -->`` up to ``<!-- end -->``: a text that MADE returns.

Output that differs between machines does not belong into such blocks.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING

import made

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[1]

FOLDERS = ("docs", "benchmarks", "examples", "plugins", "results/baseline", "tests")

PAGES = ("*.md", *(f"{folder}/**/*.md" for folder in FOLDERS))

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

FILE_NAME = re.compile(r"# ([\w./-]+\.\w+)$")
"""The first line of a block that is a file."""

PLUGINS = re.compile(r"^<!-- plugins: (.+?) -->$", re.MULTILINE)

PART = re.compile(
    r"^(<!-- made: (\S+)(?: ([^\n]+))? -->)\n.*?^<!-- end -->$", re.MULTILINE | re.DOTALL
)

MEASURED = re.compile(r"\d+\.\d+(?:e[-+]?\d+)?((?:\(\d+\))*)")
"""A number that was computed: with a decimal point, and perhaps its errors in brackets."""

MOST_RELATIVE, MOST_ABSOLUTE = 0.1, 0.02
"""Largest differences of such a number on another processor; one of the two is enough."""

TIME_LIMIT_S = 1800


def main(arguments: list[str]) -> int:
    """Write all pages, or those that are named; with --check, only compare them."""
    check = "--check" in arguments
    named = [Path(name).resolve() for name in arguments if name != "--check"]
    different = False
    for page in named or pages():
        name, before = page.relative_to(ROOT), page.read_text()
        after = rewritten(before, name)
        if after == before or (check and same_but_for_rounding(before, after)):
            continue
        different = True
        if check:
            print(f"{name}: not what its commands print; run: make docs")
            print("\n".join(changes(before, after)))
        else:
            page.write_text(after)
            print(f"{name}: written anew")
    return int(check and different)


def changes(before: str, after: str) -> list[str]:
    """Return the lines that differ, as ``diff`` shows them."""
    return list(
        unified_diff(before.splitlines(), after.splitlines(), "page", "now", n=0, lineterm="")
    )


def same_but_for_rounding(before: str, after: str) -> bool:
    """Whether texts differ in the last digits of computed numbers and widths of columns alone."""
    words = [re.sub(r" +|-{3,}", " ", MEASURED.sub("#", text)) for text in (before, after)]
    values = [
        [float(n[0].partition("(")[0]) for n in MEASURED.finditer(t)] for t in (before, after)
    ]
    close = (
        abs(a - b) <= max(MOST_RELATIVE * max(a, b), MOST_ABSOLUTE)
        for a, b in zip(*values, strict=False)
    )
    return words[0] == words[1] and all(close)


def pages() -> list[Path]:
    """Return all pages of the project, but not its history."""
    found = [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    return [path for path in found if "_build" not in path.parts and path.name != "CHANGELOG.md"]


def rewritten(text: str, page: Path) -> str:
    """Return the text of a page with all its outputs and made parts written anew."""
    text = with_made_parts(text)
    if "```console\n" not in text:
        return text
    with workplace(text) as place:
        return BLOCK.sub(lambda block: _rewritten_block(block, place, page), text)


def with_made_parts(text: str) -> str:
    """Return the text of a page with its made parts written anew."""

    def again(part: re.Match[str]) -> str:
        begin, kind, argument = part.groups()
        return f"{begin}\n\n{made.MADE[kind](argument or '')}\n\n<!-- end -->"

    return PART.sub(again, text)


@dataclass(frozen=True)
class Workplace:
    """The folder and the environment in which the commands of a page run."""

    folder: Path
    environment: Mapping[str, str]


@contextmanager
def workplace(text: str) -> Iterator[Workplace]:
    """Yield a place for the commands of a page, with the plugins that the page names."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        for each in ("work/results", "bin", "site", "home"):
            (base / each).mkdir(parents=True)
        _link_repository(base / "work")
        program = base / "bin" / "hepbench"
        program.write_text(f"#!{sys.executable} -P\nfrom hepbench.__main__ import main\n\nmain()\n")
        program.chmod(0o755)
        sources = [_install(ROOT / folder, base / "site") for folder in _plugins(text)]
        yield Workplace(base / "work", _environment(base, sources))


def _plugins(text: str) -> list[str]:
    return [folder for line in PLUGINS.findall(text) for folder in line.split()]


def _link_repository(folder: Path) -> None:
    """Link what the repository holds into a folder; its results folder is new but for baseline."""
    for path in ROOT.iterdir():
        if path.name != "results" and not path.name.startswith("."):
            (folder / path.name).symlink_to(path)
    (folder / "results" / "baseline").symlink_to(ROOT / "results" / "baseline")


def _install(distribution: Path, site: Path) -> Path:
    """Make a distribution known by its metadata, as pip would; return where its modules are."""
    project = tomllib.loads((distribution / "pyproject.toml").read_text())["project"]
    name, version = project["name"], project["version"]
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    entry_points = project["entry-points"]["hepbench"].items()
    lines = [f"{entry} = {module}\n" for entry, module in entry_points]
    (info / "entry_points.txt").write_text("".join(["[hepbench]\n", *lines]))
    return distribution


def _environment(base: Path, sources: list[Path]) -> dict[str, str]:
    kept = {name: v for name, v in os.environ.items() if not name.startswith("HEPBENCH_")}
    before = kept.get("PYTHONPATH", "").split(os.pathsep)
    python = [base / "site", *sources, ROOT, ROOT / "plugins", *filter(None, before)]
    return {
        **kept,
        "COLUMNS": "100",
        "HEPBENCH_CACHE": str(base / "cache"),
        "HEPBENCH_LOCKS": str(base),
        "HOME": str(base / "home"),
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
        "PATH": f"{base / 'bin'}{os.pathsep}{kept['PATH']}",
        "PYTHONPATH": os.pathsep.join(map(str, python)),
        "TZ": "UTC",
    }


def _rewritten_block(block: re.Match[str], place: Workplace, page: Path) -> str:
    language, inside = block.groups()
    if language == "console":
        return console(inside, place, page)
    if named := FILE_NAME.match(inside.partition("\n")[0]):
        path = place.folder / named[1]
        if path.resolve().is_relative_to(ROOT):
            sys.exit(f"{page}: {named[1]} is a file of the repository; name the block differently")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(inside)
    return block[0]


def console(inside: str, place: Workplace, page: Path) -> str:
    """Return a console block with what its commands print."""
    shown = "".join(
        f"{typed}{printed(command, place, page)}" for typed, command in commands(inside)
    )
    return f"```console\n{shown}```"


def commands(inside: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block, as it is typed and as the shell gets it."""
    for found in re.finditer(r"^\$ .*\n(?:> .*\n)*", inside, re.MULTILINE):
        lines = found[0].splitlines()
        yield found[0], "\n".join(line[2:] for line in lines) + "\n"


def printed(command: str, place: Workplace, page: Path) -> str:
    """Run a command and return what it prints.

    Raises:
        SystemExit: its exit status is not 0.
    """
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=place.folder,
        env=place.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{page}: exit status {done.returncode}: {command}{done.stdout}")
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
