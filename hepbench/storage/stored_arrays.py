"""Stored npz arrays; the files are not trusted, so objects and wrong sizes are refused.

Packed results hold the scores of two classes in half the space: the smaller score of each example,
negative where it is the second one, and by how many units in the last place the larger one differs
from 1 minus the smaller one.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import numpy as np
from numpy.lib import format as npy

from hepbench.storage import untrusted_zip

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


Arrays = dict[str, "NDArray[Any]"]


DAMAGED = (*untrusted_zip.DAMAGED, KeyError, MemoryError, TypeError)
"""What reading damaged arrays may raise."""


def load(data: bytes) -> Arrays:
    """Read the arrays of an untrusted npz file by name.

    Raises:
        DAMAGED: it is not an npz file, contains objects, or has wrong sizes.
    """
    with ZipFile(io.BytesIO(data)) as opened:
        members = untrusted_zip.checked_members(opened, len(data))
        arrays = {
            name.removesuffix(".npy"): _read_array(name, untrusted_zip.read_member(opened, member))
            for name, member in members.items()
        }
    return _expanded(arrays)


def save(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Write arrays to a compact npz file; equal arrays give equal bytes."""
    compact: Arrays = {}
    for name in sorted(arrays):
        compact |= _compact(name, arrays[name])
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **compact)
    return file.getvalue()


def _read_array(name: str, data: bytes) -> NDArray[Any]:
    file = io.BytesIO(data)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if (version := npy.read_magic(file)) not in readers:
        msg = f"{name} has npy version {version}; only 1.0 and 2.0 are allowed"
        raise ValueError(msg)
    shape, fortran, dtype = readers[version](file)
    held = len(data) - file.tell()
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != held:
        msg = f"{name} is declared as {dtype} of shape {shape}, but has {held:,} bytes"
        raise ValueError(msg)
    flat = np.frombuffer(data, dtype, math.prod(shape), offset=file.tell())
    return flat.reshape(shape, order="F" if fortran else "C").copy()


SMALLER, UNITS = ".smaller", ".units"


def _compact(name: str, scores: NDArray[Any]) -> Arrays:
    """Convert stored scores of two classes to a compact form; other arrays stay unchanged."""
    whole = {name: scores}
    if scores.dtype != np.float32 or scores.ndim != 2 or scores.shape[1] != 2 or not scores.size:
        return whole
    smaller, larger = scores.min(axis=1), scores.max(axis=1)
    units = larger.view(np.int32).astype(np.int64) - (1 - smaller).view(np.int32)
    signs = np.where(scores[:, 1] < scores[:, 0], np.float32(-1), np.float32(1))
    found = {
        f"{name}{SMALLER}": np.copysign(smaller, signs),
        f"{name}{UNITS}": units.clip(-128, 127).astype(np.int8),
    }
    # NaN, logits and scores of float16 do not come back as they were
    return found if _expanded(found)[name].tobytes() == scores.tobytes() else whole


def _expanded(arrays: Arrays) -> Arrays:
    """Convert stored scores back from their compact form; other arrays stay unchanged."""
    found = {n: a for n, a in arrays.items() if not n.endswith((SMALLER, UNITS))}
    for name in (n.removesuffix(SMALLER) for n in arrays if n.endswith(SMALLER)):
        signed, units = arrays[f"{name}{SMALLER}"], arrays[f"{name}{UNITS}"]
        smaller = np.abs(signed)
        larger = ((1 - smaller).view(np.int32) + units).view(np.float32)
        pairs = np.stack([smaller, larger], axis=1)
        found[name] = np.where(np.signbit(signed)[:, None], pairs[:, ::-1], pairs)
    return found
