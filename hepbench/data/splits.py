"""Splits: choose the examples of each part from ids, labels and a seed. Pure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


PARTS = ("train", "validation", "test")


def order(ids: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """Return a pseudo-random number for each example id, independent of other ids.

    Source: splitmix64 (Steele, Lea and Flood, OOPSLA 2014), seeded by a hash of the seed.
    """
    start = int.from_bytes(hashlib.sha256(f"split {seed}".encode()).digest()[:8], "big")
    with np.errstate(over="ignore"):
        return stirred(ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(start))


def stirred(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def divide(
    labels: NDArray[np.int64],
    ids: NDArray[np.int64],
    *,
    fractions: Sequence[float],
    seed: int,
    official: NDArray[np.int8] | None = None,
) -> dict[str, NDArray[np.int64]]:
    """Split examples into train, validation and test rows, stratified by class.

    Args:
        labels: (N,) class of each example; -1 (unknown) is in no part.
        ids: (N,) id of each example; the split depends on ids, not on the order of rows.
        fractions: of train, validation and test, adding to 1.
        seed: of the suite.
        official: (N,) 1 for the rows of an official test set, -1 for rows that are in no part;
            train and validation divide the remaining rows in their proportion.

    Returns:
        The rows of each part in the pseudo-random order of their ids, classes evenly mixed: the
        first n rows are a stratified choice of n.
    """
    drawn = order(ids, seed)
    train, validation, _ = fractions
    if official is not None:
        train, validation = train / (train + validation), 1.0
    else:
        validation += train
    pieces: dict[str, list[NDArray[np.int64]]] = {part: [] for part in PARTS}
    for label, mine in _rows_by_class(labels, ids, drawn).items():
        if label < 0:
            continue
        rows = mine if official is None else mine[official[mine] == 0]
        cuts = [round(train * len(rows)), round(validation * len(rows))]
        first, second, rest = np.split(rows, cuts)
        pieces["train"].append(first)
        pieces["validation"].append(second)
        pieces["test"].append(rest if official is None else mine[official[mine] == 1])
    return {part: _interleave_classes(found) for part, found in pieces.items()}


def stratified(
    labels: NDArray[np.int64], ids: NDArray[np.int64], *, fraction: float, seed: int
) -> NDArray[np.int64]:
    """Choose a stratified fraction of examples, at least one example of each class.

    With the same seed, a smaller fraction is part of a larger one.
    """
    found = _rows_by_class(labels, ids, order(ids, seed)).values()
    return np.sort(np.concatenate([r[: max(1, round(fraction * len(r)))] for r in found]))


def subset(
    labels: NDArray[np.int64], ids: NDArray[np.int64], *, size: int, seed: int
) -> NDArray[np.int64]:
    """Choose ``size`` examples, classes in proportion, at least one of each if there is room.

    With the same seed, a smaller subset is part of a larger one.
    """
    pieces = list(_rows_by_class(labels, ids, order(ids, seed)).values())
    # the first example of each class has place 0
    places = np.concatenate([np.arange(len(piece)) / len(piece) for piece in pieces])
    return np.sort(np.concatenate(pieces)[np.argsort(places, kind="stable")[:size]])


def _rows_by_class(
    labels: NDArray[np.int64], ids: NDArray[np.int64], drawn: NDArray[np.uint64]
) -> dict[int, NDArray[np.int64]]:
    """Return the rows of each label in the pseudo-random order of their ids."""
    found = {}
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        found[int(label)] = rows[np.lexsort((ids[rows], drawn[rows]))]
    return found


def _interleave_classes(pieces: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Mix the rows of classes evenly, so that the first n rows contain all in proportion."""
    if not pieces:
        return np.empty(0, np.int64)
    rows = np.concatenate(pieces)
    places = np.concatenate([(np.arange(len(p)) + 0.5) / max(len(p), 1) for p in pieces])
    return rows[np.argsort(places, kind="stable")]


def split_hash(ids: Mapping[str, NDArray[np.int64]]) -> str:
    """Return a hash of the example ids in each part; their order does not matter."""
    digest = hashlib.sha256()
    for part in PARTS:
        digest.update(part.encode())
        digest.update(np.sort(ids[part]).astype("<i8").tobytes())
    return digest.hexdigest()[:16]


KEPT_TRAIN_SCORES = 100_000
"""Largest number of training examples whose scores are kept; they are chosen by id."""


def kept_train_rows(ids: NDArray[np.int64]) -> NDArray[np.int64] | slice:
    """Choose at most 100,000 training examples whose scores are stored, as rows."""
    if len(ids) <= KEPT_TRAIN_SCORES:
        return slice(None)
    return np.sort(np.argsort(order(ids, 0), kind="stable")[:KEPT_TRAIN_SCORES])
