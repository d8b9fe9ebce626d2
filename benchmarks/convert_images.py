"""Convert a large file of boosted jets as a run does; then kill a conversion half way.

    python benchmarks/convert_images.py FOLDER --gigabytes 5

The jets of the bundled sample, or of ``--source``, are repeated with slightly changed values, and
written in the original layout: contiguous float32 ``jet`` (N, 125, 125, 8) and ``Y`` (N, 1). The file
is in the page cache when it is converted. For each stage of preparation the script prints time and
jets per second, and the peak memory of the worker: its own (RssAnon), and with pages of mapped files,
which the system can reclaim. A second conversion is killed (kill -9) when half of the file is read;
the next run must give the same hash of contents.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tabulate import tabulate

from hepbench import SparseImages
from hepbench.registry.plugins import installed
from hepbench.registry.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

DATASET = "boosted-jets"
NAME = "Dataset_Specific_labelled.h5"
IMAGE = (8, 125, 125)
CHUNK = 100
PAUSE_S = 0.02

PLUGIN = '''
"""A model that fits nothing and scores each image by the sum of its hits."""

from hepbench import Method, Model, hookimpl


class Sums:
    def __init__(self, shapes):
        self.shapes = {name: list(shape) for name, shape in shapes.items()}

    def fit(self, data, *, seed):
        pass

    def scores(self, inputs):
        import numpy as np

        images = inputs["image"]
        sums = [np.bincount(rows, values, len(part)) for part in
                (images[i : i + 1000] for i in range(0, len(images), 1000))
                for rows, _, values in [part.hits()]]
        whole = np.concatenate(sums)
        signal = whole / (whole + 1000)
        return np.stack([1 - signal, signal], 1)


def fit(start, data, work):
    return start


@hookimpl
def hepbench_models():
    return [Model(name="sums", summary="sums", inputs=("image",), build="sums:Sums",
                  offers=frozenset({"estimate"}))]


@hookimpl
def hepbench_methods():
    return [Method(name="fit-sums", summary="nothing", run="sums:fit",
                   needs=frozenset({"estimate"}))]
'''


def main() -> None:
    """Print a table; exit with status 1 if the contents differ after the kill."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--source", type=Path, help="an HDF5 file of jets in the same layout")
    given = parser.parse_args()
    path = given.folder / "data" / DATASET / NAME
    rows = max(CHUNK, round(given.gigabytes * 1e9 / (4 * int(np.prod(IMAGE)))))
    if not path.exists() or path.stat().st_size < 4 * rows * int(np.prod(IMAGE)):
        began = time.perf_counter()
        hits = write(path, rows, given.source)
        print(f"{path}: {rows:,} jets, {path.stat().st_size:,} bytes, {hits:,.0f} hits per jet, "
              f"{time.perf_counter() - began:.0f} s")  # fmt: skip
    place = Place(given.folder)
    place.prepare()
    whole = place.run()
    first = place.stages()
    report(rows, path.stat().st_size, whole, first)
    place.forget()
    cut = place.run(kill_at=path.stat().st_size / 2)
    assert not place.stages(), "a stage was finished before the kill"
    again = place.run()
    same = place.stages()["split"]["contents"] == first["split"]["contents"]
    read = f"killed with {cut.read / 1e9:.2f} GB read; the next run took {again.seconds:.1f} s"
    print(f"{read}; contents {'equal' if same else 'DIFFER'}: {first['split']['contents']}")
    sys.exit(not same)


# --- the file


def write(path: Path, rows: int, source: Path | None) -> float:
    """Write a file in the original layout; return the mean number of hits per jet."""
    import h5py

    images, labels = jets(source)
    path.parent.mkdir(parents=True, exist_ok=True)
    part, hits = path.with_suffix(".part"), 0
    channels, *sides = IMAGE
    with h5py.File(part, "w") as file:
        stored = file.create_dataset("jet", (rows, *sides, channels), "f4")
        kinds = file.create_dataset("Y", (rows, 1), "f4")
        for start in range(0, rows, CHUNK):
            rng = np.random.default_rng(start)
            chosen = rng.integers(0, len(images), min(CHUNK, rows - start))
            some = changed(images[chosen], rng)
            stored[start : start + CHUNK] = np.moveaxis(some.dense(), 1, -1)
            kinds[start : start + CHUNK] = labels[chosen, None]
            hits += len(some.hits()[2])
    part.rename(path)
    return hits / rows


def jets(source: Path | None) -> tuple[SparseImages, np.ndarray]:
    """Return images and labels of a file's first 2,000 jets, or of the dataset's sample."""
    if source is None:
        spec = next(e.spec for e in installed().entries("dataset") if e.spec.name == DATASET)
        params = {name: spec.params[name].default for name in spec.read_params}
        found = [e for role, e in resolve(spec.sample.read)(**params) if role == "labelled"]
        images = SparseImages.concatenate([e.inputs["image"] for e in found])
        return images, np.concatenate([e.labels for e in found])
    import h5py

    with h5py.File(source) as file:
        dense = np.moveaxis(file["jet"][:2000], -1, 1)
        return SparseImages.from_dense(dense), file["Y"][:2000, 0]


def changed(images: SparseImages, rng: np.random.Generator) -> SparseImages:
    """Return the images with every value scaled by 1 +- .02."""
    rows, positions, values = images.hits()
    values = values * np.abs(rng.normal(1, 0.02, len(values)))
    return SparseImages.from_hits(rows, positions, values, n=len(images), image=images.image)


# --- the conversion


@dataclass
class Conversion:
    """A run's seconds, and its workers' peak memory and bytes read."""

    seconds: float = 0.0
    anonymous: int = 0
    resident: int = 0
    read: int = 0
    workers: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Place:
    """A folder with the data, a plugin and a suite of one cell."""

    folder: Path

    def prepare(self) -> None:
        """Write plugin and suite; remove stages and records of earlier runs."""
        info = self.folder / "site" / "sums-0.1.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (info.parent / "sums.py").write_text(PLUGIN)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sums\nVersion: 0.1\n")
        (info / "entry_points.txt").write_text("[hepbench]\nsums = sums\n")
        lists = f'datasets = ["{DATASET}"]\nmodels = ["sums"]\nmethods = ["fit-sums"]\n'
        (self.folder / "suite.toml").write_text(f'name = "c"\ncost = false\n[[run]]\n{lists}')
        self.forget()

    def forget(self) -> None:
        """Remove stages and records, but keep the fingerprint of the file."""
        for name in ("cache/stages", "results"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def stages(self) -> dict[str, dict[str, Any]]:
        """Return the result of each finished stage of preparation."""
        found = {}
        for path in self.folder.glob("cache/stages/*/*/manifest.json"):
            manifest = json.loads(path.read_bytes())
            result = manifest["result"]
            kind = "read" if "counts" in result else "split" if "contents" in result else ""
            if not kind and any(name.startswith("train/") for name in manifest["files"]):
                kind = "inputs"
            if kind:
                found[kind] = result
        return found

    def run(self, *, kill_at: float = 0.0) -> Conversion:
        """Run the suite and watch its processes.

        Args:
            kill_at: kill the main process when a worker has read this many bytes; 0: never.
        """
        command = [sys.executable, "-m", "hepbench", "run", "suite.toml", "--data", "data"]
        path = os.pathsep.join(filter(None, [str(self.folder / "site"), os.environ["PYTHONPATH"]]))
        env = {**os.environ, "PYTHONPATH": path, "HEPBENCH_CACHE": str(self.folder / "cache")}
        seen, began = Conversion(), time.perf_counter()
        with (self.folder / "log.txt").open("w") as log:
            main = subprocess.Popen(command, cwd=self.folder, env=env, stdout=log, stderr=log)
            while main.poll() is None:
                for pid in descendants(main.pid):
                    watch(pid, seen)
                if kill_at and seen.read > kill_at:
                    main.send_signal(signal.SIGKILL)
                time.sleep(PAUSE_S)
        seen.seconds = time.perf_counter() - began
        if main.returncode and not kill_at:
            sys.exit((self.folder / "log.txt").read_text())
        wait_for(seen.workers)
        return seen


def descendants(pid: int) -> Iterator[int]:
    """Yield the process ids of all descendants of a process."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in map(int, children):
        yield child
        yield from descendants(child)


def watch(pid: int, seen: Conversion) -> None:
    """Update peak memory and bytes read from one process."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        read = int(Path(f"/proc/{pid}/io").read_text().split()[1])
    except OSError:
        return
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    if "VmHWM" not in lines:
        return
    seen.workers.add(pid)
    seen.anonymous = max(seen.anonymous, 1024 * int(lines["RssAnon"].split()[0]))
    seen.resident = max(seen.resident, 1024 * int(lines["VmHWM"].split()[0]))
    seen.read = max(seen.read, read)


def wait_for(pids: set[int], *, seconds: float = 10.0) -> None:
    """Wait until all processes have ended; a zombie counts as ended.

    Raises:
        TimeoutError: one is still running after this many seconds.
    """
    end = time.monotonic() + seconds
    while alive := [pid for pid in pids if is_alive(pid)]:
        if time.monotonic() > end:
            msg = f"processes {alive} outlived the run that started them"
            raise TimeoutError(msg)
        time.sleep(PAUSE_S)


def is_alive(pid: int) -> bool:
    """Whether a process is still running."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def report(rows: int, size: int, whole: Conversion, stages: dict[str, dict[str, Any]]) -> None:
    """Print time, speed and memory of a conversion."""
    table = []
    for kind in ("read", "split", "inputs"):
        took = stages[kind]["took_seconds"]
        stored = sum(stages[kind]["files"].values())
        table.append(
            {
                "stage": kind,
                "seconds": took,
                "jets per second": rows / took,
                "GB per second": size / took / 1e9,
                "stored, MB": stored / 1e6,
            }
        )
    print(tabulate(table, headers="keys", floatfmt=",.2f"))
    print(
        f"whole run {whole.seconds:.1f} s; peak memory of a worker: {whole.anonymous / 1e6:,.0f} MB"
        f" of its own, {whole.resident / 1e6:,.0f} MB with pages of mapped files; "
        f"the file is {size / 1e6:,.0f} MB"
    )


if __name__ == "__main__":
    main()
