"""Arrays on disk: npy files, written chunk by chunk and memory-mapped for reading.

Sparse images are a folder ``*.sparse`` of npy files: the index where the hits of each image end,
and the positions and values of all hits.
"""

from __future__ import annotations

import math
import mmap
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy

from hepbench.specs.errors import DataError, ResultsError
from hepbench.specs.sparse_images import SparseImages, joined

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hepbench.specs.types import Array


SPARSE = ".sparse"


class NpyWriter:
    """Writes an npy file chunk by chunk, and the number of rows at the end."""

    def __init__(self, path: Path, first: NDArray[Any]) -> None:
        self._file = path.open("wb")
        self._dtype = first.dtype
        self._shape = first.shape[1:]
        self._rows = 0
        self._write_header()

    def append(self, chunk: NDArray[Any]) -> None:
        """Add a chunk of (n, ...) rows to the npy file.

        Raises:
            DataError: their shape or type differs from that of the first chunk.
        """
        if chunk.shape[1:] != self._shape or chunk.dtype != self._dtype:
            found, first = f"{chunk.dtype}{chunk.shape[1:]}", f"{self._dtype}{self._shape}"
            msg = f"a chunk has rows {found}; {first} is expected, as in the first chunk"
            raise DataError(msg)
        self._file.write(np.ascontiguousarray(chunk).data)
        self._rows += len(chunk)

    def close(self) -> None:
        """Write the final shape into the header of the npy file, and close it."""
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        # numpy leaves space in the header for a longer first axis
        header = {
            "descr": npy.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._rows, *self._shape),
        }
        npy.write_array_header_1_0(self._file, header)


def save(path: Path, array: NDArray[Any]) -> None:
    """Write an array to an npy file.

    This fails if the disk is full; ``numpy.save`` may lose the end of the array without an error.
    """
    with closing(NpyWriter(path, array)) as file:
        file.append(array)


class SparseImagesWriter:
    """Writes sparse images chunk by chunk into a folder of npy files."""

    def __init__(self, folder: Path, first: SparseImages) -> None:
        folder.mkdir()
        self._image, self._hits = first.image, 0
        # positions in 125 x 125 x 3 pixels fit into two bytes
        self._position_type = np.min_scalar_type(math.prod(first.image) - 1)
        save(folder / "image.npy", np.array(first.image, np.int64))
        self._ends = NpyWriter(folder / "ends.npy", np.empty(0, np.int64))
        self._positions = NpyWriter(folder / "positions.npy", np.empty(0, self._position_type))
        self._values = NpyWriter(folder / "values.npy", np.empty(0, np.float32))

    def append(self, chunk: SparseImages | NDArray[Any]) -> None:
        """Add a chunk of n images, sparse or dense, to the stored sparse images.

        Raises:
            DataError: their shape differs from that of the first chunk.
        """
        images = chunk if isinstance(chunk, SparseImages) else SparseImages.from_dense(chunk)
        if images.image != self._image:
            msg = f"a chunk has images of shape {images.image}; {self._image} is expected"
            raise DataError(msg)
        _, positions, values = images.hits()
        self._ends.append(np.cumsum(images.ends - images.starts) + self._hits)
        self._positions.append(positions.astype(self._position_type))
        self._values.append(values)
        self._hits += len(values)

    def close(self) -> None:
        """Write the final shapes into the headers of the npy files, and close them."""
        for file in (self._ends, self._positions, self._values):
            file.close()


def new_writer(folder: Path, name: str, first: Array) -> NpyWriter | SparseImagesWriter:
    """Return a writer for npy files, or for sparse images if the first chunk is sparse."""
    if isinstance(first, SparseImages):
        return SparseImagesWriter(folder / f"{name}{SPARSE}", first)
    return NpyWriter(folder / f"{name}.npy", first)


def stored(folder: Path, prefix: str = "") -> dict[str, Path]:
    """Return the npy files in a folder whose names begin with a prefix, by the rest of the name."""
    # not glob, which would compile its pattern again in each worker
    found = (path for path in sorted(folder.iterdir()) if path.name.startswith(prefix))
    return {p.stem.removeprefix(prefix): p for p in found if p.suffix in {".npy", SPARSE}}


def open_stored(path: Path) -> Array:
    """Open a stored array, or stored sparse images, memory-mapped and read-only."""
    return map_sparse_images(path) if path.suffix == SPARSE else map_npy(path)


class ConcatenatedArrays:
    """Several stored arrays as one, without a copy; indexed by a slice or by sorted rows."""

    def __init__(self, pieces: Sequence[Array]) -> None:
        self._pieces = pieces
        self._rows = sum(map(len, pieces))
        self.dtype = np.result_type(*(piece.dtype for piece in pieces))
        self.shape = (self._rows, *pieces[0].shape[1:])

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> Array:
        wanted = np.arange(len(self))[rows] if isinstance(rows, slice) else rows
        found, start = [], 0
        for piece in self._pieces:
            low, high = np.searchsorted(wanted, [start, start + len(piece)])
            found.append(piece[wanted[low:high] - start])
            start += len(piece)
        whole = joined(found)
        return whole if isinstance(whole, SparseImages) else whole.astype(self.dtype, copy=False)


def map_sparse_images(folder: Path) -> SparseImages:
    """Open stored sparse images, memory-mapped and read-only.

    Raises:
        ResultsError: a file is damaged, or shorter or longer than the others.
    """
    names = ("image", "ends", "positions", "values")
    image, ends, positions, values = (map_npy(folder / f"{name}.npy") for name in names)
    hits = int(ends[-1]) if len(ends) else 0
    if not hits == len(positions) == len(values):
        found = f"{len(positions)} positions and {len(values)} values"
        msg = f"{folder} is incomplete: {found}; {hits} hits are expected"
        raise ResultsError(msg)
    starts = np.concatenate([np.zeros(1, np.int64), ends])[: len(ends)]
    shape = tuple(map(int, image))
    return SparseImages.unchecked(starts, np.array(ends), positions, values, image=shape)


def map_npy(path: Path) -> NDArray[Any]:
    """Open the array of an npy file, memory-mapped and read-only.

    The array does not reveal the path of the file.

    Raises:
        ResultsError: the file is not an npy file, holds objects, or is incomplete.
    """
    with path.open("rb") as file:
        try:
            npy.read_magic(file)
            shape, fortran, dtype = npy.read_array_header_1_0(file)
        except ValueError as error:
            msg = f"{path} is not an npy file: {error}"
            raise ResultsError(msg) from error
        count = math.prod(shape)
        if dtype.hasobject or fortran:
            order = "Fortran" if fortran else "C"
            msg = f"{path} holds {dtype} in {order} order; only numbers in C order are allowed"
            raise ResultsError(msg)
        if count == 0:
            return np.empty(shape, dtype)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if len(mapped) - file.tell() < count * dtype.itemsize:
            msg = f"{path} is incomplete"
            raise ResultsError(msg)
        return np.frombuffer(mapped, dtype, count, offset=file.tell()).reshape(shape)
