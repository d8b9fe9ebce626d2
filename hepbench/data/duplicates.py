"""Duplicates: hashes of examples, and how many are exact copies across parts. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.data.splits import stirred
from hepbench.specs.sparse_images import SparseImages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from hepbench.specs.types import Array


PAIRS = (
    *(("train", "validation"), ("train", "test"), ("validation", "test")),
    # a method may train on unlabelled examples
    *(("unlabelled", "validation"), ("unlabelled", "test")),
)
"""Pairs of parts; the second must not contain copies of examples of the first."""


def row_hashes(arrays: Sequence[Array]) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each row of some (N, ...) arrays: equal rows, equal hashes.

    Sparse images are hashed by their hits, so dense copies of the same images have other hashes.
    """
    total = np.zeros(len(arrays[0]), np.uint64)
    for array in arrays:
        sparse = isinstance(array, SparseImages)
        for column in [_hit_words(array)] if sparse else _words(array).T:
            with np.errstate(over="ignore"):
                total = (total ^ column) * np.uint64(0x9E3779B97F4A7C15)
                total ^= total >> np.uint64(32)
    return total


def _hit_words(images: SparseImages) -> NDArray[np.uint64]:
    """Return (N,) sums of the hashes of hits; hits of value zero do not count."""
    _, positions, values = images.hits()
    hits = positions.astype(np.uint64) << np.uint64(32) | values.view(np.uint32)
    hits = np.where(values == 0, np.uint64(0), stirred(hits))
    # sums are modulo 2**64
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(hits)])
    ends = np.cumsum(images.ends - images.starts)
    return np.diff(total[ends], prepend=np.uint64(0))


def _words(array: NDArray[Any]) -> NDArray[Any]:
    flat = np.ascontiguousarray(array).reshape(len(array), -1)
    if flat.dtype.kind in "fc":
        # -0 equals 0
        flat = flat + flat.dtype.type(0)
    if flat.dtype.itemsize not in {4, 8}:
        flat = flat.astype(np.float64)
    return flat.view(np.uint32 if flat.dtype.itemsize == 4 else np.uint64)


def contents(columns: Sequence[NDArray[Any]]) -> str:
    """Return a hash of the rows of some (N, ...) arrays; their order does not matter."""
    rows = np.sort(row_hashes(columns)).astype("<u8")
    return hashlib.sha256(rows.tobytes()).hexdigest()[:16]


def duplicates(hashes: Mapping[str, NDArray[np.uint64]]) -> dict[str, int]:
    """Return the number of rows of one part with an exact copy in an earlier part, if not zero."""
    ordered = {part: np.sort(rows) for part, rows in hashes.items()}
    counts = {f"{a}_{b}": _copies(ordered[a], ordered[b]) for a, b in PAIRS if a in ordered}
    return {name: count for name, count in counts.items() if count}


def describe_copies(duplicates: Mapping[str, int], sizes: Mapping[str, int]) -> list[str]:
    """Return a line for each pair of parts with exact copies.

    Args:
        duplicates: result of ``duplicates``.
        sizes: number of examples of each part.
    """
    found = []
    for pair, count in duplicates.items():
        first, second = pair.split("_")
        found.append(
            f"duplicates: {count} of {sizes[second]} {second} examples ({count / sizes[second]:.1%}) "
            f"are exact copies of {first} examples"
        )
    return found


def _copies(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> int:
    """Return how many values of the second array are in the first; both are sorted."""
    if not len(first):
        return 0
    places = np.searchsorted(first, second)
    return int((first[np.minimum(places, len(first) - 1)] == second).sum())
