"""Duplicates: counts examples that are exact copies of others in another part. Pure."""

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
    """Return a 64-bit hash of each example, from its rows in some (N, ...) arrays.

    Sparse images are hashed by their hits, so dense copies of the same images have other hashes.
    """
    total = np.zeros(len(arrays[0]), np.uint64)
    for array in arrays:
        sparse = isinstance(array, SparseImages)
        for column in [_hashes_of_hits(array)] if sparse else _rows_as_integers(array).T:
            with np.errstate(over="ignore"):
                total = (total ^ column) * np.uint64(0x9E3779B97F4A7C15)
                total ^= total >> np.uint64(32)
    return total


def _hashes_of_hits(images: SparseImages) -> NDArray[np.uint64]:
    """Return a sum of the hits' hashes for each sparse image; hits of zero do not count."""
    _, positions, values = images.hits()
    hits = positions.astype(np.uint64) << np.uint64(32) | values.view(np.uint32)
    hits = np.where(values == 0, np.uint64(0), stirred(hits))
    # sums are modulo 2**64
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(hits)])
    ends = np.cumsum(images.ends - images.starts)
    return np.diff(total[ends], prepend=np.uint64(0))


def _rows_as_integers(array: NDArray[Any]) -> NDArray[Any]:
    flat = np.ascontiguousarray(array).reshape(len(array), -1)
    if flat.dtype.kind in "fc":
        # -0 equals 0
        flat = flat + flat.dtype.type(0)
    if flat.dtype.itemsize not in {4, 8}:
        flat = flat.astype(np.float64)
    return flat.view(np.uint32 if flat.dtype.itemsize == 4 else np.uint64)


def contents(columns: Sequence[NDArray[Any]]) -> str:
    """Return one hash of all examples in some (N, ...) arrays; their order does not matter."""
    rows = np.sort(row_hashes(columns)).astype("<u8")
    return hashlib.sha256(rows.tobytes()).hexdigest()[:16]


def duplicates(hashes: Mapping[str, NDArray[np.uint64]]) -> dict[str, int]:
    """Return how many examples of a part are exact copies from an earlier part, if any."""
    ordered = {part: np.sort(rows) for part, rows in hashes.items()}
    counts = {f"{a}_{b}": _count_common(ordered[a], ordered[b]) for a, b in PAIRS if a in ordered}
    return {name: count for name, count in counts.items() if count}


def describe_copies(duplicates: Mapping[str, int], sizes: Mapping[str, int]) -> list[str]:
    """Return a warning for each pair of parts (train, test) with exact copies of examples.

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


def _count_common(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> int:
    """Return how many values of a sorted array are also in another sorted array."""
    if not len(first):
        return 0
    places = np.searchsorted(first, second)
    return int((first[np.minimum(places, len(first) - 1)] == second).sum())
