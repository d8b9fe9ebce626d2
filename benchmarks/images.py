"""Measure dense batches from sparse images, against a plain copy and a common DataLoader.

    python benchmarks/images.py FOLDER
    python benchmarks/images.py FOLDER --parts

References, measured alternately: ``numpy.copyto`` of the same number of dense bytes; and a DataLoader
without workers and with two, which reads images with h5py row by row. Its file, written to FOLDER and
in the page cache, has dense images, channels last: contiguous as for boosted-jets, or each image
compressed as for quark-gluon. A turn is one epoch; times are medians of wall-clock time over turns,
with one thread. The images are from the bundled samples. With ``--parts``, the parts of a batch are timed
by CPU time, for contiguous files: those of hepbench, those of the DataLoader, and copies of the same bytes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from hepbench_datasets import BOOSTED_JETS, boosted_jets, electron_photon, quark_gluon
from tabulate import tabulate

from hepbench import Examples, SparseImages
from hepbench.storage import npy_files
from hepbench.training.networks import batches
from hepbench.training.networks.preprocessing import Steps

if TYPE_CHECKING:
    from collections.abc import Callable

WORKERS = (0, 2)
IMAGES = 2048
TARGETS = {"copy": 2.0, "loader": 0.05, "size": 0.1}
"""Upper limits: time / copy, time / DataLoader, bytes on disk / dense bytes."""


@dataclass(frozen=True)
class Case:
    """Dataset, batch size, and compression of the DataLoader's file."""

    dataset: str
    batch_size: int = 128
    compression: str | None = None


CASES = (
    Case("boosted-jets"),
    Case("boosted-jets", 32),
    Case("quark-gluon", compression="gzip"),
    Case("quark-gluon", 32, compression="gzip"),
    Case("quark-gluon", compression="lzf"),
    Case("quark-gluon"),
    Case("electron-photon", compression="lzf"),
)


def images(dataset: str) -> SparseImages:
    """Return the first IMAGES of a dataset's sample."""
    samples = {
        "boosted-jets": lambda: boosted_jets.sample(order=BOOSTED_JETS.inputs["image"].names),
        "electron-photon": electron_photon.sample,
        "quark-gluon": quark_gluon.sample,
    }
    found = [examples.inputs["image"] for _, examples in samples[dataset]()]
    return SparseImages.concatenate(found)[:IMAGES]


class Rows(torch.utils.data.Dataset[torch.Tensor]):
    """Images of a file that each worker opens itself and reads one by one."""

    def __init__(self, path: Path, n: int) -> None:
        self.path, self.n, self.stored = path, n, None

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, row: int) -> torch.Tensor:
        import h5py

        if self.stored is None:
            self.stored = h5py.File(self.path)["jet"]
        return torch.from_numpy(self.stored[row]).permute(2, 0, 1)


def compare(case: Case, folder: Path, turns: int) -> dict[str, Any]:
    """Return median times per batch for each method, and their ratios."""
    made = images(case.dataset)
    source, stored = cached(made, folder)
    path = folder / "dense.h5"
    write(made, path, case.compression)
    size = 4 * case.batch_size * int(np.prod(made.image))
    one, other = np.ones(size // 4, np.float32), np.zeros(size // 4, np.float32)
    rng = np.random.default_rng(1)
    orders = [rng.permutation(IMAGES) for _ in range(turns + 1)]

    def ours(order: np.ndarray) -> None:
        for rows in batches.spans(IMAGES, case.batch_size, order):
            source.batch(rows)

    def copies(order: np.ndarray) -> None:
        for _ in range(len(order) // case.batch_size):
            np.copyto(other, one)

    ways: dict[str, Callable[[np.ndarray], None]] = {"ours": ours, "copy": copies}
    for workers in WORKERS:
        ways[f"loader, {workers} workers"] = loader(path, case, workers)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn, order in enumerate(orders):
        for name, run in list(ways.items())[:: 1 if turn % 2 else -1]:
            began = time.perf_counter()
            run(order)
            if turn:  # the first warms up
                times[name].append(time.perf_counter() - began)
    path.unlink()
    number = IMAGES // case.batch_size
    ms = {name: 1000 * median(found) / number for name, found in times.items()}
    fastest = min(ms[f"loader, {workers} workers"] for workers in WORKERS)
    filled = (made.ends - made.starts).mean()
    fraction = stored / (4 * IMAGES * int(np.prod(made.image)))
    found = {"copy": ms["ours"] / ms["copy"], "loader": ms["ours"] / fastest, "size": fraction}
    return {
        "images": f"{case.dataset}: {' x '.join(map(str, made.image))}, {filled:,.0f} hits",
        "batch": case.batch_size,
        "file": case.compression or "contiguous",
        **{f"{name}, ms": value for name, value in ms.items()},
        "GB/s": size / ms["ours"] / 1e6,
        "hepbench / copy": found["copy"],
        "loader / hepbench": 1 / found["loader"],
        "cache / dense": fraction,
        "not met": ", ".join(name for name in TARGETS if found[name] > TARGETS[name]),
    }


def cached(made: SparseImages, folder: Path) -> tuple[batches.BatchSource, int]:
    """Store images as a stage does; return a source of batches from them, and their size in bytes."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        file = npy_files.SparseImagesWriter(Path(name) / "image.sparse", made)
        file.append(made)
        file.close()
        size = sum(path.stat().st_size for path in Path(name).rglob("*") if path.is_file())
        mapped = npy_files.open_stored(Path(name) / "image.sparse")
    examples = Examples(inputs={"image": mapped}, ids=np.arange(len(made)))
    return batches.source(examples, Steps([]), device=torch.device("cpu")), size


def write(made: SparseImages, path: Path, compression: str | None) -> None:
    """Write dense images, channels last, contiguous or compressed one by one."""
    import h5py

    channels, *sides = made.image
    with h5py.File(path, "w") as file:
        stored = file.create_dataset(
            "jet",
            (len(made), *sides, channels),
            "f4",
            chunks=(1, *sides, channels) if compression else None,
            compression=compression,
        )
        for start in range(0, len(made), 256):
            dense = made[start : start + 256].dense()
            stored[start : start + 256] = np.moveaxis(dense, 1, -1)


def loader(path: Path, case: Case, workers: int) -> Callable[[np.ndarray], None]:
    """Return a function that reads a DataLoader in a given order; its workers stay alive."""
    order: list[int] = []

    class Given(torch.utils.data.Sampler[int]):
        def __iter__(self) -> Any:
            return iter(order)

        def __len__(self) -> int:
            return IMAGES

    made = torch.utils.data.DataLoader(
        Rows(path, IMAGES),
        batch_size=case.batch_size,
        sampler=Given(),
        num_workers=workers,
        persistent_workers=workers > 0,
    )

    def run(given: np.ndarray) -> None:
        order[:] = given.tolist()
        for _ in made:
            pass

    return run


def parts(case: Case, folder: Path, turns: int) -> list[list[Any]]:
    """Return rows (who, part, ms for a batch): each part alone, as medians over turns."""
    import h5py

    made = images(case.dataset)
    path = folder / "dense.h5"
    write(made, path, None)
    size = case.batch_size * int(np.prod(made.image))
    flat, one, other = (np.zeros(size, np.float32) for _ in range(3))
    times: dict[tuple[str, str], list[float]] = {}
    rng, before = np.random.default_rng(1), np.zeros(0, np.int64)
    with h5py.File(path) as file:
        stored = file["jet"]
        for _ in range(turns):
            rows = rng.permutation(IMAGES)[: case.batch_size]
            clock = Clock(times)
            chosen = made[rows]
            places, values = chosen.places()
            clock.note("hepbench", "collect the hits of the images, and their places")
            flat[before] = 0
            clock.note("hepbench", "set the last batch's hits to 0")
            flat[places] = values
            clock.note("hepbench", "write the hits")
            before = places
            read = [torch.from_numpy(stored[row]).permute(2, 0, 1) for row in rows]
            clock.note("DataLoader", "read the images with h5py")
            torch.stack(read)
            clock.note("DataLoader", "join them, channels first")
            np.copyto(other, one)
            clock.note("limit", "copy the dense bytes once")
    path.unlink()
    return [[*name, 1000 * median(found)] for name, found in times.items()]


class Clock:
    """Collects the CPU seconds between its calls, by name."""

    def __init__(self, times: dict[tuple[str, str], list[float]]) -> None:
        self._times, self._last = times, time.thread_time()

    def note(self, *name: str) -> None:
        """Add the time since the last call to those of a name."""
        now = time.thread_time()
        self._times.setdefault(name, []).append(now - self._last)
        self._last = time.thread_time()


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--dataset", help="measure only images of this dataset")
    parser.add_argument("--parts", action="store_true", help="measure the parts of a batch")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.parts:
        for name in ("quark-gluon", "boosted-jets"):
            print(f"{name}, batches of 128, contiguous")
            print(tabulate(parts(Case(name), given.folder, 20), floatfmt=".2f"))
        return
    cases = [case for case in CASES if given.dataset in {None, case.dataset}]
    rows = [compare(case, given.folder, given.turns) for case in cases]
    print(tabulate(rows, headers="keys", floatfmt=".2f"))


if __name__ == "__main__":
    main()
