"""The verb ``new``: writes files that a user's own repository needs."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from hepbench.registry.plugins import installed
from hepbench.running import session
from hepbench.specs.errors import UsageError
from hepbench.specs.text import several

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hepbench.planning.suite_file import SuiteFile

ENOUGH_SEEDS = 3
"""Seeds that give a comparison some power."""


def ci(suite: str, *, needs: str, out: Path) -> str:
    """Write a GitHub workflow that compares a pull request with its base branch.

    Args:
        suite: the path of a suite file, from the root of the repository, or a suite's name.
        needs: what pip installs beside the repository's own plugin.
        out: the file to write; it must not exist.

    Raises:
        SuiteError, UsageError: the suite cannot be read; the file exists, or cannot be written.
    """
    found = session.read_suite(suite, installed())
    if out.exists():
        msg = f"{out} exists; remove it first, or name another file with -o"
        raise UsageError(msg)
    if any(character.isspace() or character in "\"'#:{}" for character in suite):
        msg = f"suite {suite!r}: only names without spaces, quotes, '#', ':' and braces can be written"
        raise UsageError(msg)
    template = (files("hepbench.cli") / "templates" / "hepbench.yml").read_text()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(template.format(suite=suite, needs=needs))
    except OSError as error:
        msg = f"cannot write {out}: {error.strerror}; choose another -o"
        raise UsageError(msg) from error
    advice = "".join(f"{suite}: {line}\n" for line in _advice(found))
    return f"written: {out}\n{advice}Add .hepbench to .gitignore; commit both files."


def _advice(suite: SuiteFile) -> Iterator[str]:
    if not suite.rules():
        yield "no [gate], so a significant loss of AUC, or over 1 % more FLOPs, fails the job"
    if len(suite.seed_list()) < ENOUGH_SEEDS:
        seeds = several(len(suite.seed_list()), "seed")
        yield f"{seeds}; with less than {ENOUGH_SEEDS} little can be concluded"
