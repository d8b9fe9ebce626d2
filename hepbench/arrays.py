"""Arrays on disk: npy files that grow as chunks come, and are mapped when they are read."""

from __future__ import annotations

import json
import math
import mmap
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from hepbench.errors import DataError, ResultsError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class Growing:
    """An npy file written chunk by chunk; the number of rows is filled in at the end."""

    def __init__(self, path: Path, first: NDArray[Any]) -> None:
        self._file = path.open("wb")
        self._dtype = first.dtype
        self._shape = first.shape[1:]
        self._rows = 0
        self._write_header()

    def append(self, chunk: NDArray[Any]) -> None:
        """Add (n, ...) rows.

        Raises:
            DataError: their shape or type is not that of the first chunk.
        """
        if chunk.shape[1:] != self._shape or chunk.dtype != self._dtype:
            got, expected = (chunk.dtype, chunk.shape[1:]), (self._dtype, self._shape)
            msg = f"chunks differ: {got[0]}{got[1]} after {expected[0]}{expected[1]}"
            raise DataError(msg)
        self._file.write(np.ascontiguousarray(chunk).data)
        self._rows += len(chunk)

    def close(self) -> None:
        """Write the final shape into the header."""
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        # numpy leaves room in the header for the first axis to grow
        header = {
            "descr": npy.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._rows, *self._shape),
        }
        npy.write_array_header_1_0(self._file, header)


def mapped(path: Path) -> NDArray[Any]:
    """Return the array of an npy file, mapped read-only; it carries no path to its neighbours.

    Raises:
        ResultsError: the file is no npy file, holds objects, or is cut short.
    """
    with path.open("rb") as file:
        try:
            shape, fortran, dtype = _header(file)
        except ValueError as error:
            msg = f"{path} is not an npy file: {error}"
            raise ResultsError(msg) from error
        count = math.prod(shape)
        if dtype.hasobject or fortran:
            msg = f"{path}: arrays of plain numbers in C order are allowed, not {dtype}"
            raise ResultsError(msg)
        if count == 0:
            return np.empty(shape, dtype)
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if len(whole) - file.tell() < count * dtype.itemsize:
            msg = f"{path} is cut short"
            raise ResultsError(msg)
        return np.frombuffer(whole, dtype, count, offset=file.tell()).reshape(shape)


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order and type of an npy file; the file is left at its first number.

    A plain header is read as JSON, for numpy's own reader compiles it as Python each time.
    """
    if npy.read_magic(file) == (1, 0):
        start = file.tell()
        size = int.from_bytes(file.read(2), "little")
        text = file.read(size).decode("latin1")
        for python, json_ in _AS_JSON:
            text = text.replace(python, json_)
        try:
            header = json.loads(text)
            return tuple(header["shape"]), header["fortran_order"], np.dtype(header["descr"])
        except (ValueError, TypeError, KeyError):
            file.seek(start)
    return npy.read_array_header_1_0(file)


_AS_JSON = (
    ("'", '"'),
    ("False", "false"),
    ("True", "true"),
    ("(", "["),
    (",)", "]"),
    (")", "]"),
    (", }", "}"),
)
