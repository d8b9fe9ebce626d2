"""Measure what hepbench costs, alternately with a reference for each number: see README.md.

    .venv/bin/python benchmarks/costs.py --make-benchopt
    .venv/bin/python benchmarks/costs.py --base main          # a revision is the reference

CPU time includes all processes that a command started, also orphans.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from itertools import count, product
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace as changed
from regressions import checkout
from tabulate import tabulate

from hepbench.storage import machine, records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

HERE = Path(__file__).parent

HEAVY = {"matplotlib", "numpy", "scipy", "sklearn", "torch"}
BENCHOPT = "benchopt==1.10.0"
NO_BENCHOPT = "no reference without benchopt: give --benchopt or --make-benchopt"
BENCHOPT_OPTIONS = ("--no-plot", "--no-html", "-n", "1", "-r", "1")
PR_SET_CHILD_SUBREAPER = 36

PLUGIN = '''
"""A dataset of two numbers, a model that fits nothing, and a method that calls it."""

from hepbench import Dataset, Examples, Input, Method, Model, Sample, hookimpl


def sample(n, draw):
    import numpy as np

    rng = np.random.default_rng(draw)
    table = rng.normal(size=(n, 2)).astype(np.float32)
    labels = (table[:, 0] + rng.normal(size=n) > 0).astype(np.int64)
    yield "labelled", Examples(inputs={"table": table}, ids=np.arange(n), labels=labels)


class Line:
    def __init__(self, shapes, *, slope):
        self.slope = slope

    def fit(self, data, *, seed):
        pass

    def scores(self, inputs):
        import numpy as np

        signal = 1 / (1 + np.exp(-self.slope * inputs["table"][:, 0].astype(float)))
        return np.stack([1 - signal, signal], 1)


def fit(start, data, work):
    start.fit(data, seed=work.seed)
    return start


@hookimpl
def hepbench_datasets():
    params, inputs = {"n": 100, "draw": 0}, {"table": Input(shape=(2,))}
    return [Dataset(name="toy", summary="two numbers", classes=("background", "signal"),
                    inputs=inputs, sample=Sample("trivial:sample"), params=params,
                    read_params=frozenset(params))]


@hookimpl
def hepbench_models():
    return [Model(name="line", summary="the first number", inputs=("table",), build="trivial:Line",
                  offers=frozenset({"estimate"}), params={"slope": 1.0})]


@hookimpl
def hepbench_methods():
    return [Method(name="fit", summary="fits", run="trivial:fit", needs=frozenset({"estimate"}))]
'''

# the same for benchopt: equally many examples, a solver that fits nothing, a trivial objective
THEIRS = {
    "objective.py": """
from benchopt import BaseObjective


class Objective(BaseObjective):
    name = "trivial"
    sampling_strategy = "run_once"

    def set_data(self, X):
        self.X = X

    def get_objective(self):
        return {"X": self.X}

    def evaluate_result(self, beta):
        return {"value": float(((self.X - beta) ** 2).mean())}

    def get_one_result(self):
        return {"beta": 0.0}
""",
    "datasets/toy.py": """
import numpy as np
from benchopt import BaseDataset


class Dataset(BaseDataset):
    name = "toy"
    parameters = {"draw": list(range(10))}

    def get_data(self):
        return {"X": np.random.default_rng(self.draw).normal(size=100)}
""",
    "solvers/line.py": """
from benchopt import BaseSolver


class Solver(BaseSolver):
    name = "line"
    sampling_strategy = "run_once"
    parameters = {"slope": list(range(10))}

    def set_objective(self, X):
        self.X = X

    def run(self, _):
        self.beta = self.slope

    def get_result(self):
        return {"beta": self.beta}
""",
}

# the first plan does the imports and is not counted
PLAN = """
import contextlib, io, sys, time
from hepbench.cli.commands import cli
with contextlib.redirect_stdout(io.StringIO()):
    cli.main(["plan", "single.toml"], standalone_mode=False)
    began = time.process_time()
    cli.main(["plan", "ten-thousand.toml"], standalone_mode=False)
    ended = time.process_time()
print(ended - began)
"""

FORKS = """
import multiprocessing, os, sys
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["hepbench.running.worker", "hepbench.training.method_stage", "numpy.random"])
for _ in range(int(sys.argv[1])):
    process = context.Process(target=os.getpid)
    process.start()
    process.join()
"""

LOADS = """
import json, pathlib, sys
for path in pathlib.Path(sys.argv[1]).glob("*/*.json"):
    json.loads(path.read_bytes())
"""


class NotMeasurableError(Exception):
    """Something cannot be measured here; the message says why."""


# --- CPU time and memory


class Used(NamedTuple):
    """What a command and all processes that it started used; memory is that of the largest one."""

    cpu_seconds: float
    megabytes: float


def adopt() -> bool:
    """Become the parent of all orphans among our descendants; return False if that is impossible.

    RUSAGE_CHILDREN misses a fork server: it ends after the command that started it, so process 1
    would reap it, with the CPU time of all its workers. As a subreaper we reap it instead.
    """
    if not sys.platform.startswith("linux"):
        return False
    return bool(ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def used(*command: str | Path, cwd: Path, env: Mapping[str, str]) -> Used:
    """Run a command, and return what it and all processes that it started used.

    Raises:
        NotMeasurableError: the command failed; the message is the last line of its output.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=cwd, env=env, stdout=output, stderr=output)
        found = waited(process)
        if process.returncode:
            output.seek(0)
            raise NotMeasurableError(
                output.read().decode(errors="replace").strip().rpartition("\n")[2]
            )
    return found


def waited(process: subprocess.Popen[Any]) -> Used:
    """Wait for a process and all that it started; return what they used.

    Without a subreaper (see ``adopt``) only processes that it waited for itself are counted.
    """
    seconds, kilobytes, codes = 0.0, 0, {}
    while True:
        try:
            pid, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            break
        codes[pid] = os.waitstatus_to_exitcode(status)
        seconds += usage.ru_utime + usage.ru_stime
        kilobytes = max(kilobytes, usage.ru_maxrss)
    process.returncode = codes[process.pid]
    return Used(seconds, kilobytes / 1000)


# --- the folder of the measurements


@dataclass(frozen=True)
class Place:
    """A folder with the trivial plugin and its suites, where both harnesses run.

    Attributes:
        source: the hepbench that is measured: a checkout; None: the one that is installed.
        benchopt: the path of its command, or None.
        numbers: numbers of the folders for cold runs. No folder is removed before the end: after
            many deletions ext4 takes long to find a free inode.
    """

    folder: Path
    source: Path | None = None
    benchopt: Path | None = None
    numbers: Iterator[int] = field(default_factory=count)

    def prepare(self) -> None:
        """Write the plugin, as if it were installed, and the suites."""
        info = self.folder / "site" / "trivial-0.1.dist-info"
        info.mkdir(parents=True)
        (info.parent / "trivial.py").write_text(PLUGIN)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: trivial\nVersion: 0.1\n")
        (info / "entry_points.txt").write_text("[hepbench]\ntrivial = trivial\n")
        self._suite("single")
        self._suite("cells", seeds=100)
        self._suite("hundred", datasets=10, models=10)
        self._suite("thousands", datasets=10, models=10, seeds=30)
        self._suite("ten-thousand", datasets=10, models=10, seeds=100)

    def _suite(self, name: str, *, datasets: int = 1, models: int = 1, seeds: int = 1) -> None:
        toys = [f"toy[draw={i}]" for i in range(datasets)]
        lines = [f"line[slope={i}]" for i in range(models)]
        text = f'name = "{name}"\nseeds = {seeds}\ncost = false\n[[run]]\nmethods = ["fit"]\n'
        text += f"datasets = {json.dumps(toys)}\nmodels = {json.dumps(lines)}\n"
        (self.folder / f"{name}.toml").write_text(text)

    def environment(self, state: str = "state") -> dict[str, str]:
        """Return the environment of a command, with its cache in the folder ``state``."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HEPBENCH_")}
        source = [self.source, self.source / "plugins"] if self.source else []
        path = map(str, filter(None, [self.folder / "site", *source, kept.get("PYTHONPATH")]))
        cache = str(self.folder / state / "cache")
        return {**kept, "PYTHONPATH": os.pathsep.join(path), "HEPBENCH_CACHE": cache}

    def new(self) -> str:
        """Return the name of a new folder."""
        return f"new-{next(self.numbers)}"

    def python(self, *arguments: str) -> float:
        """Return the CPU seconds of Python with these arguments."""
        env = self.environment()
        return used(sys.executable, *arguments, cwd=self.folder, env=env).cpu_seconds

    def hepbench(self, *arguments: str, state: str = "state") -> float:
        """Return the CPU seconds of a hepbench command."""
        return self._command(*arguments, state=state).cpu_seconds

    def memory(self, *arguments: str) -> float:
        """Return the megabytes that a hepbench command needs."""
        return self._command(*arguments, state="state").megabytes

    def _command(self, *arguments: str, state: str) -> Used:
        command = Path(sys.executable).with_name("hepbench")
        return used(command, *arguments, cwd=self.folder, env=self.environment(state))

    def run(self, suite: str, *options: str, state: str = "") -> float:
        """Return the CPU seconds of a run: cold, or with the cache in the folder ``state``."""
        state = state or self.new()
        return self.hepbench("run", suite, "--results", f"{state}/results", *options, state=state)

    def theirs(self, *options: str, state: str = "") -> float:
        """Return the CPU seconds of benchopt: cold, or with its cache in the folder ``state``."""
        if self.benchopt is None:
            raise NotMeasurableError(NO_BENCHOPT)
        folder = self.folder / (state or self.new())
        for name, text in THEIRS.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_text(text)
        arguments = ("run", ".", *BENCHOPT_OPTIONS, *options)
        return used(self.benchopt, *arguments, cwd=folder, env=self.environment()).cpu_seconds

    def printed(self, *arguments: str) -> tuple[str, str]:
        """Return what Python prints on stdout and on stderr with these arguments."""
        command, env = [sys.executable, *arguments], self.environment()
        done = subprocess.run(
            command, cwd=self.folder, env=env, capture_output=True, text=True, check=True
        )
        return done.stdout, done.stderr

    def imports(self, *arguments: str) -> set[str]:
        """Return the top-level modules that a hepbench command imports."""
        listed = self.printed("-X", "importtime", "-m", "hepbench", *arguments)[1]
        names = (line.rpartition("|")[2].strip() for line in listed.splitlines())
        return {name.partition(".")[0] for name in names}


def make_benchopt(folder: Path) -> Path:
    """Install benchopt in its own environment; return the path of its command."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install = ("install", "--quiet", "--disable-pip-version-check", BENCHOPT)
    subprocess.run([folder / "bin" / "pip", *install], check=True, stdout=sys.stderr)
    return folder / "bin" / "benchopt"


def multiply(place: Place, *, number: int) -> None:
    """Write copies of one real record, with other names, seeds, keys and values, if not yet there."""
    folder = place.folder / many(number) / "single"
    if folder.exists():
        return
    state = place.new()
    place.run("single.toml", state=state)
    (one,) = (place.folder / state / "results" / "single").glob("*.json")
    record, rng = records.decode(one.read_bytes()), random.Random(1)
    folder.mkdir(parents=True)
    chains = ("fit", "again", "fit+again", "fresh+fit")
    cells = product(range(10), range(number // 200), chains, range(5))
    for d, m, chain, seed in cells:
        names = {"dataset": f"toy-{d}", "model": f"line-{m}", "chain": chain, "seed": seed}
        key = sha256(repr(names).encode()).hexdigest()[:24]
        data = changed(record.data, fingerprint=f"data-{d}", split_hash=f"split-{d}")
        values = {name: changed(was, value=rng.random()) for name, was in record.metrics.items()}
        copy = changed(record, key=key, data=data, metrics=values, **names)
        (folder / f"{key}.json").write_bytes(records.encode(copy))


def many(number: int) -> str:
    """Return the name of the folder with this number of records."""
    return f"many-{number}"


# --- rows


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        name: the name for ``--only``.
        what: the first column of the table.
        ours, theirs: measure hepbench or the reference once, in CPU seconds or megabytes.
        against: describes the reference; empty: there is none.
        ratio, most: the target, as a multiple of the reference, or in seconds or megabytes.
        unit: ``s`` or ``MB``.
        ready: runs once before the measurement.
        large: whether it takes minutes or gigabytes; measured only if it is asked for.
    """

    name: str
    what: str
    ours: Callable[[], float]
    theirs: Callable[[], float] | None = None
    against: str = ""
    ratio: float | None = None
    most: float | None = None
    unit: str = "s"
    ready: Callable[[], object] = lambda: None
    large: bool = False


def rows(place: Place) -> list[Row]:
    """Return all rows in the order of the table."""
    return [*_starts(place), *_trivial(place), *_many_cells(place), *_many_records(place)]


def _starts(place: Place) -> list[Row]:
    start = _start(place)
    return [
        Row(name="help", what="--help", ours=partial(place.hepbench, "--help"), ratio=2, **start),
        Row(name="list", what="list", ours=partial(place.hepbench, "list"), ratio=4, **start),
        Row(
            name="quickstart",
            what="quickstart, all cached",
            ours=partial(place.run, "quickstart", state="quickstart"),
            most=0.4,
            **start,
        ),
    ]


def _start(place: Place) -> dict[str, Any]:
    reference = "import click, pluggy"
    return {"theirs": partial(place.python, "-c", reference), "against": reference}


def _trivial(place: Place) -> list[Row]:
    return [
        Row(
            name="cold",
            what="100 trivial cells, cold",
            ours=partial(place.run, "hundred.toml"),
            theirs=place.theirs,
            against="benchopt, 10 x 10",
            ratio=1.0,
        ),
        Row(
            name="cached",
            what="100 trivial cells, cached",
            ours=partial(place.run, "hundred.toml", state="hundred"),
            theirs=partial(place.theirs, state="theirs"),
            against="benchopt, 10 x 10, cached",
            ratio=0.25,
        ),
        Row(
            name="single",
            what="1 trivial cell, cold",
            ours=partial(place.run, "single.toml"),
            theirs=partial(place.theirs, "-d", "toy[draw=0]", "-s", "line[slope=0]"),
            against="benchopt, 1 x 1",
            most=0.4,
        ),
        Row(
            name="cell",
            what="one more trivial cell",
            ours=partial(marginal, lambda n: place.run("cells.toml", "--seeds", str(n))),
            theirs=partial(marginal, lambda n: place.python("-c", FORKS, str(n))),
            against="one more fork from a server",
            most=0.010,
        ),
    ]


def _many_cells(place: Place) -> list[Row]:
    return [
        Row(
            name="plan",
            what="plan of 10,000 cells, in process",
            ours=lambda: float(place.printed("-c", PLAN)[0]),
            most=1.0,
        ),
        Row(
            name="plan-command",
            what="the same, the whole command",
            ours=partial(place.hepbench, "plan", "ten-thousand.toml"),
        ),
        Row(
            name="cached-3000",
            what="3,000 trivial cells, cached",
            # the warm-up runs them
            ours=partial(place.run, "thousands.toml", "--quiet", state="thousands"),
            most=0.7,
            large=True,
        ),
    ]


def _many_records(place: Place) -> list[Row]:
    report = (many(10_000), "-o", "report.html")
    return [
        _table(place, 10_000, most=1.0),
        _table(place, 100_000, most=10.0, large=True),
        Row(
            name="memory-100000",
            what="the same, memory",
            ours=partial(place.memory, "table", many(100_000)),
            most=1000.0,
            unit="MB",
            ready=partial(multiply, place, number=100_000),
            large=True,
        ),
        Row(
            name="report",
            what="report of 10,000 records",
            ours=partial(place.hepbench, "report", *report),
            ready=partial(multiply, place, number=10_000),
        ),
    ]


def _table(place: Place, number: int, **more: Any) -> Row:
    return Row(
        name=f"table-{number}",
        what=f"table of {number:,} records",
        ours=partial(place.hepbench, "table", many(number)),
        theirs=partial(place.python, "-c", LOADS, many(number)),
        against="json.loads of their files",
        ready=partial(multiply, place, number=number),
        **more,
    )


def against_base(row: Row, base: Row) -> Row:
    """Return a row whose reference is the same row of a base version."""

    def ready() -> None:
        row.ready()
        base.ready()

    return replace(row, theirs=base.ours, against="the base", ratio=None, ready=ready)


def marginal(cost: Callable[[int], float], n: int = 100) -> float:
    """Return the cost of one more: (cost of n - cost of 1) / (n - 1)."""
    return (cost(n) - cost(1)) / (n - 1)


# --- measuring


@dataclass(frozen=True)
class Measurement:
    """A row's times, one for each turn; ``why`` says why some are missing."""

    row: Row
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    why: str = ""

    @property
    def quotients(self) -> list[float]:
        """Ratios of hepbench to the reference, one for each turn."""
        return [a / b for a, b in zip(self.ours, self.theirs, strict=False)]

    @property
    def ratio(self) -> float | None:
        """Ratio of the medians."""
        return median(self.ours) / median(self.theirs) if self.theirs else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None if there is no target or no measurement."""
        if self.row.ratio is not None:
            return None if self.ratio is None else self.ratio <= self.row.ratio
        if self.row.most is None or not self.ours:
            return None
        return median(self.ours) <= self.row.most

    def plain(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        row = self.row
        names = ("name", "what", "against", "ratio", "most", "unit")
        kept = {name: getattr(row, name) for name in names}
        return {**kept, "ours": self.ours, "theirs": self.theirs, "met": self.met, "why": self.why}


def measure(row: Row, runs: int) -> Measurement:
    """Measure a row and its reference alternately; the first turn is a warm-up and not counted."""
    ours: list[float] = []
    theirs: list[float] = []
    why = ""
    try:
        row.ready()
        for _ in range(runs + 1):
            ours.append(row.ours())
            if row.theirs is not None and not why:
                try:
                    theirs.append(row.theirs())
                except NotMeasurableError as error:
                    why = str(error)
    except (NotMeasurableError, subprocess.CalledProcessError) as error:
        return Measurement(row, why=str(error))
    return Measurement(row, ours[1:], theirs[1:], why)


def heavy(place: Place) -> dict[str, list[str]]:
    """Return the heavy modules that commands import, though they should import none."""
    commands = {"--help": ["--help"], "list": ["list"]}
    return {name: sorted(HEAVY & place.imports(*command)) for name, command in commands.items()}


# --- output


def table(found: Iterable[Measurement]) -> str:
    """Return the results as a Markdown table."""
    heads = ["what", "hepbench", "reference", "", "ratio", "quartiles", "target", "met"]
    return tabulate([_line(m) for m in found], heads, tablefmt="github", disable_numparse=True)


def _line(m: Measurement) -> list[str]:
    ratio = "-" if m.ratio is None else f"{m.ratio:.2f}"
    spread, low_high = "-", m.quotients
    if len(low_high) > 1:
        low, _, high = quantiles(low_high, n=4)
        spread = f"{low:.2f} - {high:.2f}"
    write = _time if m.row.unit == "s" else _megabytes
    target = f"{m.row.ratio:g} x" if m.row.ratio is not None else write(m.row.most)
    met = {True: "yes", False: "NO", None: "-"}[m.met]
    ours, theirs = (write(median(values) if values else None) for values in (m.ours, m.theirs))
    return [m.row.what, ours, theirs, m.row.against, ratio, spread, target, met]


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{1000 * seconds:.1f} ms"


def _megabytes(number: float | None) -> str:
    return "-" if number is None else f"{number:,.0f} MB"


def head(runs: int) -> str:
    """Return a line with the machine, its load and the number of measurements."""
    facts = machine.description()
    load = os.getloadavg()[0]
    return (
        f"{facts['processor']}, {facts['cores']} cores, load {load:.1f} at the start; Python "
        f"{sys.version.split()[0]}; CPU time of all processes, medians of {runs} turns"
    )


def notes(
    found: Iterable[Measurement], modules: Mapping[str, list[str]], *, whole: bool
) -> list[str]:
    """Return the notes below the table; ``whole``: the CPU times include orphans."""
    lines = [f"{name} imports {', '.join(n) or 'nothing heavy'}" for name, n in modules.items()]
    lines += [f"{m.row.what}: {m.why}" for m in found if m.why]
    if not whole:
        lines.append("no subreaper on this system: a fork server and its workers are NOT counted")
    return lines


def main() -> None:
    """Measure all rows and print the table."""
    options, whole = _options(), adopt()
    title = head(options.runs)
    with tempfile.TemporaryDirectory(prefix="hepbench-costs-") as folder, ExitStack() as stack:
        benchopt = options.benchopt and (options.benchopt / "bin" / "benchopt").absolute()
        if options.make_benchopt:
            benchopt = make_benchopt(Path(folder) / "benchopt")
        place = Place(Path(folder) / "this", HERE.parent, benchopt)
        place.prepare()
        chosen = [row for row in rows(place) if _is_chosen(row, options)]
        if options.base:
            base = Place(Path(folder) / "base", stack.enter_context(checkout(options.base)))
            base.prepare()
            of_base = {row.name: row for row in rows(base)}
            chosen = [against_base(row, of_base[row.name]) for row in chosen]
        found = []
        for row in chosen:
            sys.stderr.write(f"{row.what} ...\n")
            found.append(measure(row, options.runs))
        modules = heavy(place)
    texts = notes(found, modules, whole=whole)
    if options.json:
        plain = [m.plain() for m in found]
        print(json.dumps({"head": title, "rows": plain, "notes": texts}, indent=1))
    else:
        print(title, table(found), "\n".join(texts), sep="\n\n")


def _is_chosen(row: Row, options: argparse.Namespace) -> bool:
    return row.name in options.only if options.only else options.large or not row.large


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    names = [row.name for row in rows(Place(Path()))]
    parser.add_argument("--runs", type=int, default=7, metavar="N", help="turns (default 7)")
    parser.add_argument(
        "--only", action="append", choices=names, help="measure only this row; repeatable"
    )
    parser.add_argument(
        "--large", action="store_true", help="also rows that take minutes and gigabytes"
    )
    parser.add_argument("--json", action="store_true", help="print all numbers as JSON")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--benchopt", type=Path, metavar="DIR", help="an environment with benchopt")
    group.add_argument("--base", metavar="REVISION", help="compare with a git revision")
    group.add_argument("--make-benchopt", action="store_true", help=f"install {BENCHOPT}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
