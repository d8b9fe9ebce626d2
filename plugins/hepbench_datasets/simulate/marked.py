"""Write HDF5 files with a mark, outside the data, that they are simulated.

The mark is text in the user block, the bytes in front of the HDF5 data, and can be seen with ``head
-c 100``. Copies made by ``h5repack`` or of single arrays lose the mark.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hepbench import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER_BLOCK = 512
"""Size in bytes of the mark in a simulated file, the smallest that HDF5 allows."""


@contextmanager
def hdf5(path: Path) -> Iterator[Any]:
    """Open a new HDF5 file for writing; mark it as simulated when it is complete."""
    import h5py

    with h5py.File(path, "w", userblock_size=USER_BLOCK) as file:
        yield file
    with path.open("r+b") as raw:
        raw.write(SIMULATED + b"\n")
