"""Make the simulated sample of electrons and photons that ships with the package.

``python -m hepbench_datasets.simulate.electron_photon_sample`` does it, in ten seconds.

20,000 images of ``electron_photon.simulate``, half of them electrons, as ``samples/electron-photon.npz``:
as ``electron_photon_compact.py`` writes them, electrons first; ``labels`` (20000,) int8, 1 = electron.
The same version of numpy gives the same bytes on one machine; elsewhere compare values.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hepbench import SparseImages
from hepbench_datasets import electron_photon_compact
from hepbench_datasets.simulate import electron_photon

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepbench import Array

IMAGES = 20_000
SEED = 180711916
PATH = Path(__file__).parent.parent / "samples" / "electron-photon.npz"


def write_sample(path: Path, *, images: int = IMAGES, jobs: int) -> Path:
    """Write the sample to ``path``, by ``jobs`` processes, and return it.

    Raises:
        DataError: as ``electron_photon.simulate``.
    """
    found = electron_photon.simulate(images, seed=SEED, jobs=jobs)
    labels = np.concatenate([np.full(len(some), label, np.int8) for label, some in found.items()])
    whole = SparseImages.concatenate(list(found.values()))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        _save(part, {"labels": labels} | electron_photon_compact.encode(whole))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _save(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write what ``np.load`` reads; numpy itself knows only deflate, which takes an eighth more."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in arrays.items():
            # no time of day, or equal images would not be equal bytes
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_LZMA
            with archive.open(entry, "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


if __name__ == "__main__":
    write_sample(PATH, jobs=min(2, os.cpu_count() or 1))
