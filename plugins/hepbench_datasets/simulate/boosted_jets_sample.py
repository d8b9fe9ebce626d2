"""Make the bundled sample of boosted jets.

``python -m hepbench_datasets.simulate.boosted_jets_sample`` takes six minutes of processor time.

The sample has 4,000 labelled and 4,000 unlabelled jets of ``boosted_jets.simulate`` in
``samples/boosted-jets.npz``: images as ``boosted_jets_compact.py`` writes them, labelled images
first; ``labels`` (4000,) int8, 1 = top; ``m`` and ``pT`` (4000,) float32 in GeV. The same versions
of Pythia and FastJet give the same bytes on one machine; on other machines compare values.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from hepbench import SparseImages
from hepbench_datasets import boosted_jets_compact, compact
from hepbench_datasets.simulate import boosted_jets

JETS = 8_000
SEED = 210414659
PATH = Path(__file__).parent.parent / "samples" / "boosted-jets.npz"


def write_sample(path: Path, *, jets: int = JETS, jobs: int) -> Path:
    """Simulate the bundled sample of boosted jets, write it to ``path``, return the path.

    Raises:
        DataError: as ``boosted_jets.simulate``.
    """
    found = boosted_jets.simulate(jets, seed=SEED, jobs=jobs)
    labelled, unlabelled = found["labelled"], found["unlabelled"]
    images = SparseImages.concatenate([labelled.images, unlabelled.images])
    columns = {"labels": labelled.labels.astype(np.int8), "m": labelled.mass, "pT": labelled.pt}
    compact.save(path, columns | boosted_jets_compact.encode(images))
    return path


if __name__ == "__main__":
    write_sample(PATH, jobs=min(2, os.cpu_count() or 1))
