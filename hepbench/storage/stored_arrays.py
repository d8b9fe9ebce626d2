"""Arrays of npz files that nobody vouches for: no objects, no sizes that the file does not hold."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import numpy as np
from numpy.lib import format as npy

from hepbench.storage import untrusted_zip

if TYPE_CHECKING:
    from numpy.typing import NDArray


Arrays = dict[str, "NDArray[Any]"]


DAMAGED = (*untrusted_zip.DAMAGED, KeyError, MemoryError)
"""What reading damaged arrays may raise."""


def load(data: bytes) -> Arrays:
    """Return the arrays of an npz file by name.

    Raises:
        DAMAGED: it is no npz file, holds objects, or states other sizes than it has.
    """
    with ZipFile(io.BytesIO(data)) as opened:
        members = untrusted_zip.checked_members(opened, len(data))
        return {
            name.removesuffix(".npy"): _array(name, untrusted_zip.read_member(opened, member))
            for name, member in members.items()
        }


def _array(name: str, data: bytes) -> NDArray[Any]:
    file = io.BytesIO(data)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if (version := npy.read_magic(file)) not in readers:
        msg = f"{name} has npy version {version}; 1.0 and 2.0 are read"
        raise ValueError(msg)
    shape, fortran, dtype = readers[version](file)
    held = len(data) - file.tell()
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != held:
        msg = f"{name} states {dtype} of shape {shape}, and holds {held:,} bytes"
        raise ValueError(msg)
    flat = np.frombuffer(data, dtype, math.prod(shape), offset=file.tell())
    return flat.reshape(shape, order="F" if fortran else "C").copy()
