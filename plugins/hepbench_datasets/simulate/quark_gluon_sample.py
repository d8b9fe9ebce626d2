"""Make the bundled sample of quark and gluon jets.

``python -m hepbench_datasets.simulate.quark_gluon_sample`` takes one minute of processor time.

The sample has 4,000 jets of ``quark_gluon.simulate`` in ``samples/quark-gluon.npz``: images as
``quark_gluon_compact.py`` writes them; ``y`` (4000,) int8, 1 = quark; ``m0`` and ``pt`` (4000,)
float32 in GeV. The same versions of Pythia and FastJet give the same bytes on one machine; on other
machines compare values.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from hepbench_datasets import compact, quark_gluon_compact
from hepbench_datasets.simulate import quark_gluon

JETS = 4_000
SEED = 7
PATH = Path(__file__).parent.parent / "samples" / "quark-gluon.npz"


def write_sample(path: Path, *, jets: int = JETS, jobs: int) -> Path:
    """Simulate the bundled sample of quark and gluon jets, write it to ``path``, return the path.

    Raises:
        DataError: as ``quark_gluon.simulate``.
    """
    found = quark_gluon.simulate(jets, seed=SEED, jobs=jobs)
    columns = {"y": found.labels.astype(np.int8), "m0": found.mass, "pt": found.pt}
    compact.save(path, columns | quark_gluon_compact.encode(found.images))
    return path


if __name__ == "__main__":
    write_sample(PATH, jobs=min(2, os.cpu_count() or 1))
