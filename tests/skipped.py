"""The tests, the slow ones, then those skipped for want of an extra; a skip that no step undoes is a failure.

Run by `.ci/run`, from the root, in the environment that `make` made:
`.venv/bin/python tests/skipped.py`
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

RECORDED_IN = "HEPBENCH_SKIPS"
"""The environment variable that names the file where pytest records its skips."""

TARGETS = ("test", "slow")
"""The targets of the Makefile that run tests: all but the slow ones, and these."""

EXTRA = "needs the extra "
"""How the reason of a skip begins that `make extras` undoes."""

UNAVAILABLE = (
    "needs real data: set HEPBENCH_REAL_DATA",
    "needs Linux: ",
    "needs permission: ",
    "needs a GPU: ",
    "needs a browser: ",
    "needs LaTeX: ",
)
"""How the reasons of skips begin that may remain: nothing can be installed to undo them."""

CLOSING = re.compile(r"^(=+ )?(\d+ \w+|no tests ran).* in \d+\.\d+s( .*)?$")
"""The last line of pytest, such as ``12 passed in 3.2s``."""


class Skip(NamedTuple):
    """A skipped test, or a skipped file: its node id and the reason."""

    test: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """How a run of pytest ended."""

    code: int
    closing: str
    skips: list[Skip]


def main() -> int:
    """Run all steps, print the skips that remain and pytest's closing line; return 0 or 1."""
    skips: list[Skip] = []
    for target in TARGETS:
        outcome = run(["make", target])
        print(f"\nmake {target}: {outcome.closing}")
        skips += outcome.skips
        if outcome.code:
            break
    remaining = [skip for skip in skips if not skip.reason.startswith(EXTRA)]
    again = sorted({skip.test for skip in skips} - {skip.test for skip in remaining})
    if again and not outcome.code:
        subprocess.run(["make", "extras"], check=True)
        outcome = run([sys.executable, "-m", "pytest", "-n", "auto", *again])
        remaining += outcome.skips
    failures = judge(remaining)
    print(outcome.closing, flush=True)
    return int(bool(outcome.code or failures))


def run(command: list[str]) -> Outcome:
    """Run a command that runs pytest, and pass on what it prints."""
    closing = ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "skips.json"
        environment = {**os.environ, RECORDED_IN: str(path)}
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            for line in process.stdout:
                print(line, end="", flush=True)
                closing = line.rstrip() if CLOSING.match(line) else closing
        if not path.exists():
            return Outcome(process.returncode or 1, closing, [])
        return Outcome(process.returncode, closing, read(path))


def judge(remaining: list[Skip]) -> list[Skip]:
    """Print the skips that remain; return those that must not."""
    allowed = [skip for skip in remaining if skip.reason.startswith(UNAVAILABLE)]
    failures = [skip for skip in remaining if skip not in allowed]
    tell("skipped, and nothing can be installed to undo it", allowed)
    tell("FAILED: skipped, and no step of .ci/run undoes it", failures)
    return failures


def tell(title: str, skips: list[Skip]) -> None:
    if skips:
        print(f"\n{title}:", *(f"  {skip.test}: {skip.reason}" for skip in skips), sep="\n")


def record(reports: list) -> None:
    """Write the skips of a pytest run into the file that HEPBENCH_SKIPS names, if it is set."""
    if path := os.environ.get(RECORDED_IN):
        skips = [Skip(r.nodeid, r.longrepr[2].removeprefix("Skipped: ")) for r in reports]
        Path(path).write_text(json.dumps(skips))


def read(path: Path) -> list[Skip]:
    """Return what `record` wrote."""
    return [Skip(*skip) for skip in json.loads(path.read_text())]


if __name__ == "__main__":
    sys.exit(main())
