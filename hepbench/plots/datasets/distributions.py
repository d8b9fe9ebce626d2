"""Distributions of a dataset by class: pixel values, hits, features, particles and their sums.

Heights are means over examples, so that many hits of one example count as one observation of it:
their errors are those of a mean, not of a count.
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
    from hepbench.plots.datasets.labelled import Chunk, Labelled
    from hepbench.specs.types import Array


SEEN = 5000
"""Examples that the bins are chosen by; all are counted, the first and last bin hold the rest."""


MOMENTA = ("px", "py", "pz", "energy")


class Values(NamedTuple):
    """What there is of one quantity: values (K,), and which example each is of; None: one of each."""

    values: Array
    rows: Array | None = None


@dataclass(frozen=True)
class Kind:
    """A kind of distributions.

    Attributes:
        needs: inputs of which one must be there, or none where spectators will do.
        takes: those that are read, where they are there.
        values: from some examples to the name and the values of each quantity.
        note: what is drawn, in words.
        of: what is counted where an example has many.
        log: values may be of many sizes.
    """

    needs: tuple[str, ...]
    takes: tuple[str, ...]
    values: Callable[[Labelled, Chunk], Iterator[tuple[str, Values]]]
    note: str
    of: str = ""
    log: bool = False


@dataclass(frozen=True)
class Distribution:
    """How one quantity is distributed in each class.

    Attributes:
        name: with its unit.
        bins: the first and the last also hold what lies beyond.
        heights: (classes, bins), mean number of values of an example; NaN of a class without any.
        errors: theirs, from how examples differ.
        once: an example has one value.
    """

    name: str
    bins: Bins
    heights: Array
    errors: Array
    once: bool

    @property
    def widths(self) -> Array:
        """Of the bins."""
        return np.diff(self.bins.edges)


def pixels(shown: Labelled, chunk: Chunk) -> Iterator[tuple[str, Values]]:
    """Yield the pixels of each channel that are not 0."""
    for name, values, rows in _hits(shown, chunk):
        yield name, Values(values, rows)


def hits(shown: Labelled, chunk: Chunk) -> Iterator[tuple[str, Values]]:
    """Yield how many pixels of each channel are not 0."""
    for name, _, rows in _hits(shown, chunk):
        counts = np.bincount(rows, minlength=len(chunk.labels))
        yield f"pixels of {name.partition(' [')[0]}", Values(counts)


def _hits(shown: Labelled, chunk: Chunk) -> Iterator[tuple[str, Array, Array]]:
    """Yield the values of each channel that are not 0, and which example each is of."""
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


def features(shown: Labelled, chunk: Chunk) -> Iterator[tuple[str, Values]]:
    """Yield each feature of tables and scalars, and each spectator of another name."""
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


def particles(shown: Labelled, chunk: Chunk) -> Iterator[tuple[str, Values]]:
    """Yield how many particles there are; of momenta their pt, and pt and mass of their sum; of
    other features each.
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
    px, py, pz, energy = (np.where(real, cloud[:, :, i], 0).astype(np.float64) for i in columns)
    unit = names[columns[0]].partition(" [")[2]
    unit = f" [{unit}" if unit else ""
    yield f"particle pt{unit}", Values(np.hypot(px, py)[rows, places], rows)
    x, y, z, e = (component.sum(axis=1) for component in (px, py, pz, energy))
    yield f"jet pt{unit}", Values(np.hypot(x, y))
    yield f"jet mass{unit}", Values(np.sqrt(np.maximum(e**2 - x**2 - y**2 - z**2, 0)))


def _momenta(names: Sequence[str]) -> list[int] | None:
    """Return the places of px, py, pz and energy, if they are there."""
    bare = [name.partition(" [")[0].lower().removeprefix("part_") for name in names]
    bare = ["energy" if name == "e" else name for name in bare]
    return [bare.index(name) for name in MOMENTA] if set(MOMENTA) <= set(bare) else None


SHARES = "shares of the examples of a class, with their statistical errors"


KINDS = {
    "spectra": Kind(
        ("image",),
        ("image",),
        pixels,
        "values of pixels that are not 0: how many of them an example has, mean over the examples of "
        "a class with its statistical error",
        of="pixels",
        log=True,
    ),
    "occupancy": Kind(("image",), ("image",), hits, f"numbers of pixels that are not 0: {SHARES}"),
    "features": Kind(("table", "scalars"), ("table", "scalars"), features, SHARES),
    "particles": Kind(
        ("cloud",),
        ("cloud", "mask"),
        particles,
        f"{SHARES}; of particles how many of them an example has, mean with its statistical error",
        of="particles",
        log=True,
    ),
}


def why_not(shown: Labelled, kind: str) -> str:
    """Return why a kind of distributions cannot be drawn of a dataset, or nothing."""
    needs = KINDS[kind].needs
    if _taken(shown, kind) or (kind == "features" and shown.spectators):
        return ""
    return f"{shown.spec.name} has no {' and no '.join(needs)}"


def _taken(shown: Labelled, kind: str) -> list[str]:
    found = [name for name in KINDS[kind].takes if name in shown.inputs]
    return found if set(found) & set(KINDS[kind].needs) else []


def chosen(several: Sequence[Labelled], kind: str) -> dict[str, Bins]:
    """Return bins for each quantity that all of several have, from some examples of each."""
    found: list[dict[str, Array]] = []
    for shown in several:
        chunk = shown.some(SEEN, *_taken(shown, kind))
        found.append({name: each.values for name, each in KINDS[kind].values(shown, chunk)})
    names = [name for name in found[0] if all(name in each for each in found)]
    where = {}
    for name in names:
        values = [each[name] for each in found]
        # what is empty, as a channel that a file lacks, has no say
        n = binning.number(min((len(each) for each in values if len(each)), default=0))
        where[name] = binning.bins(np.concatenate(values), log=KINDS[kind].log, n=n)
    return where


def count(shown: Labelled, kind: str, where: dict[str, Bins]) -> list[Distribution]:
    """Return the distribution of each quantity over all examples, chunk by chunk."""
    sums = {name: _Sums(len(shown.spec.classes), each) for name, each in where.items()}
    for chunk in shown.chunks(*_taken(shown, kind)):
        for name, values in KINDS[kind].values(shown, chunk):
            if name in sums:
                sums[name].add(chunk.labels, chunk.weights, values)
    return [each.distribution(name) for name, each in sums.items()]


class _Sums:
    """Weighted sums over examples of how many values n they have in each bin.

    The error of their weighted mean m is the root of the sum of w^2 (n - m)^2, over the sum of w.
    """

    def __init__(self, classes: int, where: Bins) -> None:
        self.bins = where
        self.once = True
        size = len(where.edges) - 1
        self.weights, self.squares = np.zeros((2, classes, 1))
        # of w n, w^2 n and w^2 n^2
        self.first, self.mixed, self.second = np.zeros((3, classes, size))

    def add(self, labels: Array, weights: Array, values: Values) -> None:
        """Add the values of some examples."""
        classes, size = self.first.shape
        place = self.bins.places(values.values)
        self.weights[:, 0] += np.bincount(labels, weights, classes)
        self.squares[:, 0] += np.bincount(labels, weights**2, classes)
        if values.rows is None:
            cell = labels * size + place
            once, twice = (
                np.bincount(cell, weights**power, classes * size).reshape(classes, size)
                for power in (1, 2)
            )
            self.first += once
            self.mixed += twice
            self.second += twice
            return
        self.once = False
        n = len(labels)
        numbers = np.bincount(values.rows * size + place, minlength=n * size).reshape(n, size)
        for label in range(classes):
            mine = labels == label
            some, w = numbers[mine].astype(np.float64), weights[mine]
            self.first[label] += w @ some
            self.mixed[label] += w**2 @ some
            self.second[label] += w**2 @ some**2

    def distribution(self, name: str) -> Distribution:
        """Return means and their errors."""
        with np.errstate(invalid="ignore"):
            mean = self.first / self.weights
            squares = self.second - 2 * mean * self.mixed + mean**2 * self.squares
            errors = np.sqrt(np.maximum(squares, 0)) / self.weights
        return Distribution(name, self.bins, mean, errors, self.once)


def ratio(one: Distribution, other: Distribution) -> tuple[Array, Array]:
    """Return heights over other heights, (classes, bins), and errors; NaN where one is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(
            (one.heights > 0) & (other.heights > 0), one.heights / other.heights, np.nan
        )
        shares = np.hypot(one.errors / one.heights, other.errors / other.heights)
    return found, found * shares
