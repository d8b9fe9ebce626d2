"""Measure readers of parquet files with one jet per row group: ours, Python lists, polars, HDF5.

    python benchmarks/parquet.py FOLDER

Jets of the bundled quark-gluon sample are written to FOLDER in the format of the original files
(lists of double, snappy, one row per row group), and also as HDF5 with LZF compression of each jet.
They are in the page cache when they are read. The readers, measured alternately:

- ours: ``hepbench_datasets.quark_gluon:read``, with checks and conversion to sparse images;
- lists: one row group at a time, ``to_pydict`` and ``np.float32`` of the nested list, as is common;
  only the first ``--few`` jets, because it is slow;
- polars: ``collect_batches``, lists exploded three times, no checks; one thread.

Times are medians of CPU time per jet over turns.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

# must be set before polars is imported
os.environ["POLARS_MAX_THREADS"] = "1"

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hepbench_datasets import QUARK_GLUON, quark_gluon
from images import images
from tabulate import tabulate

if TYPE_CHECKING:
    from collections.abc import Callable

    from hepbench import SparseImages

HDF5, RUN = (QUARK_GLUON.files[i].name for i in (0, 1))
BATCH = 32


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--few", type=int, default=100)
    given = parser.parse_args()
    made = images("quark-gluon")
    files = {kind: given.folder / kind / name for kind, name in (("hdf5", HDF5), ("parquet", RUN))}
    for path in files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    write_hdf5(made, files["hdf5"])
    write_parquet(made, files["parquet"])
    path = files["parquet"]
    ways: dict[str, Callable[[], int]] = {
        "ours, parquet": lambda: read(path.parent),
        "lists": lambda: lists(path, given.few),
        "polars": lambda: polars(path),
        "ours, HDF5": lambda: read(files["hdf5"].parent),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(given.turns):
        for name, run in list(ways.items())[:: 1 if turn % 2 else -1]:
            began = time.process_time()
            jets = run()
            times[name].append(1000 * (time.process_time() - began) / jets)
    ms = {name: median(found) for name, found in times.items()}
    rows = [
        {
            "reader": name,
            "ms per jet": each,
            "jets per second": 1000 / each,
            "time / ours": each / ms["ours, parquet"],
        }
        for name, each in ms.items()
    ]
    print(tabulate(rows, headers="keys", floatfmt=",.2f"))
    sizes = {kind: file.stat().st_size / len(made) / 1000 for kind, file in files.items()}
    print(f"{len(made)} jets; kB per jet: " + ", ".join(f"{k} {v:.1f}" for k, v in sizes.items()))


def read(folder: Path) -> int:
    """Read a folder as a run does; return the number of jets."""
    return sum(len(examples) for _, examples in quark_gluon.read(folder))


def lists(path: Path, few: int) -> int:
    """Convert one row group after another with Python lists."""
    file = pq.ParquetFile(path)
    for row in range(few):
        found = file.read_row_group(row).to_pydict()
        np.float32(found["X_jets"][0])
    return few


def polars(path: Path) -> int:
    """Read batches with polars, and take the numbers out of the lists."""
    import polars as pl

    lazy = pl.scan_parquet(path, parallel="none", low_memory=True, use_statistics=False)
    jets = 0
    for frame in lazy.collect_batches(chunk_size=BATCH, maintain_order=True):
        frame["X_jets"].explode().explode().explode().to_numpy()
        jets += len(frame)
    return jets


def columns(n: int) -> dict[str, np.ndarray]:
    """Return labels, masses and momenta of n jets."""
    rng = np.random.default_rng(0)
    # the class does not matter here
    return {"m0": rng.uniform(10, 40, n), "pt": rng.uniform(70, 337, n), "y": np.arange(n) % 2.0}


def write_hdf5(made: SparseImages, path: Path) -> None:
    """Write jets in the original HDF5 layout."""
    import h5py

    with h5py.File(path, "w") as file:
        shape = (125, 125, 3)
        stored = file.create_dataset(
            "X_jets", (len(made), *shape), "f4", chunks=(1, *shape), compression="lzf"
        )
        for start in range(0, len(made), 256):
            stored[start : start + 256] = np.moveaxis(made[start : start + 256].dense(), 1, -1)
        for key, values in columns(len(made)).items():
            file[key] = values.astype("f4")


def write_parquet(made: SparseImages, path: Path) -> None:
    """Write jets in the original parquet layout, one row at a time."""
    others = {key: pa.array(values) for key, values in columns(len(made)).items()}
    writer = None
    for row in range(len(made)):
        jet = pa.array(made[row].astype(float).reshape(-1))
        for length in (125, 125, 3):
            jet = pa.ListArray.from_arrays(np.arange(0, len(jet) + 1, length, dtype="i4"), jet)
        table = pa.table(
            {"X_jets": jet} | {key: all_[row : row + 1] for key, all_ in others.items()}
        )
        writer = writer or pq.ParquetWriter(path, table.schema, compression="snappy")
        writer.write_table(table)
    writer.close()


if __name__ == "__main__":
    main()
