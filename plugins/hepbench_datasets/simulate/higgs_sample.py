"""Make the simulated sample of HIGGS that ships with the package.

``python -m hepbench_datasets.simulate.higgs_sample`` does it, in six minutes of processor time.

20,000 rows of ``higgs.simulate`` as ``samples/higgs.npz``: ``labels`` (20000,) int8, 1 = signal,
and ``table`` (20000, 28) float32. The float32 values are kept bit by bit; stored by column they
take a seventh less. The same versions of Pythia and FastJet give the same bytes on one machine;
elsewhere compare values.
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
    """Write the sample to ``path``, by ``jobs`` processes, and return it.

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
