"""Make the bundled sample of top tagging.

``python -m hepbench_datasets.simulate.top_tagging_sample`` takes three minutes of processor time.

The sample has 5,000 jets of ``top_tagging.simulate``, from its three files one after another, in
``samples/top-tagging.npz``: particles as ``top_tagging_compact.py`` writes them and ``labels``
(5000,) int8, 1 = top. The same versions of Pythia and FastJet give the same bytes on one machine;
on other machines compare values.
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
    """Simulate the bundled sample of top tagging, write it to ``path``, return the path.

    Raises:
        DataError: as ``top_tagging.simulate``.
    """
    found = top_tagging.concatenate(list(top_tagging.simulate(jets, seed=SEED, jobs=jobs).values()))
    columns = {"labels": found.labels.astype(np.int8)}
    compact.save(path, columns | top_tagging_compact.encode(found.momenta))
    return path


if __name__ == "__main__":
    write_sample(PATH, jobs=min(2, os.cpu_count() or 1))
