"""Race a suite of twelve results against plain scripts of the same work: CPU, wall time and AUCs.

    python benchmarks/race/race.py --turns 3

A script goes from an HDF5 file to an AUC, FLOPs and latencies, with torch, scikit-learn and h5py, and
shares nothing with the others. The suite and the scripts have the same training examples, networks,
batches, epochs and early stopping. Each turn runs the suite from an empty cache, then all scripts;
all of it once on one thread and once on all cores: the suite with one worker per core, the scripts with
one thread and with as many threads as cores, of which the faster counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from scipy.stats import ttest_ind
from tabulate import tabulate

from hepbench.data.splits import PARTS
from hepbench.data.stored_parts import load_part
from hepbench.evaluation.joining import labels_of
from hepbench.storage import machine
from hepbench.storage.results import ResultsFolder
from hepbench.storage.stage_cache import StageCache

sys.path.append(str(Path(__file__).parents[1]))

from costs import adopt, waited

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hepbench.storage.records import Record

HERE = Path(__file__).parent

SCRIPTS = {"gbdt": "trees", "mlp": "perceptron", "resnet15": "residual", "sparse-ae": "autoencoder"}
"""Model -> script of the same work."""

LEAST_P = 0.01
"""AUCs are equal within their errors if the p-value of their difference is at least this."""


@dataclass
class Used:
    """CPU and wall time of some commands together, in s."""

    cpu: float = 0.0
    wall: float = 0.0


@dataclass(frozen=True)
class Race:
    """A race in a folder: what was used, the AUCs, and the sizes of the networks.

    Attributes:
        seeds: of each result.
        used: by way, one entry for each turn.
        aucs: by runner and model, one for each seed.
        parameters: of the networks, by runner and model.
    """

    folder: Path
    seeds: int
    used: dict[str, list[Used]] = field(default_factory=dict)
    aucs: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    parameters: dict[str, dict[str, int | None]] = field(default_factory=dict)

    def turn(self, number: int, *, cores: int) -> None:
        """Run the suite and the scripts in turn, each way once."""
        name = f"turn{number}-one"
        self._note("suite", self._run_suite(name, jobs=1))
        records = self._records(name)
        self.aucs["hepbench"] = {
            model: [record.metrics["auc"].value for record in some]
            for model, some in records.items()
        }
        self.parameters["hepbench"] = {m: some[0].cost.parameters for m, some in records.items()}
        if not number:
            self._write_examples(StageCache(self.folder / name / "cache"), records)
        self._note("scripts", self._run_scripts(threads=1))
        if cores > 1:
            self._note("suite, all cores", self._run_suite(f"turn{number}-all", jobs=cores))
            self._note("scripts, all cores", self._run_scripts(threads=cores))

    def _write_examples(self, cache: StageCache, records: Mapping[str, list[Record]]) -> None:
        """Write the examples of each model, as the suite prepared them, into an HDF5 file."""
        for model, some in records.items():
            keys = some[0].stage_keys
            inputs, split = (cache.folder(keys[name]) for name in ("inputs", "split"))
            write_examples(self.folder / f"{model}.h5", inputs, split)

    def _note(self, way: str, used: Used) -> None:
        self.used.setdefault(way, []).append(used)
        print(f"{way}: CPU {used.cpu:.1f} s, wall {used.wall:.1f} s, load {load():.1f}", flush=True)

    def _records(self, name: str) -> Mapping[str, list[Record]]:
        """Return the records of a run by model, in the order of their seeds."""
        found: dict[str, list[Record]] = {}
        records = ResultsFolder(self.folder / name / "results").records()
        for record in sorted(records, key=lambda each: each.seed):
            found.setdefault(record.model.partition("[")[0], []).append(record)
        return found

    def _run_suite(self, name: str, *, jobs: int) -> Used:
        place = self.folder / name
        place.mkdir()
        command = [sys.executable, "-m", "hepbench", "run", str(HERE / "race.toml"), "--quiet"]
        options = ["--seeds", str(self.seeds), "--jobs", str(jobs)]
        environment = {"HEPBENCH_CACHE": str(place / "cache"), "HEPBENCH_LOCKS": str(place)}
        return timed([*command, *options], place, environment)[0]

    def _run_scripts(self, *, threads: int) -> Used:
        whole = Used()
        self.aucs["scripts"] = {model: [] for model in SCRIPTS}
        self.parameters["scripts"] = {}
        variables = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "OPENBLAS")}
        for model, script in SCRIPTS.items():
            for seed in range(self.seeds):
                command = [
                    sys.executable,
                    str(HERE / f"{script}.py"),
                    str(self.folder / f"{model}.h5"),
                ]
                options = ["--seed", str(seed), "--threads", str(threads)]
                used, output = timed([*command, *options], self.folder, variables)
                whole.cpu += used.cpu
                whole.wall += used.wall
                found = json.loads(output.splitlines()[-1])
                self.aucs["scripts"][model].append(found["auc"])
                self.parameters["scripts"][model] = found.get("parameters")
        return whole


def timed(command: list[str], folder: Path, environment: Mapping[str, str]) -> tuple[Used, str]:
    """Run a command; return what it and all processes that it started used, and its output.

    Raises:
        SystemExit: it failed.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **environment}, stdout=output, stderr=errors
        )
        cpu = waited(process).cpu_seconds
        if process.returncode:
            errors.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{errors.read()}")
        output.seek(0)
        return Used(cpu, time.perf_counter() - began), output.read()


def write_examples(path: Path, inputs: Path, split: Path) -> None:
    """Write the examples that a model of the suite gets into an HDF5 file, by part."""
    labels = labels_of(split)
    with h5py.File(path, "w") as file:
        for part in PARTS:
            group, examples = file.create_group(part), load_part(inputs, part)
            for name, array in examples.inputs.items():
                group[name] = np.asarray(array)
            group["labels"] = labels[f"{part}.labels"].astype(np.int64)


def load() -> float:
    """Return the load of the machine in the last minute."""
    return os.getloadavg()[0]


def ratios(race: Race) -> str:
    """Return a table of the times of the suite as fractions of those of the scripts."""
    ways = {
        "CPU, one thread": ("suite", "scripts", lambda used: used.cpu),
        "wall, one worker and one thread": ("suite", "scripts", lambda used: used.wall),
        "wall, a worker per core": ("suite, all cores", "fastest", lambda used: used.wall),
    }
    used = dict(race.used)
    if "scripts, all cores" in used:
        both = zip(used["scripts"], used["scripts, all cores"], strict=True)
        used["fastest"] = [min(pair, key=lambda each: each.wall) for pair in both]
    rows = [
        (what, *_ratio(used[ours], used[theirs], seconds))
        for what, (ours, theirs, seconds) in ways.items()
        if ours in used
    ]
    return tabulate(
        rows,
        headers=("what", "suite / scripts", "of single turns"),
        tablefmt="github",
        disable_numparse=True,
    )


def _ratio(ours: list[Used], theirs: list[Used], seconds: Callable[[Used], float]) -> list[str]:
    """Return the ratio of the medians, and the ratios of the single turns."""
    mine, other = [seconds(each) for each in ours], [seconds(each) for each in theirs]
    single = ", ".join(f"{a / b:.2f}" for a, b in zip(mine, other, strict=True))
    return [f"{median(mine) / median(other):.2f}", single]


def quality(race: Race) -> str:
    """Return a table of the AUCs of both, with their spread over seeds and a comparison."""
    rows: list[tuple[Any, ...]] = []
    for model, theirs in race.aucs["scripts"].items():
        ours = race.aucs["hepbench"][model]
        p = ttest_ind(ours, theirs, equal_var=False).pvalue
        verdict = "equal within errors" if p >= LEAST_P else "NOT equal within errors"
        rows.append(
            (model, _sizes(race, model), _spread(ours), _spread(theirs), f"{p:.2f}", verdict)
        )
    headers = ("model", "parameters", "suite", "scripts", "p", "AUCs")
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def _sizes(race: Race, model: str) -> str:
    """Return the parameters of a network, of both if they differ; trees have none that count."""
    mine, other = race.parameters["hepbench"][model], race.parameters["scripts"][model]
    if other is None:
        return ""
    return f"{mine:,}" if mine == other else f"NOT equal: {mine:,} and {other:,}"


def _spread(values: list[float]) -> str:
    return f"{fmean(values):.4f} ± {stdev(values):.4f}"


def main() -> None:
    """Race, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3, help="at least 2")
    parser.add_argument("--one-core", action="store_true", help="leave out the runs on all cores")
    options = parser.parse_args()
    if not adopt():
        sys.exit("CPU times of workers can be measured on Linux only")
    with tempfile.TemporaryDirectory() as folder:
        race = Race(Path(folder), seeds=options.seeds)
        for number in range(options.turns):
            race.turn(number, cores=1 if options.one_core else machine.cores())
        print(f"\n{ratios(race)}\n\nAUC: mean and standard deviation over seeds\n\n{quality(race)}")


if __name__ == "__main__":
    main()
