"""Precision: finds a class whose values were rounded otherwise than those of the other classes. Pure.

Two programs that wrote two classes leave a mark that no eye sees: values that are exact in float16, or
that have three decimals. Values are compared within each power of two, because a number of steps, such
as a digitised energy, needs more digits the larger it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.specs.sparse_images import SparseImages
from hepbench.storage.records import Leak

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from hepbench.specs.types import Array


SUSPICIOUS, ERRORS = 0.1, 5
"""Difference of the fractions of two classes from which on it is named, and that in standard errors."""


MOST_VALUES = 40_000
"""Values of one feature that are looked at."""


MANY, FREQUENT = 3, 0.01
"""So many of the most frequent values are left out, if they are this frequent: paddings, limits of
a range, codes."""


NARROW_DIGITS, WIDE_DIGITS = (2, 3, 4, 5, 6, 7), (2, 3, 4, 5, 6, 7, 9, 12)
"""Numbers of significant digits that are tried, for float32 and float64."""


FEWEST = 30
"""Values of a class that a power of two must hold to be compared."""


def differences(
    inputs: Mapping[str, Array], labels: NDArray[np.int64], classes: Sequence[str]
) -> Iterator[Leak]:
    """Yield the feature of each input whose precision differs most between classes, if any does.

    Args:
        inputs: (N, ...) by name.
        labels: (N,) class of each example, from 0.
        classes: their names.
    """
    for name, array in inputs.items():
        found = []
        channels = list(_channels(array)) if array.dtype.kind == "f" else []
        for channel, (values, rows) in enumerate(channels):
            kinds = labels[rows]
            wanted = range(1, 2) if len(classes) == 2 else range(len(classes))
            tests = (
                (*_compared(exact, values, kinds == i), i, what)
                for what, exact in _properties(values)
                for i in wanted
            )
            best = max(tests, key=lambda each: abs(each[0]), default=None)
            if best and best[0]:
                found.append((channel, *best))
        if found:
            channel, _, mine, others, label, what = max(found, key=lambda each: abs(each[1]))
            if len(classes) == 2 and mine < others:
                mine, others, label = others, mine, 0
            yield Leak(
                kind="precision",
                where=f"{name}.{channel}",
                detail=what,
                label=classes[label],
                found=mine,
                other=others,
                count=len(found),
                examined=len(channels),
            )


def _channels(array: Array) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
    """Yield values of each channel or feature that are not 0, and the example of each value."""
    shape = array.shape[1:]
    if isinstance(array, SparseImages):
        rows, positions, values = array.hits()
        channels = positions // (shape[1] * shape[2])
        for channel in range(shape[0]):
            chosen = np.flatnonzero(channels == channel)
            yield _without_frequent(values, rows, chosen)
        return
    moved = np.moveaxis(np.asarray(array), 1 if len(shape) >= 3 else -1, 0)
    moved = moved.reshape(1, -1) if not shape else moved
    for values in moved:
        per_example = values.size // len(array)
        flat = values.reshape(-1)
        yield _without_frequent(
            flat, np.repeat(np.arange(len(array)), per_example), np.flatnonzero(flat)
        )


def _without_frequent(
    values: NDArray[Any], rows: NDArray[np.int64], chosen: NDArray[np.int64]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return some of the chosen values and their rows, without values that are very frequent."""
    chosen = chosen[:: -(-len(chosen) // MOST_VALUES) or 1]
    some = values[chosen]
    distinct, counts = np.unique(some, return_counts=True)
    frequent = distinct[np.argsort(counts)[-MANY:]]
    frequent = frequent[np.isin(frequent, distinct[counts >= FREQUENT * len(some)])]
    ends = distinct[[0, -1]] if len(distinct) else distinct
    kept = ~np.isin(some, np.concatenate([frequent, ends]))
    return some[kept], rows[chosen[kept]]


def _properties(values: NDArray[Any]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield kinds of precision in words, each with True for the values that it holds exactly."""
    if values.dtype.itemsize > 4:
        yield "exact in float32", values.astype(np.float32).astype(values.dtype) == values
    if values.dtype.itemsize > 2:
        bits = np.frexp(values)[0]
        for name, digits in (("bfloat16", 8), ("float16", 11)):
            whole = np.ldexp(bits, digits)
            yield f"exact in {name}", whole == np.rint(whole)
    wide = values.astype(np.float64)
    first_digit = np.floor(np.log10(np.abs(wide)))
    for digits in NARROW_DIGITS if values.dtype.itemsize <= 4 else WIDE_DIGITS:
        # the scale of numbers below 1e-300 is not finite, and they equal nothing
        with np.errstate(over="ignore", invalid="ignore"):
            scale = 10.0 ** (digits - 1 - first_digit)
            rounded = (np.rint(wide * scale) / scale).astype(values.dtype)
        yield f"written with at most {digits} digits", rounded == values


def _compared(
    exact: NDArray[np.bool_], values: NDArray[Any], mine: NDArray[np.bool_]
) -> tuple[float, float, float]:
    """Return the difference of two classes' fractions of exact values if it is suspicious, and both.

    The fractions are means over powers of two, each weighted by the number of values in the smaller class.
    """
    powers = np.frexp(values)[1]
    powers = powers - powers.min() if len(powers) else powers
    n, k = (
        np.stack([np.bincount(powers[side], given[side], minlength=int(powers.max(initial=0)) + 1)
                  for side in (mine, ~mine)])
        for given in (np.ones(len(values)), exact.astype(float))
    )  # fmt: skip
    weights = np.where(n.min(0) >= FEWEST, n.min(0), 0)
    if not weights.any():
        return 0.0, 0.0, 0.0
    inside, outside = (weights @ (k / np.maximum(n, 1)).T) / weights.sum()
    error = np.sqrt(0.5 / weights.sum())
    found = inside - outside
    suspicious = abs(found) >= max(SUSPICIOUS, ERRORS * error)
    return float(found if suspicious else 0), float(inside), float(outside)
