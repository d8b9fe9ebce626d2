"""Single features: finds a feature that tells the classes apart all by itself. Pure.

A small tree on one feature separates what a cut separates, and codes too: the number of a simulated
process tells the classes apart, whatever its order is. The tree here has a leaf for each value of a
feature with few values, and for each of 64 equally full bins of any other feature. It is made from one
half of the examples and judged by the other half.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hepbench.specs.sparse_images import SparseImages
from hepbench.storage.records import Leak

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from hepbench.specs.types import Array


SUSPICIOUS, ERRORS = 0.99, 5
"""AUC of one feature from which on it is named, if it is this many errors from one half.

Of thousands of pixels, one tells a few examples apart by chance."""


FEW_VALUES, BINS = 256, 64
"""Most values of a feature that get a leaf each; number of leaves of other features."""


FEW_FEATURES = 200
"""Of inputs with more features, such as pixels, only those that pass a quick test are looked at."""


QUICK_ROWS, QUICK_CHANGES = 64, 0.3
"""Rows of the quick test, and how often the class may change along them, relative to chance."""


def tell_apart(
    inputs: Mapping[str, Array], labels: NDArray[np.int64], classes: Sequence[str]
) -> Iterator[Leak]:
    """Yield the best feature of each input that alone tells a class from the others.

    Args:
        inputs: (N, ...) by name, in random order.
        labels: (N,) class of each example, from 0.
        classes: their names.
    """
    half = len(labels) // 2
    if min(np.bincount(labels[:half], minlength=len(classes)).min(), len(labels) - half) < 2:
        return
    for name, array in inputs.items():
        found = [
            (*_best_class(values, labels, len(classes)), channel, detail)
            for values, channel, detail in _features(array, labels)
        ]
        suspicious = [each for each in found if each[0] >= SUSPICIOUS]
        if suspicious:
            auc, label, channel, detail = max(suspicious, key=lambda each: each[0])
            yield Leak(
                kind="feature",
                where=f"{name}.{channel}",
                detail=detail,
                label=classes[label],
                found=auc,
                count=len(suspicious),
                examined=len(labels),
            )


def _features(
    array: Array, labels: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.generic], int, str]]:
    """Yield (N,) values of each feature of one input, its channel, and which pixel or total it is."""
    shape = array.shape[1:]
    size = int(np.prod(shape))
    positions = np.arange(size) if size <= FEW_FEATURES else _passing(array, labels)
    if len(positions):
        columns = _chosen_columns(array, positions)
        for position, values in zip(positions.tolist(), columns.T, strict=True):
            yield values, *_place(position, shape)
    if len(shape) > 1:
        yield from _totals(array)


def _chosen_columns(array: Array, positions: NDArray[np.int64]) -> NDArray[np.generic]:
    """Return (N, F) values at some places of each example."""
    if not isinstance(array, SparseImages):
        return np.asarray(array).reshape(len(array), -1)[:, positions]
    column = np.full(int(np.prod(array.image)), -1)
    column[positions] = np.arange(len(positions))
    rows, places, values = array.hits()
    chosen = column[places] >= 0
    found = np.zeros((len(array), len(positions)), np.float32)
    found[rows[chosen], column[places[chosen]]] = values[chosen]
    return found


def _passing(array: Array, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places along whose values the class changes rarely, in a few examples."""
    classes = int(labels.max()) + 1
    rows = np.concatenate(
        [np.flatnonzero(labels == i)[: QUICK_ROWS // classes] for i in range(classes)]
    )
    # equal values must not be in the order of classes
    rows.sort()
    values = np.asarray(array[rows]).reshape(len(rows), -1)
    ordered = labels[rows][np.argsort(values, axis=0, kind="stable")]
    changes = (ordered[1:] != ordered[:-1]).sum(0)
    by_chance = (1 - (np.bincount(labels[rows]) ** 2).sum() / len(rows) ** 2) * (len(rows) - 1)
    best = np.argsort(changes, kind="stable")[:FEW_FEATURES]
    return np.sort(best[changes[best] <= QUICK_CHANGES * by_chance])


def _place(position: int, shape: tuple[int, ...]) -> tuple[int, str]:
    """Return the channel at a place of an example, and its pixel or particle in words."""
    if not shape:
        return 0, ""
    places = list(map(int, np.unravel_index(position, shape)))
    if len(shape) >= 3:
        return places[0], f"pixel {tuple(places[1:])}"
    return places[-1], f"particle {places[0]}" if len(shape) == 2 else ""


def _totals(array: Array) -> Iterator[tuple[NDArray[np.generic], int, str]]:
    """Yield the sum, number of hits and largest value of each channel, or feature of particles."""
    totals = _of_hits(array) if isinstance(array, SparseImages) else _of_values(np.asarray(array))
    for name, columns in zip(("sum", "number of hits", "largest value"), totals, strict=True):
        for channel in range(columns.shape[1]):
            yield columns[:, channel], channel, name


def _of_values(array: NDArray[np.generic]) -> tuple[NDArray[np.generic], ...]:
    """Return (N, channels) sums, numbers of values that are not 0, and largest values."""
    others = tuple(range(2, array.ndim)) if array.ndim >= 4 else (1,)
    return array.sum(others, dtype=np.float64), (array != 0).sum(others), array.max(others)


def _of_hits(images: SparseImages) -> tuple[NDArray[np.generic], ...]:
    """Return the same as ``_of_values``, from the hits of sparse images."""
    n, channels = len(images), images.image[0]
    rows, positions, values = images.hits()
    places = rows * channels + positions // (images.image[1] * images.image[2])
    sums = np.bincount(places, values, minlength=n * channels).reshape(n, channels)
    hits = np.bincount(places, minlength=n * channels).reshape(n, channels)
    largest = np.zeros((n, channels), np.float32)
    if len(places):
        # hits of one channel of one image lie side by side
        first = np.flatnonzero(np.diff(places, prepend=-1))
        largest.reshape(-1)[places[first]] = np.maximum.reduceat(values, first)
    return sums, hits, largest


def _best_class(
    values: NDArray[np.generic], labels: NDArray[np.int64], classes: int
) -> tuple[float, int]:
    """Return the largest AUC of a tree on one feature for one class against the others."""
    bins = _leaves(values)
    half = len(labels) // 2
    counts = [
        np.bincount(b * classes + c, minlength=(int(bins.max()) + 1) * classes).reshape(-1, classes)
        for b, c in ((bins[:half], labels[:half]), (bins[half:], labels[half:]))
    ]
    prior = counts[0].sum(0) / half
    rates = (counts[0] + prior) / (counts[0].sum(1, keepdims=True) + 1)
    wanted = range(1, 2) if classes == 2 else range(classes)
    return max((_auc(rates[:, i], counts[1], i), i) for i in wanted)


def _leaves(values: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return the leaf of each value: one for each different value if these are few."""
    ordered = np.sort(values)
    edges = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    if len(edges) > FEW_VALUES:
        edges = ordered[:: -(-len(ordered) // BINS)]
    return np.searchsorted(edges, values, side="right") - 1


def _auc(rates: NDArray[np.float64], counts: NDArray[np.int64], label: int) -> float:
    """Return the AUC of a class against the others, with the rate of each leaf as score.

    An AUC that may be due to chance is one half.
    """
    order = np.argsort(rates, kind="stable")
    inside = counts[order, label].astype(np.float64)
    outside = counts[order].sum(1) - inside
    below = np.cumsum(outside) - outside / 2
    n, m = inside.sum(), outside.sum()
    auc = (inside * below).sum() / (n * m)
    error = np.sqrt((n + m + 1) / (12 * n * m))
    return float(auc) if auc - 0.5 >= ERRORS * error else 0.5
