"""Boosted jets: images of 8 detector layers, of top quarks (signal) or light quarks and gluons.

Files of CMS Open Data simulation, as in Andrews et al., arXiv:2104.14659: ``jet`` (N, 125, 125, 8)
float32, channels last, contiguous and uncompressed, and in the labelled file ``Y`` (N, 1) float32;
its longer form also has ``m`` and ``pT`` (N, 1), in GeV. 10,000 labelled jets are 5.0 GB, 60,000
unlabelled ones 30 GB.

The order of the channels is printed nowhere and is inferred; so is that rows follow eta and columns
phi, and that ``Y`` is 1 for top quarks. What can be checked while reading is: only d0 and dz may be
negative. Where a file has them in another order, the parameter ``order`` says so. Values are taken as
they are, in whatever units.
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
"""A larger share of hits below 0 in a layer is not what pedestals left, but another layer."""
CHUNK = 100
"""Jets in 50 MB."""
FIRST_UNLABELLED = 1_000_000_000
"""Ids of unlabelled jets begin here, so that no id stands for two jets."""


def read(folder: Path, *, order: Sequence[str]) -> Iterator[tuple[Role, Examples]]:
    """Yield the labelled jets, then the unlabelled ones where there are any, 100 at a time.

    Args:
        folder: holds the labelled file under either of its names, perhaps the unlabelled one.
        order: the channels of the file, in its order.

    Yields:
        (role, Examples): ``image`` N of (8, 125, 125), sparse, in the order of the spec; labels
        (N,) int64; spectators ``m`` and ``pT`` (N,) float32 where the file has them; as ids the
        positions in the file, from 0, or from ``FIRST_UNLABELLED``.

    Raises:
        DataError: there is no labelled file, one is damaged or laid out otherwise, a value is not
            finite, more than a hundredth of a layer is negative where it cannot be, or a class has
            no jet.

    Warns:
        DataWarning: a few values are negative where they cannot be; they are taken as they are.
    """
    channels = _channels(order)
    paths = original_files(BOOSTED_JETS, Path(folder))
    labelled, unlabelled = (paths.get(file.name) for file in BOOSTED_JETS.files)
    if labelled is None:
        file = BOOSTED_JETS.files[0]
        names = " or ".join((file.name, *file.variants))
        msg = f"boosted-jets: {folder} holds no {names}; one of the two is needed"
        raise DataError(msg)
    with ExitStack() as stack:
        file = stack.enter_context(HDF5("boosted-jets", labelled, row="jet"))
        # checked before the first jet is read
        others = unlabelled and stack.enter_context(HDF5("boosted-jets", unlabelled, row="jet"))
        jets = file.array("jet", ("N", *JET))
        columns = _columns(file, jets)
        if others:
            others.array("jet", ("N", *JET))
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
        if others:
            for start, images in _images(others, channels):
                ids = FIRST_UNLABELLED + np.arange(start, start + len(images))
                yield "unlabelled", Examples(inputs={"image": images}, ids=ids)


def sample(*, order: Sequence[str]) -> Iterator[tuple[Role, Examples]]:
    """Yield the simulated sample that ships with the package, as ``read`` does.

    Its channels are in the order of the spec whatever ``order`` says of a file.
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
    """Return where in the file each channel of the spec is."""
    if sorted(order) != sorted(CHANNELS):
        msg = f"boosted-jets: order is {list(order)}; each of {', '.join(CHANNELS)} is needed once"
        raise DataError(msg)
    return [list(order).index(name) for name in CHANNELS]


def _columns(file: HDF5, jets: Any) -> dict[str, Array]:
    """Return ``Y``, and ``m`` and ``pT`` where the file has them, (N,) each."""
    columns = {"Y": file.labels("Y", ("N", 1), beside=jets)}
    file.require_classes("Y", columns["Y"])
    there = [key for key in ("m", "pT") if key in file]
    return columns | {key: file.column(key, ("N", 1), beside=jets) for key in there}


def _images(file: HDF5, channels: list[int]) -> Iterator[tuple[int, SparseImages]]:
    """Yield the first jet's place and the images of one chunk after another."""
    odd: Counter[str] = Counter()
    start = 0
    for stored in file.images(file.array("jet", ("N", *JET)), at_once=CHUNK):
        images = _in_order(stored, channels)
        _check_values(file, images, start, channels, odd)
        yield start, images
        start += len(images)
    for name, count in odd.items():
        warnings.warn(
            f"{file.name}: {count} values of {name} are below 0", DataWarning, stacklevel=2
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
    file: HDF5, images: SparseImages, start: int, channels: list[int], odd: Counter[str]
) -> None:
    """Refuse what cannot be; count in ``odd`` the few values below 0 that noise may have left."""
    rows, positions, values = images.hits()
    channel = positions // SIDE**2
    fine = np.isfinite(values)
    for i, name in enumerate(CHANNELS):
        hits = channel == i
        below = hits & (values < 0)
        if name in SIGNED or not below.any():
            continue
        if below.sum() > NOISE * hits.sum():
            fine &= ~below
        odd[name] += int(below.sum())
    if fine.all():
        return
    first = int(np.argmin(fine))
    layer, place = divmod(int(positions[first]), SIDE**2)
    where = f"jet {start + rows[first]}, row {place // SIDE}, column {place % SIDE}"
    what = f"{where}, channel {channels[layer]} ({CHANNELS[layer]}) is {values[first]:g}"
    if not np.isfinite(values[first]):
        file.refuse(what, "finite numbers are expected")
    file.refuse(what, f"only {' and '.join(SIGNED)} may be negative: is 'order' that of the file?")
