"""Find benchmarks that became slower: against the committed baseline, or against another revision.

    .venv/bin/python benchmarks/regressions.py                # against benchmarks/baseline.json
    .venv/bin/python benchmarks/regressions.py --base main    # a revision, measured alternately
    .venv/bin/python benchmarks/regressions.py -k commands    # only some, as pytest selects
    .venv/bin/python benchmarks/regressions.py --save         # write the baseline anew

Compared are times divided by those of a reference kernel next to them (see ``conftest.py``). A
benchmark is slower if the median ratio grew by more than LIMIT and a Mann-Whitney test on the rounds
agrees; it is then measured AGAIN times in new processes, and must be slower each time. The exit code is
1 if any is slower, 3 if nothing could be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from scipy.stats import mannwhitneyu
from tabulate import tabulate

from hepbench.storage import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
BASELINE = HERE / "baseline.json"

LIMIT = 1.25
"""Growth of a median ratio that is called slower: rounds of one process agree better than processes."""

SIGNIFICANCE = 0.001

TURNS = 2
"""How often each of two revisions is measured, in turn."""

AGAIN = 2
"""How often what seems slower is measured again: other work may slow down one benchmark for minutes."""

SLOWER, NOTHING_COMPARED = 1, 3

Ratios = dict[str, list[float]]
"""Time of a call / time of the kernel in each round, by benchmark."""


@dataclass(frozen=True)
class Change:
    """The change of one benchmark: growth of its median ratio, and p of a growth by chance."""

    name: str
    factor: float
    p: float

    @property
    def is_slower(self) -> bool:
        """Whether it is slower beyond the limit and beyond chance."""
        return self.factor > LIMIT and self.p < SIGNIFICANCE


def main() -> int:
    """Measure, print a table of changes, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", help="a git revision to compare with")
    parser.add_argument("-k", dest="select", default="", help="as pytest's")
    parser.add_argument("--save", action="store_true", help="write benchmarks/baseline.json")
    given = parser.parse_args()
    if given.save:
        found = {"processor": processor(), "ratios": rounded(measured(given.select))}
        BASELINE.write_text(json.dumps(found, indent=1) + "\n")
        return 0
    if given.base:
        with checkout(given.base) as base:
            return report(lambda select: in_turn(base, select), given.select, given.base)
    if not BASELINE.exists():
        print(f"{BASELINE.name} is missing: give --base REVISION, or --save")
        return NOTHING_COMPARED
    stored = json.loads(BASELINE.read_text())
    if stored["processor"] != processor():
        print(f"{BASELINE.name} was measured on another processor, {stored['processor']}:")
        print("give --base REVISION, which measures both here, or --save")
        return NOTHING_COMPARED
    return report(lambda select: (stored["ratios"], measured(select)), given.select, BASELINE.name)


def report(measure: Callable[[str], tuple[Ratios, Ratios]], select: str, base: str) -> int:
    """Print what changed, and measure again what seems slower; return the exit code."""
    found = changes(*measure(select))
    if not found:
        print(f"nothing could be compared: no benchmark is in {base} and was measured")
        return NOTHING_COMPARED
    rows = [(c.name, f"{c.factor:.2f}", "slower" if c.is_slower else "") for c in found]
    print(tabulate(rows, (f"benchmark, against {base}", "time / before", ""), tablefmt="github"))
    suspects = {c.name: c for c in found if c.is_slower}
    for _ in range(AGAIN):
        if suspects:
            print(f"\nmeasured again: {', '.join(suspects)}")
            again = changes(*measure(" or ".join(suspects)))
            suspects = {c.name: c for c in again if c.is_slower and c.name in suspects}
    named = ", ".join(f"{c.name} ({c.factor:.2f} x)" for c in suspects.values())
    print(f"\nslower: {named}" if suspects else "\nno benchmark is slower")
    return SLOWER if suspects else 0


def changes(before: Ratios, after: Ratios) -> list[Change]:
    """Return the change of each benchmark that both have, the largest growth first."""
    found = []
    for name in before.keys() & after.keys():
        p = mannwhitneyu(after[name], before[name], alternative="greater").pvalue
        found.append(Change(name, median(after[name]) / median(before[name]), float(p)))
    return sorted(found, key=lambda change: -change.factor)


def in_turn(base: Path, select: str) -> tuple[Ratios, Ratios]:
    """Measure a checkout of another revision and this one in turn, with this one's benchmarks."""
    both: tuple[Ratios, Ratios] = ({}, {})
    for _ in range(TURNS):
        for ratios, source in zip(both, (base, HERE.parent), strict=True):
            for name, found in measured(select, source).items():
                ratios.setdefault(name, []).extend(found)
    return both


def measured(select: str, source: Path = HERE.parent) -> Ratios:
    """Run the benchmarks on the code in a folder; return the ratios of their rounds."""
    paths = os.pathsep.join([str(source), str(source / "plugins")])
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "benchmarks.json"
        # -P: hepbench is imported from the paths, not from the folder where this is started
        command = [sys.executable, "-P", "-m", "pytest", str(HERE), "-q", "-p", "no:cacheprovider"]
        command += [f"--benchmark-json={report}", *(["-k", select] if select else [])]
        command += ["--continue-on-collection-errors", "--benchmark-columns=median"]
        done = subprocess.run(
            command,
            check=False,
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
        )
        if not report.exists() or not report.stat().st_size:
            print(done.stdout[-3000:], done.stderr[-1000:], sep="\n", file=sys.stderr)
            return {}
        found = json.loads(report.read_text())["benchmarks"]
    for line in done.stdout.splitlines():
        if line.startswith(("FAILED", "ERROR")):
            print(f"not measured: {line}", file=sys.stderr)
    return {
        each["name"].removeprefix("test_"): [
            time / kernel / each["extra_info"]["calls"]
            for time, kernel in zip(
                each["stats"]["data"], each["extra_info"]["reference"], strict=True
            )
        ]
        for each in found
    }


def processor() -> str:
    """Return the model of this machine's processor."""
    return str(machine.description()["processor"])


def rounded(ratios: Ratios) -> Ratios:
    """Return ratios with four digits, for the committed file."""
    return {name: [float(f"{r:.4g}") for r in found] for name, found in sorted(ratios.items())}


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """Check a revision out into a temporary folder while the block runs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "base"
        git = ["git", "-C", str(HERE.parent), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(path), revision], check=True)
        try:
            yield path
        finally:
            subprocess.run([*git, "remove", "--force", str(path)], check=True)


if __name__ == "__main__":
    sys.exit(main())
