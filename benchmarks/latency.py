"""Measure the latency of one network on an idle machine, and while two jobs of another run train.

A cost stage waits until it is alone on the machine, so both should give the same. Each is measured
five times.

    .venv/bin/python benchmarks/latency.py

Also shown: the 95th percentile of the same network without the lock that keeps other jobs away.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tabulate import tabulate

from hepbench.storage.records import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ONE = """
name = "one"
[[run]]
datasets = ["higgs[n_train=2000]"]
models = ["mlp"]
methods = ["scratch[epochs=1]"]
"""
OTHERS = """
name = "others"
cost = false
seeds = 200
[[run]]
datasets = ["higgs[features=21,n_train=4000]"]
models = ["transformer-ae"]
methods = ["scratch[epochs=1]"]
"""
BY_HAND = """
import time, torch
from hepbench_models.mlp import MLP
from hepbench_models import MLP as SPEC
from hepbench.specs.parameters import defaults
torch.set_num_threads(1)
net = torch.nn.Sequential(MLP({"table": (28,)}, **defaults(SPEC.params)).eval())
x = {"table": torch.zeros(256, 28)}
laps = []
with torch.no_grad():
    for _ in range(4000):
        began = time.perf_counter()
        net[0].encode(x)
        laps.append(time.perf_counter() - began)
print(1e3 * sorted(laps)[int(.95 * len(laps))])
"""


def main() -> None:
    """Print the medians and their relative range."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "one.toml").write_text(ONE)
        (folder / "others.toml").write_text(OTHERS)
        # the first run reads and splits the data
        measured(folder)
        rows = [["idle, median", *five(lambda: measured(folder))]]
        rows.append(["idle, no lock, p95", *five(by_hand)])
        with training(folder):
            before = trained(folder)
            rows.append(["while two jobs train, median", *five(lambda: measured(folder))])
            rows.append(["while two jobs train, no lock, p95", *five(by_hand)])
            meanwhile = trained(folder) - before
    table = [[what, *times, (max(times) - min(times)) / median(times)] for what, *times in rows]
    heads = ["ms, 256 examples, torch", *(f"{i + 1}" for i in range(5)), "range / median"]
    print(tabulate(table, heads, floatfmt=".3f"))
    print(f"\nthe other run finished {meanwhile} trainings meanwhile")


def five(measure: Callable[[], float]) -> list[float]:
    """Return five measurements."""
    return [measure() for _ in range(5)]


def measured(folder: Path) -> float:
    """Return the median latency that a fresh run records."""
    hepbench(folder, "run", "one.toml", "--fresh", "--quiet", "--results", "results").wait()
    newest = max((folder / "results" / "one").glob("*.json"), key=lambda path: path.stat().st_mtime)
    latencies = decode(newest.read_bytes()).cost.latencies
    return next(x.median_ms for x in latencies if (x.runtime, x.batch) == ("torch", 256))


def by_hand() -> float:
    """Return the 95th percentile, measured without the lock."""
    done = subprocess.run(
        [sys.executable, "-c", BY_HAND], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def trained(folder: Path) -> int:
    """Return how many trainings of the other run have finished."""
    return len(list((folder / "c2").glob("stages/*/*/scores.npz")))


@contextmanager
def training(folder: Path) -> Iterator[None]:
    """Train with two jobs of another run, which has its own cache, while the block runs."""
    other = hepbench(folder, "run", "others.toml", "--jobs", "2", "--results", "r2", cache="c2")
    time.sleep(15)
    try:
        yield
    finally:
        other.terminate()
        other.wait()


def hepbench(folder: Path, *arguments: str, cache: str = "c1") -> subprocess.Popen[str]:
    """Start a hepbench command in a folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "hepbench", *arguments],
        cwd=folder,
        env={**os.environ, "HEPBENCH_CACHE": str(folder / cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )


if __name__ == "__main__":
    main()
