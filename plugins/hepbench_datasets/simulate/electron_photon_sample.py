"""Make the bundled sample of electrons and photons.

``python -m hepbench_datasets.simulate.electron_photon_sample`` takes ten seconds.

The sample has 20,000 images of ``electron_photon.simulate``, half of them electrons, in
``samples/electron-photon.npz``: images as ``electron_photon_compact.py`` writes them, electrons
first; ``labels`` (20000,) int8, 1 = electron. The same version of numpy gives the same bytes on one
machine; on other machines compare values.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from hepbench import SparseImages
from hepbench_datasets import compact, electron_photon_compact
from hepbench_datasets.simulate import electron_photon

IMAGES = 20_000
SEED = 180711916
PATH = Path(__file__).parent.parent / "samples" / "electron-photon.npz"


def write_sample(path: Path, *, images: int = IMAGES, jobs: int) -> Path:
    """Simulate the bundled sample of electrons and photons, write it to ``path``, return the path.

    Raises:
        DataError: as ``electron_photon.simulate``.
    """
    found = electron_photon.simulate(images, seed=SEED, jobs=jobs)
    labels = np.concatenate([np.full(len(some), label, np.int8) for label, some in found.items()])
    whole = SparseImages.concatenate(list(found.values()))
    compact.save(path, {"labels": labels} | electron_photon_compact.encode(whole))
    return path


if __name__ == "__main__":
    write_sample(PATH, jobs=min(2, os.cpu_count() or 1))
