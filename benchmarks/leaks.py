"""What the leak audit costs beside reading: CPU time on a million rows like those of HIGGS.

    .venv/bin/python benchmarks/leaks.py HIGGS.csv.gz

Rows of the file are drawn and changed by 5 %, so that none is a near-copy of another. Reading is measured
on 50,000 of them and multiplied by 20.
"""

from __future__ import annotations

import argparse
import gzip
import tempfile
import time
from pathlib import Path

import numpy as np
from hepbench_datasets import higgs

from hepbench.data import duplicates, splits
from hepbench.data.leaks.audit import LeakAudit, describe
from hepbench.data.stored_parts import spans

ROWS, READ = 1_000_000, 50_000


def main() -> None:
    """Print the times, and what the audit finds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("source", type=Path, help="a file of HIGGS, compressed")
    with gzip.open(parser.parse_args().source, "rt") as file:
        original = np.loadtxt(file, delimiter=",", max_rows=20_000)
    rng = np.random.default_rng(0)
    reading = _read(_drawn(original, READ, rng)) * ROWS / READ
    hashing, collecting, looking, found = _audited(_drawn(original, ROWS, rng))
    audit = collecting + looking
    print(
        f"{ROWS:,} rows: reading {reading:.1f} s of CPU time, exact hashes {hashing:.2f} s; leak audit "
        f"{audit:.2f} s ({collecting:.2f} s in the stream, {looking:.2f} s at its end), "
        f"{'within' if audit <= 2 + 0.1 * reading else 'above'} 2 s + 10 % of reading; found: "
        f"{found or 'nothing'}"
    )


def _drawn(original: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    rows = original[rng.integers(0, len(original), n)]
    rows[:, 1:] *= 1 + 0.05 * rng.normal(size=(n, rows.shape[1] - 1))
    return rows.astype(np.float32)


def _read(rows: np.ndarray) -> float:
    with tempfile.TemporaryDirectory() as folder:
        np.savetxt(Path(folder) / "HIGGS.csv", rows, fmt="%.18e", delimiter=",")
        began = time.process_time()
        assert sum(len(examples) for _, examples in higgs.read(Path(folder))) == len(rows)
        return time.process_time() - began


def _audited(rows: np.ndarray) -> tuple[float, float, float, list[str]]:
    labels, table = rows[:, 0].astype(np.int64), np.ascontiguousarray(rows[:, 1:])
    ids = np.arange(len(rows))
    audit, hashing, collecting = LeakAudit(("background", "signal")), 0.0, 0.0
    for chunk in spans({"table": table}, len(table)):
        began = time.process_time()
        hashes = duplicates.row_hashes([table[chunk]])
        hashed = time.process_time()
        audit.add("labelled", {"table": table[chunk]}, hashes, ids=ids[chunk], labels=labels[chunk])
        hashing += hashed - began
        collecting += time.process_time() - hashed
    parts = splits.divide(labels, ids, fractions=(0.6, 0.2, 0.2), seed=0)
    began = time.process_time()
    found = describe(audit.leaks(parts))
    return hashing, collecting, time.process_time() - began, found


if __name__ == "__main__":
    main()
