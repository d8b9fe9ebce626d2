"""Splits: from example ids, labels and a seed to the rows of each part. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.sparse import SparseImages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from hepbench.specs import Array

PARTS = ("train", "validation", "test")

PAIRS = (
    *(("train", "validation"), ("train", "test"), ("validation", "test")),
    # a method may be given these
    *(("unlabelled", "validation"), ("unlabelled", "test")),
)
"""Parts, and later ones that may hold no copy of their examples."""


def order(ids: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """Return a pseudo-random number for each id: the same whatever other ids there are.

    Source: splitmix64 (Steele, Lea and Flood, OOPSLA 2014), seeded by a hash of the seed.
    """
    start = int.from_bytes(hashlib.sha256(f"split {seed}".encode()).digest()[:8], "big")
    with np.errstate(over="ignore"):
        return _stirred(ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(start))


def _stirred(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def divide(
    labels: NDArray[np.int64],
    ids: NDArray[np.int64],
    *,
    shares: Sequence[float],
    seed: int,
    official: NDArray[np.bool_] | None = None,
) -> dict[str, NDArray[np.int64]]:
    """Return the rows of train, validation and test, stratified by class.

    Args:
        labels: (N,) class of each example; -1 (unknown) is in no part.
        ids: (N,) what the split depends on, so that it does not depend on the order of rows.
        shares: of train, validation and test, adding to 1.
        seed: of the suite.
        official: (N,) True for the rows of an official test set; train and validation divide the
            rest in their proportion.

    Returns:
        For each part its rows in the pseudo-random order of their ids, class by class mixed: the
        first n of them are a stratified choice of n.
    """
    drawn = order(ids, seed)
    train, validation, _ = shares
    if official is not None:
        train, validation = train / (train + validation), 1.0
    else:
        validation += train
    pieces: dict[str, list[NDArray[np.int64]]] = {part: [] for part in PARTS}
    for label in np.flatnonzero(np.bincount(labels[labels >= 0])):
        rows = np.flatnonzero(labels == label)
        rows = rows[np.lexsort((ids[rows], drawn[rows]))]
        if official is not None:
            pieces["test"].append(rows[official[rows]])
            rows = rows[~official[rows]]
        cuts = [round(train * len(rows)), round(validation * len(rows))]
        first, second, rest = np.split(rows, cuts)
        pieces["train"].append(first)
        pieces["validation"].append(second)
        if official is None:
            pieces["test"].append(rest)
    return {part: _mixed(found) for part, found in pieces.items()}


def share(
    labels: NDArray[np.int64], ids: NDArray[np.int64], *, fraction: float, seed: int
) -> NDArray[np.int64]:
    """Return the rows of a stratified share of examples, at least one of each class; with the same
    seed a smaller share is part of a larger one.
    """
    drawn = order(ids, seed)
    chosen = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rows = rows[np.lexsort((ids[rows], drawn[rows]))]
        chosen.append(rows[: max(1, round(fraction * len(rows)))])
    return np.sort(np.concatenate(chosen))


def _mixed(pieces: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Interleave classes evenly, so that any first n rows hold them in proportion."""
    if not pieces:
        return np.empty(0, np.int64)
    rows = np.concatenate(pieces)
    place = np.concatenate([(np.arange(len(p)) + 0.5) / max(len(p), 1) for p in pieces])
    return rows[np.argsort(place, kind="stable")]


def split_hash(ids: Mapping[str, NDArray[np.int64]]) -> str:
    """Return a hash of which ids are in which part, whatever their order."""
    digest = hashlib.sha256()
    for part in PARTS:
        digest.update(part.encode())
        digest.update(np.sort(ids[part]).astype("<i8").tobytes())
    return digest.hexdigest()[:16]


def row_hashes(arrays: Sequence[Array]) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each row of some (N, ...) arrays: equal rows, equal hashes.

    Sparse images are hashed by their hits, so not as the same images are where they are dense.
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
    """Return (N,) sums of a hash of each hit: a value of zero is none."""
    _, positions, values = images.hits()
    hits = positions.astype(np.uint64) << np.uint64(32) | values.view(np.uint32)
    hits = np.where(values == 0, np.uint64(0), _stirred(hits))
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
    """Return a hash of the rows of some (N, ...) arrays, whatever their order."""
    rows = np.sort(row_hashes(columns)).astype("<u8")
    return hashlib.sha256(rows.tobytes()).hexdigest()[:16]


def duplicates(hashes: Mapping[str, NDArray[np.uint64]]) -> dict[str, int]:
    """Return how many rows of one part have an exact copy in an earlier one, where any has."""
    ordered = {part: np.sort(rows) for part, rows in hashes.items()}
    counts = {f"{a}_{b}": _copies(ordered[a], ordered[b]) for a, b in PAIRS if a in ordered}
    return {name: count for name, count in counts.items() if count}


def copies_told(duplicates: Mapping[str, int], sizes: Mapping[str, int]) -> list[str]:
    """Say which examples of one part are exact copies of another part's.

    Args:
        duplicates: what ``duplicates`` returned.
        sizes: how many examples each part has.
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
    """Return how many of the second are among the first; both are sorted."""
    if not len(first):
        return 0
    places = np.searchsorted(first, second)
    return int((first[np.minimum(places, len(first) - 1)] == second).sum())
