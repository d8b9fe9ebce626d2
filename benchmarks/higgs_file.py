"""Write a HIGGS.csv.gz of any length in the original format, to measure its conversion.

    python benchmarks/higgs_file.py SOURCE.csv.gz FOLDER --rows 11000000

Rows of the source are drawn with replacement, and every feature except the b-tags is scaled by a
random factor near 1, so that no two rows are equal. The file is for measurements only: perturbed
rows are not physics.
"""

from __future__ import annotations

import argparse
import gzip
import io
import time
from pathlib import Path

import numpy as np
import polars as pl
from isal import igzip

CHUNK = 100_000
B_TAGS = [9, 13, 17, 21]


def main() -> None:
    """Write FOLDER/HIGGS.csv.gz."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=11_000_000)
    given = parser.parse_args()
    with gzip.open(given.source) as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.float32)
    given.folder.mkdir(parents=True, exist_ok=True)
    path = given.folder / "HIGGS.csv.gz"
    began = time.perf_counter()
    with igzip.open(path, "wb", compresslevel=2) as out:
        for i, start in enumerate(range(0, given.rows, CHUNK)):
            rng = np.random.default_rng(i)
            out.write(lines(perturbed(rows, min(CHUNK, given.rows - start), rng)))
    seconds = time.perf_counter() - began
    print(f"{path}: {given.rows:,} rows, {path.stat().st_size:,} bytes, {seconds:.0f} s")


def perturbed(rows: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n of (N, 29) rows, drawn at random, with features scaled by 1 +- .02."""
    drawn = rows[rng.integers(0, len(rows), n)]
    factors = rng.normal(1, 0.02, drawn.shape).astype(np.float32)
    factors[:, [0, *B_TAGS]] = 1
    return drawn * factors


def lines(rows: np.ndarray) -> bytes:
    """Return rows as text, with numbers in the format ``%.18e``."""
    text = io.BytesIO()
    frame = pl.DataFrame(rows.astype(np.float64), orient="row")
    frame.write_csv(text, include_header=False, float_scientific=True, float_precision=18)
    found = text.getvalue()
    for power in range(10):
        for end in (b",", b"\n"):
            found = found.replace(b"e%d%s" % (power, end), b"e+%02d%s" % (power, end))
            found = found.replace(b"e-%d%s" % (power, end), b"e-%02d%s" % (power, end))
    return found


if __name__ == "__main__":
    main()
