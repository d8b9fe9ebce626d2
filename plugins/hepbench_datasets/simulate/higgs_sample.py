"""Make the bundled sample of HIGGS.

``python -m hepbench_datasets.simulate.higgs_sample`` takes six minutes of processor time.

The sample has 20,000 rows of ``higgs.simulate`` in ``samples/higgs.npz``: ``labels`` (20000,) int8,
1 = signal, and ``table`` (20000, 28) float32. The float32 values are stored exactly; storing them
by column saves a seventh. The same versions of Pythia and FastJet give the same bytes on one
machine; on other machines compare values.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from hepbench_datasets.simulate import higgs

ROWS = 20_000
SEED = 14024735
PATH = Path(__file__).parent.parent / "samples" / "higgs.npz"


def write_sample(path: Path, *, jobs: int) -> Path:
    """Simulate the bundled sample of HIGGS, write it to ``path``, return the path.

    Raises:
        DataError: as ``higgs.simulate``.
    """
    labels, table = higgs.simulate(ROWS, seed=SEED, jobs=jobs)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            np.savez_compressed(file, labels=labels.astype(np.int8), table=np.asfortranarray(table))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


if __name__ == "__main__":
    write_sample(PATH, jobs=min(2, os.cpu_count() or 1))
