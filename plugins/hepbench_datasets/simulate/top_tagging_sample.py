"""Make the simulated sample of top tagging that ships with the package.

``python -m hepbench_datasets.simulate.top_tagging_sample`` does it, in three minutes of processor time.

5,000 jets of ``top_tagging.simulate``, those of its three files one behind another, as
``samples/top-tagging.npz``: particles as ``top_tagging_compact.py`` writes them and ``labels``
(5000,) int8, 1 = top. The same versions of Pythia and FastJet give the same bytes on one machine;
elsewhere compare values.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from hepbench_datasets import compact, top_tagging_compact
from hepbench_datasets.simulate import top_tagging

JETS = 5_000
SEED = 190209914
PATH = Path(__file__).parent.parent / "samples" / "top-tagging.npz"


def write_sample(path: Path, *, jets: int = JETS, jobs: int) -> Path:
    """Write the sample to ``path``, by ``jobs`` processes, and return it.

    Raises:
        DataError: as ``top_tagging.simulate``.
    """
    found = top_tagging.joined(list(top_tagging.simulate(jets, seed=SEED, jobs=jobs).values()))
    columns = {"labels": found.labels.astype(np.int8)}
    compact.save(path, columns | top_tagging_compact.encode(found.momenta))
    return path


if __name__ == "__main__":
    write_sample(PATH, jobs=min(2, os.cpu_count() or 1))
