"""Measure what hepbench costs, alternately with a reference for each number: see README.md.

    .venv/bin/python benchmarks/costs.py --make-benchopt
    .venv/bin/python benchmarks/costs.py --before ../old      # another version is the reference

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
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from itertools import count, product
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from hepbench.storage import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

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
    cli.main(["plan", "thousand.toml"], standalone_mode=False)
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


# --- CPU time


def adopt() -> bool:
    """Become the parent of all orphans among our descendants; return False if that is impossible.

    RUSAGE_CHILDREN misses a fork server: it ends after the command that started it, so process 1
    would reap it, with the CPU time of all its workers. As a subreaper we reap it instead.
    """
    if not sys.platform.startswith("linux"):
        return False
    return bool(ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def cpu(*command: str | Path, cwd: Path, env: Mapping[str, str]) -> float:
    """Return the CPU seconds of a command and of all processes that it started.

    Raises:
        NotMeasurableError: the command failed; the message is the last line of its output.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=cwd, env=env, stdout=output, stderr=output)
        used, codes = 0.0, {}
        # without a subreaper only processes that the command itself waited for are counted
        while True:
            try:
                pid, status, usage = os.wait4(-1, 0)
            except ChildProcessError:
                break
            codes[pid] = os.waitstatus_to_exitcode(status)
            used += usage.ru_utime + usage.ru_stime
        process.returncode = codes[process.pid]
        if process.returncode:
            output.seek(0)
            raise NotMeasurableError(
                output.read().decode(errors="replace").strip().rpartition("\n")[2]
            )
    return used


# --- the folder of the measurements


@dataclass(frozen=True)
class Place:
    """A folder with the trivial plugin and its suites, where both harnesses run.

    Attributes:
        benchopt: the path of its command, or None.
        numbers: numbers of the folders for cold runs. No folder is removed before the end: after
            many deletions ext4 takes long to find a free inode.
    """

    folder: Path
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
        self._suite("thousand", datasets=10, models=10, seeds=10)

    def _suite(self, name: str, *, datasets: int = 1, models: int = 1, seeds: int = 1) -> None:
        toys = [f"toy[draw={i}]" for i in range(datasets)]
        lines = [f"line[slope={i}]" for i in range(models)]
        text = f'name = "{name}"\nseeds = {seeds}\ncost = false\n[[run]]\nmethods = ["fit"]\n'
        text += f"datasets = {json.dumps(toys)}\nmodels = {json.dumps(lines)}\n"
        (self.folder / f"{name}.toml").write_text(text)

    def environment(self, state: str = "state") -> dict[str, str]:
        """Return the environment of a command, with its cache in the folder ``state``."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HEPBENCH_")}
        path = filter(None, [str(self.folder / "site"), kept.get("PYTHONPATH")])
        cache = str(self.folder / state / "cache")
        return {**kept, "PYTHONPATH": os.pathsep.join(path), "HEPBENCH_CACHE": cache}

    def new(self) -> str:
        """Return the name of a new folder."""
        return f"new-{next(self.numbers)}"

    def python(self, *arguments: str) -> float:
        """Return the CPU seconds of Python with these arguments."""
        return cpu(sys.executable, *arguments, cwd=self.folder, env=self.environment())

    def hepbench(self, *arguments: str, state: str = "state") -> float:
        """Return the CPU seconds of a hepbench command."""
        command = Path(sys.executable).with_name("hepbench")
        return cpu(command, *arguments, cwd=self.folder, env=self.environment(state))

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
        return cpu(self.benchopt, *arguments, cwd=folder, env=self.environment())

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


def multiply(place: Place, *, number: int = 10_000) -> None:
    """Write copies of one real record into ``many``, with other names, seeds, keys and values."""
    place.run("single.toml", state="one")
    (one,) = (place.folder / "one" / "results" / "single").glob("*.json")
    record, rng = json.loads(one.read_bytes()), random.Random(1)
    folder = place.folder / "many" / "single"
    folder.mkdir(parents=True)
    chains = ("fit", "again", "fit+again", "fresh+fit")
    cells = product(range(10), range(number // 200), chains, range(5))
    for d, m, chain, seed in cells:
        names = {"dataset": f"toy-{d}", "model": f"line-{m}", "chain": chain, "seed": seed}
        key = sha256(repr(names).encode()).hexdigest()[:24]
        data = record["data"] | {"fingerprint": f"data-{d}", "split_hash": f"split-{d}"}
        values = {name: was | {"value": rng.random()} for name, was in record["metrics"].items()}
        copy = record | names | {"key": key, "data": data, "metrics": values}
        (folder / f"{key}.json").write_text(json.dumps(copy, indent=1))


# --- rows


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        name: the name for ``--only``.
        what: the first column of the table.
        ours, theirs: measure hepbench or the reference once, in CPU seconds.
        against: describes the reference.
        ratio, seconds: the target, as a multiple of the reference or in seconds.
        ready: runs once before the measurement.
    """

    name: str
    what: str
    ours: Callable[[], float]
    theirs: Callable[[], float]
    against: str
    ratio: float | None = None
    seconds: float | None = None
    ready: Callable[[], object] = lambda: None


def rows(place: Place) -> list[Row]:
    """Return all rows in the order of the table."""
    return [*_starts(place), *_trivial(place), *_larger(place)]


def _starts(place: Place) -> list[Row]:
    start = _start(place)
    return [
        Row(name="help", what="--help", ours=partial(place.hepbench, "--help"), ratio=2, **start),
        Row(name="list", what="list", ours=partial(place.hepbench, "list"), ratio=4, **start),
        Row(
            name="plan",
            what="plan of 1,000 cells, in process",
            ours=lambda: float(place.printed("-c", PLAN)[0]),
            seconds=0.3,
            **start,
        ),
        Row(
            name="plan-command",
            what="the same, the whole command",
            ours=partial(place.hepbench, "plan", "thousand.toml"),
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
            ratio=0.6,
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
            seconds=0.4,
        ),
        Row(
            name="cell",
            what="one more trivial cell",
            ours=partial(marginal, lambda n: place.run("cells.toml", "--seeds", str(n))),
            theirs=partial(marginal, lambda n: place.python("-c", FORKS, str(n))),
            against="one more fork from a server",
            seconds=0.010,
        ),
    ]


def _larger(place: Place) -> list[Row]:
    return [
        Row(
            name="table",
            what="table of 10,000 records",
            ours=partial(place.hepbench, "table", "many"),
            theirs=partial(place.python, "-c", LOADS, "many"),
            against="json.loads of their files",
            seconds=2,
            ready=partial(multiply, place),
        ),
        Row(
            name="quickstart",
            what="quickstart, all cached",
            ours=partial(place.run, "quickstart", state="quickstart"),
            seconds=0.4,
            **_start(place),
        ),
    ]


def against_version(row: Row, checkout: Path) -> Row:
    """Return the row with another version as its reference, in a checkout where ``make`` ran."""
    return replace(
        row,
        theirs=partial(_cost_before, checkout.absolute(), row.name),
        against="the other version",
        ratio=None,
        seconds=None,
    )


def _cost_before(checkout: Path, name: str) -> float:
    """Measure a row by the other version's own benchmark, since its plugin API may differ."""
    command = [".venv/bin/python", "benchmarks/costs.py", "--json", "--runs", "1", "--only", name]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True)
    (row,) = json.loads(done.stdout)["rows"]
    if not row["ours"]:
        raise NotMeasurableError(row["why"])
    return float(row["ours"][0])


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
        if self.row.seconds is None or not self.ours:
            return None
        return median(self.ours) <= self.row.seconds

    def plain(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        row = self.row
        kept = {n: getattr(row, n) for n in ("name", "what", "against", "ratio", "seconds")}
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
            if not why:
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
    target = f"{m.row.ratio:g} x" if m.row.ratio is not None else _time(m.row.seconds)
    met = {True: "yes", False: "NO", None: "-"}[m.met]
    ours, theirs = (_time(median(values) if values else None) for values in (m.ours, m.theirs))
    return [m.row.what, ours, theirs, m.row.against, ratio, spread, target, met]


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{1000 * seconds:.1f} ms"


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
    with tempfile.TemporaryDirectory(prefix="hepbench-costs-") as folder:
        benchopt = options.benchopt and (options.benchopt / "bin" / "benchopt").absolute()
        if options.make_benchopt:
            benchopt = make_benchopt(Path(folder) / "benchopt")
        place = Place(Path(folder), benchopt)
        place.prepare()
        found = []
        for row in rows(place):
            if not options.only or row.name in options.only:
                sys.stderr.write(f"{row.what} ...\n")
                compared = against_version(row, options.before) if options.before else row
                found.append(measure(compared, options.runs))
        modules = heavy(place)
    texts = notes(found, modules, whole=whole)
    if options.json:
        plain = [m.plain() for m in found]
        print(json.dumps({"head": title, "rows": plain, "notes": texts}, indent=1))
    else:
        print(title, table(found), "\n".join(texts), sep="\n\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    names = [row.name for row in rows(Place(Path()))]
    parser.add_argument("--runs", type=int, default=7, metavar="N", help="turns (default 7)")
    parser.add_argument(
        "--only", action="append", choices=names, help="measure only this row; repeatable"
    )
    parser.add_argument("--json", action="store_true", help="print all numbers as JSON")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--benchopt", type=Path, metavar="DIR", help="an environment with benchopt")
    group.add_argument("--before", type=Path, metavar="DIR", help="a checkout of another version")
    group.add_argument("--make-benchopt", action="store_true", help=f"install {BENCHOPT}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
