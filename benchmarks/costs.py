"""What hepbench costs, each figure beside a yardstick measured in turns with it: see README.md.

    .venv/bin/python benchmarks/costs.py --make-benchopt

CPU time is counted over a command and all that it started, whoever inherits them.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from itertools import product
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from hepbench import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

HEAVY = {"matplotlib", "numpy", "scipy", "sklearn", "torch"}
BENCHOPT = "benchopt==1.10.0"
BENCHOPT_OPTIONS = ("--no-plot", "--no-html", "-n", "1", "-r", "1")
PR_SET_CHILD_SUBREAPER = 36

PLUGIN = '''
"""Two numbers, a model that fits nothing, a method that lets it."""

from hepbench import Dataset, Examples, Input, Method, Model, hookimpl


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
                    inputs=inputs, sample="trivial:sample", params=params, reads=frozenset(params))]


@hookimpl
def hepbench_models():
    return [Model(name="line", summary="the first number", inputs=("table",), build="trivial:Line",
                  offers=frozenset({"estimate"}), params={"slope": 1.0})]


@hookimpl
def hepbench_methods():
    return [Method(name="fit", summary="fits", run="trivial:fit", needs=frozenset({"estimate"}))]
'''

# the same for benchopt: as many examples, a solver that fits nothing, an objective of one line
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

# the first plan pays for imports
PLAN = """
import contextlib, io, sys, time
from hepbench.cli import cli
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
context.set_forkserver_preload(["hepbench.worker", "hepbench.stages", "numpy.random"])
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

Seconds = "Callable[[], float]"


class Impossible(Exception):
    """A row that cannot be measured here, and why."""


# --- CPU time


def adopt() -> bool:
    """Become the parent of every orphan among our descendants; False where there is no such call.

    RUSAGE_CHILDREN misses a fork server: it outlives the command that started it, and would be
    reaped, with the CPU time of all its workers, by process 1. A subreaper reaps it instead.
    """
    if not sys.platform.startswith("linux"):
        return False
    return ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def cpu(*command: str | Path, cwd: Path, env: Mapping[str, str]) -> float:
    """Return the CPU seconds of a command and of everything that it started.

    Raises:
        Impossible: it fails; the end of what it wrote is the reason.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=cwd, env=env, stdout=output, stderr=output)
        used, codes = 0.0, {}
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
            last = output.read().decode(errors="replace").strip().rpartition("\n")[2]
            raise Impossible(f"{Path(command[0]).name} {command[1]}: {last}")
    return used


# --- a place to work


@dataclass(frozen=True)
class Place:
    """A folder with the trivial plugin, its suites and benchopt's benchmark.

    Attributes:
        benchopt: its command, or None.
    """

    folder: Path
    benchopt: Path | None = None

    def prepare(self) -> None:
        """Write what is to be run."""
        info = self.folder / "site" / "trivial-0.1.dist-info"
        info.mkdir(parents=True)
        (info.parent / "trivial.py").write_text(PLUGIN)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: trivial\nVersion: 0.1\n")
        (info / "entry_points.txt").write_text("[hepbench]\ntrivial = trivial\n")
        self._suite("single")
        self._suite("cells", seeds=100)
        self._suite("hundred", datasets=10, models=10)
        self._suite("thousand", datasets=10, models=10, seeds=10)
        for name, text in THEIRS.items():
            path = self.folder / "theirs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def _suite(self, name: str, *, datasets: int = 1, models: int = 1, seeds: int = 1) -> None:
        toys = [f"toy[draw={i}]" for i in range(datasets)]
        lines = [f"line[slope={i}]" for i in range(models)]
        text = f'name = "{name}"\nseeds = {seeds}\n[[run]]\nmethods = ["fit"]\n'
        text += f"datasets = {json.dumps(toys)}\nmodels = {json.dumps(lines)}\n"
        (self.folder / f"{name}.toml").write_text(text)

    @cached_property
    def environment(self) -> dict[str, str]:
        """The environment of every command."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HEPBENCH_")}
        return {**kept, "PYTHONPATH": str(self.folder / "site")}

    def python(self, *arguments: str | Path) -> float:
        """Return what Python costs with some arguments."""
        return cpu(sys.executable, *arguments, cwd=self.folder, env=self.environment)

    def hepbench(self, *arguments: str, state: str = "state", cold: bool = False) -> float:
        """Return what hepbench costs; ``cold`` forgets cache and results in folder ``state``."""
        folder = self.folder / state
        if cold:
            shutil.rmtree(folder, ignore_errors=True)
        env = {**self.environment, "HEPBENCH_CACHE": str(folder / "cache")}
        command = Path(sys.executable).with_name("hepbench")
        return cpu(command, *arguments, cwd=self.folder, env=env)

    def run(self, suite: str, *options: str, state: str, cold: bool = False) -> float:
        """Return what a run of a suite costs."""
        results = str(self.folder / state / "results")
        name = f"{suite}.toml" if (self.folder / f"{suite}.toml").exists() else suite
        return self.hepbench("run", name, "--results", results, *options, state=state, cold=cold)

    def theirs(self, *options: str, cold: bool) -> float:
        """Return what benchopt costs on the same; ``cold`` forgets what it knows."""
        if self.benchopt is None:
            raise Impossible("no benchopt: give --benchopt or --make-benchopt")
        folder = self.folder / "theirs"
        for name in ("__cache__", "outputs") if cold else ():
            shutil.rmtree(folder / name, ignore_errors=True)
        command = (self.benchopt, "run", ".", *BENCHOPT_OPTIONS, *options)
        return cpu(*command, cwd=folder, env=self.environment)

    def in_process(self, script: str) -> float:
        """Return the CPU seconds that a script prints."""
        env = {**self.environment, "HEPBENCH_CACHE": str(self.folder / "state" / "cache")}
        command = [sys.executable, "-c", script]
        done = subprocess.run(
            command, cwd=self.folder, env=env, capture_output=True, text=True, check=True
        )
        return float(done.stdout)

    def imports(self, *arguments: str) -> set[str]:
        """Return the top-level modules that hepbench imports."""
        command = [sys.executable, "-X", "importtime", "-m", "hepbench", *arguments]
        env = self.environment
        done = subprocess.run(
            command, cwd=self.folder, env=env, capture_output=True, text=True, check=True
        )
        names = (line.rpartition("|")[2].strip() for line in done.stderr.splitlines())
        return {name.partition(".")[0] for name in names}


def make_benchopt(folder: Path) -> Path:
    """Return the command of a benchopt in an environment of its own."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", BENCHOPT]
    subprocess.run(pip, check=True, stdout=sys.stderr)
    return folder / "bin" / "benchopt"


def multiply(place: Place, *, state: str, count: int = 10_000) -> Path:
    """Write copies of one real record: other names, seeds, keys and values. Return their folder."""
    place.run("single", state=state, cold=True)
    (one,) = (place.folder / state / "results" / "single").glob("*.json")
    record = json.loads(one.read_bytes())
    rng = random.Random(1)
    folder = place.folder / "many" / "single"
    folder.mkdir(parents=True)
    cells = product(range(10), range(count // 200), ("fit", "again", "fit+again", "fresh+fit"))
    for d, m, chain in cells:
        for seed in range(5):
            names = {"dataset": f"toy-{d}", "model": f"line-{m}", "chain": chain, "seed": seed}
            key = sha256(repr(names).encode()).hexdigest()[:24]
            data = record["data"] | {"fingerprint": f"data-{d}", "split_hash": f"split-{d}"}
            metrics = {
                name: value | {"value": rng.random()} for name, value in record["metrics"].items()
            }
            copy = record | names | {"key": key, "data": data, "metrics": metrics}
            (folder / f"{key}.json").write_text(json.dumps(copy, indent=1))
    return folder.parent


# --- rows


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        name: as given to ``--only``.
        ours, theirs: measure once, in CPU seconds.
        against: the yardstick in words.
        ratio: the target, as a multiple of the yardstick; else ``seconds`` is, or there is none.
        ready: makes ready what is measured.
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
    """Return every row, in the order of the table."""
    bare = partial(place.python, "-c", "import click, pluggy")
    start = {"theirs": bare, "against": "import click, pluggy"}
    benchopt = {"theirs": partial(place.theirs, cold=True), "against": "benchopt, same 10 x 10"}
    many = partial(multiply, place, state="one")
    read = partial(place.python, "-c", LOADS, "many")
    return [
        Row(name="help", what="--help", ours=partial(place.hepbench, "--help"), ratio=2, **start),
        Row(name="list", what="list", ours=partial(place.hepbench, "list"), ratio=4, **start),
        Row(
            name="plan",
            what="plan of 1,000 cells, in process",
            ours=partial(place.in_process, PLAN),
            seconds=0.3,
            **start,
        ),
        Row(
            name="plan-command",
            what="the same, the whole command",
            ours=partial(place.hepbench, "plan", "thousand.toml"),
            **start,
        ),
        Row(
            name="cold",
            what="100 trivial cells, cold",
            ours=partial(place.run, "hundred", state="cold", cold=True),
            ratio=0.6,
            **benchopt,
        ),
        Row(
            name="cached",
            what="100 trivial cells, cached",
            ours=partial(place.run, "hundred", state="cached"),
            ratio=0.25,
            **benchopt | {"theirs": partial(place.theirs, cold=False)},
        ),
        Row(
            name="single",
            what="1 trivial cell, cold",
            ours=partial(place.run, "single", state="single", cold=True),
            theirs=partial(place.theirs, "-d", "toy[draw=0]", "-s", "line[slope=0]", cold=True),
            against="benchopt, same 1 x 1",
            seconds=0.4,
        ),
        Row(
            name="cell",
            what="one more trivial cell",
            ours=partial(marginal, partial(_cells, place)),
            theirs=partial(marginal, lambda n: place.python("-c", FORKS, str(n))),
            against="one more fork from a server",
            seconds=0.010,
        ),
        Row(
            name="table",
            what="table of 10,000 records",
            ours=partial(place.hepbench, "table", "many"),
            theirs=read,
            against="json.loads of their files",
            seconds=2,
            ready=many,
        ),
        Row(
            name="quickstart",
            what="quickstart, all cached",
            ours=partial(place.run, "quickstart", state="quickstart"),
            seconds=0.4,
            **start,
        ),
    ]


def marginal(cost: Callable[[int], float], n: int = 100) -> float:
    """Return what one more costs: the difference quotient between 1 and n."""
    return (cost(n) - cost(1)) / (n - 1)


def _cells(place: Place, n: int) -> float:
    return place.run("cells", "--seeds", str(n), state="cells", cold=True)


@dataclass(frozen=True)
class Measured:
    """A row's figures, one for each turn; ``why`` there are none."""

    name: str
    what: str
    against: str
    ratio: float | None
    seconds: float | None
    ours: list[float]
    theirs: list[float]
    why: str = ""

    @property
    def quotients(self) -> list[float]:
        """Ours by the yardstick, turn by turn."""
        return [a / b for a, b in zip(self.ours, self.theirs, strict=True)]

    @property
    def met(self) -> bool | None:
        """Whether the median is within the target, if there is one."""
        if self.ratio is not None and self.theirs:
            return median(self.ours) / median(self.theirs) <= self.ratio
        return None if self.seconds is None or not self.ours else median(self.ours) <= self.seconds


def measure(row: Row, runs: int) -> Measured:
    """Measure a row and its yardstick in turns; the first turn warms up and is not counted."""
    empty = Measured(row.name, row.what, row.against, row.ratio, row.seconds, [], [])
    try:
        row.ready()
        ours = [row.ours()]
    except (Impossible, subprocess.CalledProcessError) as error:
        return replace(empty, why=str(error))
    try:
        theirs, why = [row.theirs()], ""
    except Impossible as error:
        theirs, why = [], str(error)
    for _ in range(runs):
        ours.append(row.ours())
        theirs += [row.theirs()] if theirs else []
    return replace(empty, ours=ours[1:], theirs=theirs[1:], why=why)


# --- what is printed


def table(found: Iterable[Measured]) -> str:
    """Return the figures as a table in Markdown."""
    heads = ["what", "ours", "yardstick", "", "ratio", "quartiles", "target", "met"]
    return tabulate([_line(m) for m in found], heads, tablefmt="github", disable_numparse=True)


def _line(m: Measured) -> list[str]:
    ratio = spread = "-"
    if m.ours and m.theirs:
        ratio = f"{median(m.ours) / median(m.theirs):.2f}"
        low, _, high = quantiles(m.quotients, n=4) if len(m.ours) > 1 else m.quotients * 3
        spread = f"{low:.2f} - {high:.2f}"
    target = "-" if m.seconds is None else _time(m.seconds)
    target = target if m.ratio is None else f"{m.ratio:g} x"
    met = {True: "yes", False: "NO", None: "-"}[m.met]
    return [m.what, _time(_middle(m.ours)), _time(_middle(m.theirs)), m.against, ratio, spread,
            target, met]  # fmt: skip


def _middle(values: list[float]) -> float | None:
    return median(values) if values else None


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{1000 * seconds:.1f} ms"


def heavy(place: Place) -> dict[str, list[str]]:
    """Return which heavy modules commands import that should import none."""
    commands = {"--help": ["--help"], "list": ["list"]}
    return {name: sorted(HEAVY & place.imports(*command)) for name, command in commands.items()}


def head(runs: int) -> str:
    """Name the machine, its load and how often everything is measured."""
    facts = machine.description()
    load = os.getloadavg()[0]
    return (
        f"{facts['processor']}, {facts['cores']} cores, load {load:.1f} at the start; Python "
        f"{sys.version.split()[0]}; CPU time of all processes, medians, n = {runs}, in turns"
    )


def main() -> int:
    """Measure, print, and return 1 if a target is missed."""
    options = _options()
    whole, title = adopt(), head(options.runs)
    with tempfile.TemporaryDirectory(prefix="hepbench-costs-") as folder:
        benchopt = options.benchopt / "bin" / "benchopt" if options.benchopt else None
        if options.make_benchopt:
            benchopt = make_benchopt(Path(folder) / "benchopt")
        place = Place(Path(folder), benchopt)
        place.prepare()
        chosen = [r for r in rows(place) if not options.only or r.name in options.only]
        found = []
        for row in chosen:
            sys.stderr.write(f"{row.what} ...\n")
            found.append(measure(row, options.runs))
        modules = heavy(place)
    if options.json:
        print(
            json.dumps({"head": title, "heavy": modules, "rows": [*map(asdict, found)]}, indent=1)
        )
    else:
        print(f"{title}\n\n{table(found)}\n")
        for name, names in modules.items():
            print(f"{name} imports {', '.join(names) or 'nothing heavy'}")
        for m in found:
            print(f"{m.what}: {m.why}" if m.why else "", end="\n" if m.why else "")
        if not whole:
            print("no subreaper on this system: workers of the fork server are NOT counted")
    return 1 if any(modules.values()) or any(m.met is False for m in found) else 0


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = [row.name for row in rows(Place(Path()))]
    parser.add_argument("--runs", type=int, default=7, metavar="N", help="turns (default 7)")
    parser.add_argument("--only", action="append", choices=names, help="this row; repeatable")
    parser.add_argument("--json", action="store_true", help="print every figure as JSON")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--benchopt", type=Path, metavar="DIR", help="an environment that has it")
    group.add_argument("--make-benchopt", action="store_true", help=f"install {BENCHOPT} for it")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
