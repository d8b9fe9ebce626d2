"""Marked files: HDF5 files that say, where no reader of their layout looks, that they are simulated.

The mark is the user block, the bytes in front of what HDF5 itself writes, and is text: whoever opens
the file with ``head -c 100`` sees it. A copy made by ``h5repack`` or of single arrays has none.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hepbench import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER_BLOCK = 512
"""Bytes, the fewest that HDF5 allows."""


@contextmanager
def hdf5(path: Path) -> Iterator[Any]:
    """Lend a new HDF5 file to be written, and mark it when it is whole."""
    import h5py

    with h5py.File(path, "w", userblock_size=USER_BLOCK) as file:
        yield file
    with path.open("r+b") as raw:
        raw.write(SIMULATED + b"\n")
