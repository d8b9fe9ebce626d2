"""Compute distributions of a dataset by class: pixels, hits, features, particles and sums.

Heights are means over examples and their errors are errors of a mean: many hits of one example
are one observation, not many.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hepbench.plots.datasets import binning
from hepbench.specs.sparse_images import SparseImages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hepbench.plots.datasets.binning import Bins
    from hepbench.plots.datasets.labelled_examples import Chunk, LabelledExamples
    from hepbench.specs.types import Array


SAMPLED = 5000
"""Number of examples from which bins are chosen; all examples are counted in these bins."""


MOMENTA = ("px", "py", "pz", "energy")


class Values(NamedTuple):
    """Values (K,) of one quantity, and the index of the example that each value belongs to."""

    values: Array
    rows: Array | None = None


@dataclass(frozen=True)
class Kind:
    """A kind of figure of distributions, such as spectra or features.

    Attributes:
        needs: the dataset must have one of these inputs.
        takes: inputs that are read if the dataset has them.
        values: yields name and values of each quantity for some examples.
        note: explains the heights below the figure.
        of: what is counted if an example has several values.
        log: values may span orders of magnitude.
    """

    needs: tuple[str, ...]
    takes: tuple[str, ...]
    values: Callable[[LabelledExamples, Chunk], Iterator[tuple[str, Values]]]
    note: str
    of: str = ""
    log: bool = False


@dataclass(frozen=True)
class Distribution:
    """The distribution of one quantity in each class.

    Attributes:
        name: the quantity with its unit.
        bins: the first and the last also hold values beyond them.
        heights: (classes, bins), mean number of values per example; NaN for a class without
            examples.
        errors: (classes, bins), standard errors of these means.
        once: each example has exactly one value.
    """

    name: str
    bins: Bins
    heights: Array
    errors: Array
    once: bool

    @property
    def widths(self) -> Array:
        """Widths of the distribution's bins."""
        return np.diff(self.bins.edges)


def pixels(shown: LabelledExamples, chunk: Chunk) -> Iterator[tuple[str, Values]]:
    """Yield the non-zero pixel values of each image channel."""
    for name, values, rows in _hits(shown, chunk):
        yield name, Values(values, rows)


def hits(shown: LabelledExamples, chunk: Chunk) -> Iterator[tuple[str, Values]]:
    """Yield the number of non-zero pixels in each image channel."""
    for name, _, rows in _hits(shown, chunk):
        counts = np.bincount(rows, minlength=len(chunk.labels))
        yield f"pixels of {name.partition(' [')[0]}", Values(counts)


def _hits(shown: LabelledExamples, chunk: Chunk) -> Iterator[tuple[str, Array, Array]]:
    """Yield name, non-zero pixel values and their examples for each image channel."""
    images = chunk.inputs["image"]
    names = shown.names("image", images.shape[1])
    if isinstance(images, SparseImages):
        rows, positions, values = images.hits()
        channel = positions // (images.shape[2] * images.shape[3])
        for i, name in enumerate(names):
            mine = channel == i
            yield name, values[mine], rows[mine]
        return
    for i, name in enumerate(names):
        rows, *_ = found = np.nonzero(images[:, i])
        yield name, images[:, i][found], rows


def features(shown: LabelledExamples, chunk: Chunk) -> Iterator[tuple[str, Values]]:
    """Yield the values of each feature and of each spectator of some examples."""
    found: dict[str, Array] = {}
    for name in ("table", "scalars"):
        if name in chunk.inputs:
            columns = np.asarray(chunk.inputs[name])
            found |= dict(zip(shown.names(name, columns.shape[1]), columns.T, strict=True))
    bare = {name.partition(" [")[0] for name in found}
    for name, column in chunk.spectators.items():
        if name.removeprefix("spectator.") not in bare:
            found[shown.spectator_name(name)] = column
    yield from ((name, Values(column)) for name, column in found.items())


def particles(shown: LabelledExamples, chunk: Chunk) -> Iterator[tuple[str, Values]]:
    """Yield the number of particles in each example, and the values of their features.

    If the features are momenta, yield the particles' pt and the jet's pt and mass instead.
    """
    cloud = np.asarray(chunk.inputs["cloud"])
    mask = chunk.inputs.get("mask")
    real = np.ones(cloud.shape[:2], bool) if mask is None else np.asarray(mask)
    names = shown.names("cloud", cloud.shape[2])
    yield "particles", Values(real.sum(axis=1))
    rows, places = np.nonzero(real)
    if (columns := _momenta(names)) is None:
        for i, name in enumerate(names):
            yield name, Values(cloud[rows, places, i], rows)
        return
    yield from _kinematics(cloud, real, names, columns)


def _kinematics(
    cloud: Array, real: Array, names: Sequence[str], columns: Sequence[int]
) -> Iterator[tuple[str, Values]]:
    """Yield pt of the particles of some examples, and pt and mass of their sum."""
    rows, places = np.nonzero(real)
    px, py, pz, energy = (np.where(real, cloud[:, :, i], 0).astype(np.float64) for i in columns)
    unit = names[columns[0]].partition(" [")[2]
    unit = f" [{unit}" if unit else ""
    yield f"particle pt{unit}", Values(np.hypot(px, py)[rows, places], rows)
    x, y, z, e = (component.sum(axis=1) for component in (px, py, pz, energy))
    yield f"jet pt{unit}", Values(np.hypot(x, y))
    yield f"jet mass{unit}", Values(np.sqrt(np.maximum(e**2 - x**2 - y**2 - z**2, 0)))


def _momenta(names: Sequence[str]) -> list[int] | None:
    """Return the column indices of px, py, pz and energy, or None if one is missing."""
    bare = [name.partition(" [")[0].lower().removeprefix("part_") for name in names]
    bare = ["energy" if name == "e" else name for name in bare]
    return [bare.index(name) for name in MOMENTA] if set(MOMENTA) <= set(bare) else None


FRACTIONS = "fractions of the examples of a class, with statistical errors"


KINDS = {
    "spectra": Kind(
        ("image",),
        ("image",),
        pixels,
        "non-zero pixel values: number per example, mean over the examples of a class with "
        "statistical error",
        of="pixels",
        log=True,
    ),
    "occupancy": Kind(("image",), ("image",), hits, f"numbers of non-zero pixels: {FRACTIONS}"),
    "features": Kind(("table", "scalars"), ("table", "scalars"), features, FRACTIONS),
    "particles": Kind(
        ("cloud",),
        ("cloud", "mask"),
        particles,
        f"{FRACTIONS}; for particles: number per example, mean with statistical error",
        of="particles",
        log=True,
    ),
}


def why_not(shown: LabelledExamples, kind: str) -> str:
    """Return why a kind of distributions cannot be drawn for a dataset, or ""."""
    needs = KINDS[kind].needs
    if _inputs_to_read(shown, kind) or (kind == "features" and shown.spectators):
        return ""
    return f"{shown.spec.name} has no {' and no '.join(needs)}"


def _inputs_to_read(shown: LabelledExamples, kind: str) -> list[str]:
    found = [name for name in KINDS[kind].takes if name in shown.inputs]
    return found if set(found) & set(KINDS[kind].needs) else []


def chosen(several: Sequence[LabelledExamples], kind: str) -> dict[str, Bins]:
    """Choose histogram bins for each quantity that all datasets have, from some examples."""
    found: list[dict[str, Array]] = []
    for shown in several:
        chunk = shown.some(SAMPLED, *_inputs_to_read(shown, kind))
        found.append({name: each.values for name, each in KINDS[kind].values(shown, chunk)})
    names = [name for name in found[0] if all(name in each for each in found)]
    where = {}
    for name in names:
        values = [each[name] for each in found]
        # quantities without values are left out: a file may lack a channel
        n = binning.suitable_number(min((len(each) for each in values if len(each)), default=0))
        where[name] = binning.bins(np.concatenate(values), log=KINDS[kind].log, n=n)
    return where


def count(shown: LabelledExamples, kind: str, where: dict[str, Bins]) -> list[Distribution]:
    """Return the distribution of each quantity over all examples of a dataset."""
    sums = {name: _Sums(len(shown.spec.classes), each) for name, each in where.items()}
    for chunk in shown.chunks(*_inputs_to_read(shown, kind)):
        for name, values in KINDS[kind].values(shown, chunk):
            if name in sums:
                sums[name].add(chunk.labels, chunk.weights, values)
    return [each.distribution(name) for name, each in sums.items()]


class _Sums:
    """Sums over examples from which the mean number of values in each bin is computed.

    With n values of an example in a bin, the weighted mean m has the error
    sqrt(sum of w^2 (n - m)^2) / (sum of w).
    """

    def __init__(self, classes: int, where: Bins) -> None:
        self.bins = where
        self.once = True
        size = len(where.edges) - 1
        self.weights, self.squares = np.zeros((2, classes, 1))
        # sums of w n, w^2 n and w^2 n^2
        self.first, self.mixed, self.second = np.zeros((3, classes, size))

    def add(self, labels: Array, weights: Array, values: Values) -> None:
        """Add the values of some examples to the histogram of their class."""
        classes = len(self.first)
        places = self.bins.places(values.values)
        self.weights[:, 0] += np.bincount(labels, weights, classes)
        self.squares[:, 0] += np.bincount(labels, weights**2, classes)
        if values.rows is None:
            self._add_single(labels, weights, places)
        else:
            self.once = False
            self._add_several(labels, weights, places, values.rows)

    def _add_single(self, labels: Array, weights: Array, places: Array) -> None:
        """Add one value of each example to the histogram of its class."""
        classes, size = self.first.shape
        cell = labels * size + places
        linear, squared = (
            np.bincount(cell, weights**power, classes * size).reshape(classes, size)
            for power in (1, 2)
        )
        self.first += linear
        self.mixed += squared
        self.second += squared

    def _add_several(self, labels: Array, weights: Array, places: Array, rows: Array) -> None:
        """Add any number of values of each example; ``rows`` holds the example of each value."""
        classes, size = self.first.shape
        n = len(labels)
        numbers = np.bincount(rows * size + places, minlength=n * size).reshape(n, size)
        for label in range(classes):
            mine = labels == label
            some, w = numbers[mine].astype(np.float64), weights[mine]
            self.first[label] += w @ some
            self.mixed[label] += w**2 @ some
            self.second[label] += w**2 @ some**2

    def distribution(self, name: str) -> Distribution:
        """Return the mean numbers of values in each bin, with their errors."""
        with np.errstate(invalid="ignore"):
            mean = self.first / self.weights
            squares = self.second - 2 * mean * self.mixed + mean**2 * self.squares
            errors = np.sqrt(np.maximum(squares, 0)) / self.weights
        return Distribution(name, self.bins, mean, errors, self.once)


def ratio(one: Distribution, other: Distribution) -> tuple[Array, Array]:
    """Return the ratio of two distributions and its error; NaN where either one is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(
            (one.heights > 0) & (other.heights > 0), one.heights / other.heights, np.nan
        )
        relative = np.hypot(one.errors / one.heights, other.errors / other.heights)
    return found, found * relative
