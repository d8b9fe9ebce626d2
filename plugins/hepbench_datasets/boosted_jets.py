"""Read boosted jets: images of 8 detector layers, of top quarks or light quarks and gluons.

Files of CMS Open Data simulation, as in Andrews et al., arXiv:2104.14659: ``jet`` (N, 125, 125, 8)
float32, channels last, contiguous and uncompressed, and in the labelled file ``Y`` (N, 1) float32.
The longer version of the labelled file also has ``m`` and ``pT`` (N, 1), in GeV. 10,000 labelled
jets take 5.0 GB, 60,000 unlabelled jets 30 GB.

No publication states the order of the channels, that rows run along eta and columns along phi, or
that ``Y`` is 1 for top quarks: all three are inferred. While reading, one consequence is checked:
only d0 and dz may be negative. If a file has another order of channels, set the parameter
``order``. Values are used as stored, in unknown units.
"""

from __future__ import annotations

import warnings
from collections import Counter
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench import DataError, DataWarning, Examples, SparseImages, original_files
from hepbench_datasets import BOOSTED_JETS, boosted_jets_compact
from hepbench_datasets.hdf5 import HDF5

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hepbench import Array, Role

CHANNELS = BOOSTED_JETS.inputs["image"].names
SIGNED = ("track_d0", "track_dz")

SIDE = 125
JET = (SIDE, SIDE, len(CHANNELS))
NOISE = 0.01
"""Largest fraction of negative hits that noise explains; with more, layers are exchanged."""
CHUNK = 100
"""Number of jets in 50 MB."""
FIRST_UNLABELLED = 1_000_000_000
"""First id of the unlabelled jets, so that no two jets have the same id."""


def read(folder: Path, *, order: Sequence[str]) -> Iterator[tuple[Role, Examples]]:
    """Yield the boosted jets of the original files, 100 at a time, first those with labels.

    Args:
        folder: holds the labelled file under either of its names, and optionally the unlabelled
            file.
        order: the channels of the file, in the order of the file.

    Yields:
        (role, Examples): ``image`` N of (8, 125, 125), sparse, in the order of the spec; labels
        (N,) int64; spectators ``m`` and ``pT`` (N,) float32 if the file has them; ids are the
        positions in the file, starting at 0 or at ``FIRST_UNLABELLED``.

    Raises:
        DataError: there is no labelled file, a file is damaged or has another layout, a value is
            not finite, more than 1 % of the hits of a channel other than d0 and dz are negative, or
            a class has no jet.

    Warns:
        DataWarning: a few values of a channel other than d0 and dz are negative; they are used as
            stored.
    """
    channels = _channels(order)
    paths = original_files(BOOSTED_JETS, Path(folder))
    labelled, unlabelled = (paths.get(file.name) for file in BOOSTED_JETS.files)
    if labelled is None:
        file = BOOSTED_JETS.files[0]
        names = " or ".join((file.name, *file.variants))
        msg = f"boosted-jets: {folder} holds no {names}; one of them is needed"
        raise DataError(msg)
    with ExitStack() as stack:
        file = stack.enter_context(HDF5("boosted-jets", labelled, row="jet"))
        # check both files before reading the first jet
        others = unlabelled and stack.enter_context(HDF5("boosted-jets", unlabelled, row="jet"))
        jets = file.array("jet", ("N", *JET))
        columns = _columns(file, jets)
        if others:
            others.array("jet", ("N", *JET))
        yield from _labelled(file, columns, channels)
        if others:
            yield from _unlabelled(others, channels)


def _labelled(
    file: HDF5, columns: dict[str, Array], channels: list[int]
) -> Iterator[tuple[Role, Examples]]:
    for start, images in _images(file, channels):
        rows = slice(start, start + len(images))
        yield (
            "labelled",
            Examples(
                inputs={"image": images},
                ids=np.arange(rows.start, rows.stop),
                labels=columns["Y"][rows],
                spectators={name: columns[name][rows] for name in columns if name != "Y"},
            ),
        )


def _unlabelled(file: HDF5, channels: list[int]) -> Iterator[tuple[Role, Examples]]:
    for start, images in _images(file, channels):
        ids = FIRST_UNLABELLED + np.arange(start, start + len(images))
        yield "unlabelled", Examples(inputs={"image": images}, ids=ids)


def sample(*, order: Sequence[str]) -> Iterator[tuple[Role, Examples]]:
    """Yield the bundled sample of boosted jets, in the form of ``read``.

    Its channels are in the order of the spec, whatever ``order`` is.
    """
    _channels(order)
    with files("hepbench_datasets").joinpath("samples/boosted-jets.npz").open("rb") as file:
        arrays = dict(np.load(file, allow_pickle=False))
    images = boosted_jets_compact.decode(arrays)
    n = len(arrays["labels"])
    yield (
        "labelled",
        Examples(
            inputs={"image": images[:n]},
            ids=np.arange(n),
            labels=arrays["labels"].astype(np.int64),
            spectators={name: arrays[name] for name in ("m", "pT")},
        ),
    )
    ids = FIRST_UNLABELLED + np.arange(len(images) - n)
    yield "unlabelled", Examples(inputs={"image": images[n:]}, ids=ids)


def _channels(order: Sequence[str]) -> list[int]:
    """Return the position in the file of each image channel that the spec names."""
    if sorted(order) != sorted(CHANNELS):
        msg = f"boosted-jets: order is {list(order)}; each of {', '.join(CHANNELS)} is needed once"
        raise DataError(msg)
    return [list(order).index(name) for name in CHANNELS]


def _columns(file: HDF5, jets: Any) -> dict[str, Array]:
    """Return the columns ``Y`` and, if present, ``m`` and ``pT`` of boosted jets, (N,) each."""
    columns = {"Y": file.labels("Y", ("N", 1), beside=jets)}
    file.require_classes("Y", columns["Y"])
    there = [key for key in ("m", "pT") if key in file]
    return columns | {key: file.column(key, ("N", 1), beside=jets) for key in there}


def _images(file: HDF5, channels: list[int]) -> Iterator[tuple[int, SparseImages]]:
    """Yield the images of boosted jets in chunks, each with the position of its first jet."""
    negative: Counter[str] = Counter()
    start = 0
    for stored in file.images(file.array("jet", ("N", *JET)), at_once=CHUNK):
        images = _in_order(stored, channels)
        _check_values(file, images, start, channels, negative)
        yield start, images
        start += len(images)
    for name, count in negative.items():
        warnings.warn(
            f"boosted-jets: {file.name}: {count} values of {name} are negative; 0 or more are expected",
            DataWarning,
            stacklevel=2,
        )


def _in_order(images: SparseImages, channels: list[int]) -> SparseImages:
    """Return images with their channels in the order of the spec."""
    if channels == sorted(channels):
        return images
    rows, positions, values = images.hits()
    channel, place = np.divmod(positions, SIDE**2)
    where = np.argsort(channels)[channel] * SIDE**2 + place
    return SparseImages.from_hits(rows, where, values, n=len(images), image=images.image)


def _check_values(
    file: HDF5, images: SparseImages, start: int, channels: list[int], negative: Counter[str]
) -> None:
    """Check the pixel values of some jets; add the few negative ones to ``negative``."""
    rows, positions, values = images.hits()
    channel = positions // SIDE**2
    valid = np.isfinite(values)
    for i, name in enumerate(CHANNELS):
        hits = channel == i
        below = hits & (values < 0)
        if name in SIGNED or not below.any():
            continue
        if below.sum() > NOISE * hits.sum():
            valid &= ~below
        negative[name] += int(below.sum())
    if valid.all():
        return
    first = int(np.argmin(valid))
    layer, place = divmod(int(positions[first]), SIDE**2)
    where = f"jet {start + rows[first]}, row {place // SIDE}, column {place % SIDE}"
    what = f"{where}, channel {channels[layer]} ({CHANNELS[layer]}) is {values[first]:g}"
    if not np.isfinite(values[first]):
        file.refuse(what, "finite numbers are expected")
    file.refuse(
        what,
        (
            f"only {' and '.join(SIGNED)} may be negative; if the file has another order of channels, "
            "set 'order'"
        ),
    )
