"""Every change on disk of a run made to fail once, and its process killed there once.

    python tests/interruptions.py                 # 12 torch-free cells without cost
    python tests/interruptions.py --suite network # one network cell with its cost
    python tests/interruptions.py --sample 20     # some of the points

A run is interrupted at one point, and the same command is run again undisturbed. Its records,
predictions and labels must then be those of a run that was never disturbed, and nothing else may be
left. ``--log`` keeps what was done, so that a long series can be continued.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import random
import re
import signal
import sys
import time
import zlib
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from conftest import TESTS, Workbench
from interceptor import Interceptor, Point, general

from hepbench.storage import records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from subprocess import CompletedProcess

SUITES = {
    "dozen": (
        "toys",
        """
name = "dozen"
cost = false
seeds = 4
[[run]]
datasets = ["toy[n=100]"]
models = ["line", "line[slope=2]", "line[slope=3]"]
methods = ["fit"]
""",
    ),
    "network": (
        "nets",
        """
name = "network"
seeds = 1
[[run]]
datasets = ["blobs[n=100]"]
models = ["dense"]
methods = ["scratch-net"]
""",
    ),
}
"""By name: a plugin of the tests, and a suite that uses it."""

ACTIONS = {
    "ENOSPC": errno.ENOSPC,
    "EIO": errno.EIO,
    "kill": -signal.SIGKILL,
    "full": errno.ENOSPC,
}
"""What happens at a point -> the decision; after ``full``, all that needs room fails too."""

NEEDS_ROOM = {"write", "create", "mkdir", "allocate", "truncate", "link"}

KEY = "[0-9a-f]{24}"

COUNTED = "lost", "duplicated", "different"

OLD_SECONDS = 2.1
"""Digests of files are kept when the files are older than this."""


@dataclass(frozen=True)
class State:
    """What a run has left on disk, without times.

    Attributes:
        records: the contents of all records of each cell.
        arrays: checksum of each other file of the results, by path.
        files: all files of cache and results, process ids and random names as ``*``.
    """

    records: Mapping[str, Sequence[str]]
    arrays: Mapping[str, str]
    files: frozenset[str]


@dataclass(frozen=True)
class Trial:
    """An interrupted run, and the run after it.

    Attributes:
        points: where it was interrupted.
        faults: what is wrong, a line each; nothing in a good trial.
        code: exit status of the interrupted run.
        told: what it said on the fault.
    """

    points: Sequence[Point]
    action: str
    faults: Sequence[str] = ()
    code: int = 0
    told: str = ""
    seconds: float = 0.0


@dataclass
class Driver:
    """Interrupts runs of one suite.

    Attributes:
        bench: where they run.
        points: all changes on disk of an undisturbed run.
        expected: what that run has left.
    """

    bench: Workbench
    points: list[Point] = field(default_factory=list)
    expected: State | None = None

    @classmethod
    def of(cls, folder: Path, suite: str) -> Driver:
        """Return a driver that has run a suite undisturbed, in an empty folder."""
        bench = Workbench(folder)
        plugin, text = SUITES[suite]
        bench.plugin(TESTS / "plugins" / f"{plugin}.py")
        bench.write("suite.toml", text)
        (folder / "temporary").mkdir()
        bench.environment["TMPDIR"] = str(folder / "temporary")
        # compiled modules of the plugin and digests are there before the points are counted
        assert bench(*COMMAND, timeout=900).code == 0
        time.sleep(OLD_SECONDS)
        driver = cls(bench)
        driver.bench.forget()
        done, driver.points = driver.intercepted((), "kill")
        assert done.returncode == 0, done.stderr
        driver.expected = state(bench.folder)
        return driver

    def intercepted(
        self, points: Sequence[Point], action: str
    ) -> tuple[CompletedProcess[str], list[Point]]:
        """Run the suite, interrupted at some points; return how it ended, and all points."""
        full = False

        def decide(at: Point) -> int:
            nonlocal full
            if at in points:
                full = action == "full"
                return ACTIONS[action]
            return ACTIONS[action] if full and at.call in NEEDS_ROOM else 0

        watched = Interceptor(self.bench.folder, decide)
        command = [sys.executable, "-P", "-m", "hepbench", *COMMAND]
        return watched.run(command, self.bench.variables()), watched.points

    def trial(self, action: str, points: Sequence[Point]) -> Trial:
        """Interrupt a run at some points, run it again, and compare."""
        began = time.monotonic()
        self.bench.forget()
        done, passed = self.intercepted(points, action)
        faults = [f"not reached: {point}" for point in points if point not in passed]
        faults += self.wrong_end(done, action, points[0])
        again = self.bench(*COMMAND, timeout=900)
        if again.code:
            faults.append(
                f"lost: the next run exits {again.code}: {(again.out + again.err)[-500:]}"
            )
        faults += self.wrong_state(state(self.bench.folder))
        seconds = round(time.monotonic() - began, 2)
        return Trial([*points], action, faults, done.returncode, told(done), seconds)

    def wrong_end(self, done: CompletedProcess[str], action: str, point: Point) -> list[str]:
        """Return what is wrong with an interrupted run itself."""
        faults, left = [], state(self.bench.folder)
        killed = action == "kill" and point.process == "main"
        if done.returncode not in ({-signal.SIGKILL} if killed else {0, 1, 2}):
            faults.append(f"exit code {done.returncode}: {done.stderr[-300:]}")
        if "Traceback" in done.stdout + done.stderr:
            faults.append(f"traceback: {(done.stdout + done.stderr)[-600:]}")
        lines = done.stderr.splitlines()
        if done.returncode > 0 and not done.stdout and len(lines) != 1:
            faults.append(f"{len(lines)} lines on stderr: {done.stderr[-600:]}")
        good = {
            cell: [text for text in found if '"status":"ok"' in text]
            for cell, found in left.records.items()
        }
        if done.returncode == 0 and good != self.expected.records:
            faults.append("lost: exit code 0, but not all records are there")
        for cell, found in good.items():
            if not {*found} <= {*self.expected.records[cell]}:
                faults.append(f"different at once: {cell}")
        return faults

    def wrong_state(self, found: State) -> list[str]:
        """Return what a run has left that an undisturbed one has not, and the reverse."""
        before, faults = self.expected, []
        for cell in sorted({*before.records, *found.records}):
            old, new = before.records.get(cell, ()), found.records.get(cell, ())
            if len(new) != len(old):
                faults.append(f"{'lost' if len(new) < len(old) else 'duplicated'}: {cell}")
            elif [*new] != [*old]:
                faults.append(f"different: {cell}")
        for name in sorted({*before.arrays, *found.arrays}):
            if name not in found.arrays:
                faults.append(f"lost: {name}")
            elif before.arrays.get(name) != found.arrays[name]:
                faults.append(f"different: {name}")
        faults += [f"left over: {name}" for name in sorted(found.files - before.files)]
        return faults + [f"missing: {name}" for name in sorted(before.files - found.files)]


COMMAND = ("run", "suite.toml", "--jobs", "1", "--quiet")


def state(folder: Path) -> State:
    """Return what runs have left in a folder."""
    results = folder / "results"
    # the digests of files depend on when they were written
    every = [path for name in ("cache", "results") for path in (folder / name).rglob("*")]
    found: dict[str, list[str]] = {}
    for path in sorted(results.glob("*/*.json")):
        record = records.decode(path.read_bytes())
        found.setdefault(record.cell, []).append(text(record))
    return State(
        records=found,
        arrays={
            str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in results.rglob("*.npz")
        },
        files=frozenset(
            # the keys of comparisons depend on when files were written
            re.sub(rf"comparisons/{KEY}", "comparisons/*", general(str(path.relative_to(folder))))
            for path in every
            if not path.is_dir()
        ),
    )


def text(record: records.Record) -> str:
    """Return a record as text, without times and memory."""
    return json.dumps(records.comparable(record), sort_keys=True, separators=(",", ":"))


def told(done: CompletedProcess[str]) -> str:
    """Return what a run said on a fault."""
    lines = (done.stderr or done.stdout).splitlines()
    return next((line for line in lines if "failed in" in line or "hepbench: " in line), "")[:300]


def series(points: Sequence[Point], sample: int | None = None) -> list[tuple[str, Sequence[Point]]]:
    """Return actions, each with the points of one run; those first that differ in their kind.

    Each point fails once, half of them with EIO, and its process is killed once. From one point
    of each kind on the disk is full.
    """
    every: list[tuple[str, Sequence[Point]]] = []
    for group in groups(points):
        error = ("ENOSPC", "EIO")[zlib.crc32(str(group[0]).encode()) % 2]
        every += [(error, group), ("kill", group), ("full", group[:1])]
    random.Random(1).shuffle(every)
    seen = set()
    first, rest = [], []
    for action, group in every:
        kind = (action, *_kind(group[0]))
        if kind not in seen:
            first.append((action, group))
        elif action != "full":
            rest.append((action, group))
        seen.add(kind)
    return [*first, *rest][:sample]


def groups(points: Sequence[Point]) -> list[list[Point]]:
    """Return points in groups for one run: those alike of stages that one cell each depends on; the
    other cells go on.
    """
    scored = {m[1] for p in points if (m := re.search(rf"/({KEY})/scores\.npz$", p.path))}
    ends = tuple(f"/stages/{key[:2]}" for key in scored)
    found: dict[object, list[Point]] = {}
    for point in points:
        one_cell = any(key in point.path for key in scored) or point.path.endswith(ends)
        together = point.process == "worker" and one_cell
        found.setdefault((*_kind(point), point.count) if together else point, []).append(point)
    return list(found.values())


def _kind(point: Point) -> tuple[str, str, str]:
    return point.process, point.call, re.sub(rf"{KEY}|(?<=stages/)..", "KEY", point.path)


def summary(trials: Sequence[Trial]) -> str:
    """Return the line that counts what a series of trials has shown."""
    kinds = Counter(fault.partition(":")[0] for trial in trials for fault in trial.faults)
    minutes = sum(trial.seconds for trial in trials) / 60
    points = len({point for trial in trials for point in trial.points})
    shown = {name: kinds.pop(name, 0) for name in COUNTED} | dict(kinds)
    counts = ", ".join(f"{name} {count}" for name, count in shown.items())
    return f"{points} points, {len(trials)} interrupted runs, {minutes:.0f} minutes: {counts}"


def logged(log: Path | None) -> list[Trial]:
    """Return the trials of an earlier series."""
    if log is None or not log.exists():
        return []
    rows: list[dict[str, Any]] = [json.loads(line) for line in log.read_text().splitlines()]
    return [Trial(**{**row, "points": [Point(**each) for each in row["points"]]}) for row in rows]


def main() -> int:
    """Run a series, print each fault, and the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", choices=SUITES, default="dozen")
    parser.add_argument("--sample", type=int)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--calls", help="such as write,rename,fsync")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no trial after these")
    options = parser.parse_args()
    # ends the run under way too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    trials = logged(options.log)
    known = [(trial.action, trial.points) for trial in trials]
    end = time.monotonic() + 60 * options.minutes
    with TemporaryDirectory(dir="/tmp", prefix="i-") as folder:
        driver = Driver.of(Path(folder), options.suite)
        calls = options.calls.split(",") if options.calls else None
        points = [point for point in driver.points if calls is None or point.call in calls]
        todo = [each for each in series(points, options.sample) if each not in known]
        # at the end what happens at a point of each kind only
        todo.sort(key=lambda each: each[0] == "full")
        print(f"{len(driver.points)} points, {len(todo)} runs to interrupt", flush=True)
        for action, group in todo:
            if time.monotonic() > end:
                break
            trials.append(trial := driver.trial(action, group))
            for fault in trial.faults:
                print(f"{action} at {group[0]}: {fault}", flush=True)
            if options.log:
                with options.log.open("a") as file:
                    file.write(json.dumps(asdict(trial)) + "\n")
    print(summary(trials))
    return 1 if any(trial.faults for trial in trials) else 0


if __name__ == "__main__":
    sys.exit(main())
