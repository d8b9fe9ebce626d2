"""Boosted jets: images of 8 detector layers, of top quarks (signal) or light quarks and gluons.

Files of CMS Open Data simulation, as in Andrews et al., arXiv:2104.14659: ``jet`` (N, 125, 125, 8)
float32, channels last, contiguous and uncompressed, and in the labelled file ``Y`` (N, 1) float32;
its longer form also has ``m`` and ``pT`` (N, 1), in GeV. 10,000 labelled jets are 5.0 GB, 60,000
unlabelled ones 30 GB.

The order of the channels is printed nowhere and is inferred; so is that rows follow eta and columns
phi, and that ``Y`` is 1 for top quarks. What can be checked while reading is: only d0 and dz may be negative. Where a file has them in
another order, the parameter ``order`` says so. Values are taken as they are, in whatever units.
"""

from __future__ import annotations

from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench import DataError, Examples, SparseImages
from hepbench_datasets import BOOSTED_JETS, compact

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hepbench import Array, File, Role

CHANNELS = BOOSTED_JETS.inputs["image"].names
SIGNED = ("track_d0", "track_dz")
LABELLED, UNLABELLED = BOOSTED_JETS.files

SIDE = 125
JET = (SIDE, SIDE, len(CHANNELS))
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
        (N,) int64; targets ``m`` and ``pT`` (N,) float32 where the file has them; as ids the
        positions in the file, from 0, or from ``FIRST_UNLABELLED``.

    Raises:
        DataError: there is no labelled file, one is damaged or laid out otherwise, a value is not
            finite or negative where it cannot be, or a class has no jet.
    """
    channels = _channels(order)
    folder = Path(folder)
    with ExitStack() as stack:
        labelled = stack.enter_context(_open(_find(folder, LABELLED)))
        columns = _columns(labelled)
        unlabelled = folder / UNLABELLED.name
        others = stack.enter_context(_open(unlabelled)) if unlabelled.is_file() else None
        for start, images in _images(labelled, channels):
            rows = slice(start, start + len(images))
            yield (
                "labelled",
                Examples(
                    inputs={"image": images},
                    ids=np.arange(rows.start, rows.stop),
                    labels=columns["Y"][rows].astype(np.int64),
                    targets={name: columns[name][rows] for name in columns if name != "Y"},
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
    images = compact.decode(arrays)
    n = len(arrays["labels"])
    yield (
        "labelled",
        Examples(
            inputs={"image": images[:n]},
            ids=np.arange(n),
            labels=arrays["labels"].astype(np.int64),
            targets={name: arrays[name] for name in ("m", "pT")},
        ),
    )
    ids = FIRST_UNLABELLED + np.arange(len(images) - n)
    yield "unlabelled", Examples(inputs={"image": images[n:]}, ids=ids)


def _error(name: str, what: str, allowed: str) -> DataError:
    return DataError(f"boosted-jets: {name}: {what}; {allowed}")


def _channels(order: Sequence[str]) -> list[int]:
    """Return where in the file each channel of the spec is."""
    if sorted(order) != sorted(CHANNELS):
        msg = f"boosted-jets: order is {list(order)}; each of {', '.join(CHANNELS)} is needed once"
        raise DataError(msg)
    return [list(order).index(name) for name in CHANNELS]


def _find(folder: Path, file: File) -> Path:
    names = (file.name, *file.variants)
    for path in (folder / name for name in names):
        if path.is_file():
            return path
    msg = f"boosted-jets: {folder} holds no {' or '.join(names)}; one of the two is needed"
    raise DataError(msg)


def _open(path: Path) -> Any:
    """Return an open file whose ``jet`` is laid out as it should be."""
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        what = f"cannot be opened ({_reason(error)})"
        raise _error(path.name, what, "a whole HDF5 file is needed") from error
    try:
        if len(_array(file, "jet", ("N", *JET))) == 0:
            raise _error(path.name, "'jet' has no jet", "one at least is needed")
    except DataError:
        file.close()
        raise
    return file


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())


def _array(file: Any, key: str, shape: tuple[int | str, ...]) -> Any:
    """Return a dataset of float32; the first number of its shape may be any."""
    import h5py

    name, text = Path(file.filename).name, f"({', '.join(map(str, shape))})"
    try:
        found = file.get(key)
    except (KeyError, OSError, RuntimeError) as error:
        what = f"'{key}' cannot be read ({_reason(error)})"
        raise _error(name, what, "a whole HDF5 file is needed") from error
    if not isinstance(found, h5py.Dataset):
        held = ", ".join(f"'{key}'" for key in file) or "nothing"
        raise _error(name, f"no dataset '{key}', it holds {held}", f"'{key}' {text} is needed")
    if found.shape is None or found.shape[1:] != shape[1:] or not found.shape:
        hint = ", channels last" if len(shape) > 2 else ""
        raise _error(name, f"'{key}' is {found.shape}", f"{text}{hint} is expected")
    if found.dtype != np.float32:
        raise _error(name, f"'{key}' is {found.dtype}", "float32 is expected")
    return found


def _columns(file: Any) -> dict[str, Array]:
    """Return ``Y``, and ``m`` and ``pT`` where the file has them, (N,) each."""
    name, n = Path(file.filename).name, len(file["jet"])
    columns = {}
    for key in ("Y", *(key for key in ("m", "pT") if key in file)):
        stored = _array(file, key, ("N", 1))
        if len(stored) != n:
            what = f"'{key}' has {len(stored)} rows, 'jet' has {n}"
            raise _error(name, what, "as many are expected")
        columns[key] = _values(stored, slice(None))[:, 0]
        fine = np.isin(columns[key], (0, 1)) if key == "Y" else columns[key] >= 0
        fine &= np.isfinite(columns[key])
        if not fine.all():
            jet = int(np.argmin(fine))
            allowed = "0 or 1 is expected" if key == "Y" else "a number of at least 0 is expected"
            raise _error(name, f"'{key}' of jet {jet} is {columns[key][jet]:g}", allowed)
    if len(np.unique(columns["Y"])) < 2:
        what = f"every label is {columns['Y'][0]:g}"
        raise _error(name, what, "both 0 and 1 are needed")
    return columns


def _values(stored: Any, rows: slice) -> Array:
    try:
        return stored[rows]
    except (OSError, RuntimeError) as error:
        where = f"from jet {rows.start} on " if rows.start else ""
        what = f"'{stored.name[1:]}' cannot be read {where}({_reason(error)})"
        name = Path(stored.file.filename).name
        raise _error(name, what, "a whole HDF5 file is needed") from error


def _images(file: Any, channels: list[int]) -> Iterator[tuple[int, SparseImages]]:
    """Yield the first jet's place and the images of one chunk after another."""
    stored = file["jet"]
    for start in range(0, len(stored), CHUNK):
        dense = _values(stored, slice(start, start + CHUNK))
        if channels != sorted(channels):
            dense = dense[..., channels]
        images = SparseImages.from_dense(dense.transpose(0, 3, 1, 2))
        _check_values(Path(file.filename).name, images, start, channels)
        yield start, images


def _check_values(name: str, images: SparseImages, start: int, channels: list[int]) -> None:
    fine = np.isfinite(images.values)
    negative = np.flatnonzero(images.values < 0)
    signed = [CHANNELS.index(signed) for signed in SIGNED]
    layer = images.positions[negative] // SIDE**2
    fine[negative[~np.isin(layer, signed)]] = False
    if fine.all():
        return
    first = int(np.argmin(fine))
    jet = start + int(np.searchsorted(images.ends, first, side="right"))
    channel, place = divmod(int(images.positions[first]), SIDE**2)
    where = f"jet {jet}, row {place // SIDE}, column {place % SIDE}, channel {channels[channel]}"
    value = images.values[first]
    what = f"{where} ({CHANNELS[channel]}) is {value:g}"
    if not np.isfinite(value):
        raise _error(name, what, "finite numbers are expected")
    allowed = f"only {' and '.join(SIGNED)} may be negative: is 'order' that of the file?"
    raise _error(name, what, allowed)
