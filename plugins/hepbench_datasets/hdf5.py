"""HDF5 files whose layout is checked before they are read; whatever is wrong is one line."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench import SparseImages
from hepbench_datasets.checked import Checked, fits, reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hepbench import Array

WHOLE = "a whole HDF5 file is needed"
ERRORS = (KeyError, OSError, RuntimeError, TypeError, ValueError)
"""What h5py raises of damaged files, and of types that numpy has not."""
PIECE = 64_000_000
"""Bytes of dense images in memory at a time, as far as the chunks of a file allow."""


class HDF5(Checked):
    """An open file, to be closed by ``with``.

    Args:
        dataset: its name begins each error.
        path: of the file.
        row: what one row is called.

    Raises:
        DataError: it cannot be opened.
    """

    def __init__(self, dataset: str, path: Path, *, row: str) -> None:
        import h5py

        super().__init__(dataset, path, row=row)
        try:
            self.file = h5py.File(path, "r")
        except OSError as error:
            self.refuse(f"cannot be opened ({reason(error)})", WHOLE, error)

    def __contains__(self, key: str) -> bool:
        with self._reading(key):
            return key in self.file

    def array(self, key: str, shape: tuple[int | str, ...]) -> Any:
        """Return an HDF5 dataset of float32 with one row at least; a str in ``shape`` is any number.

        Raises:
            DataError: there is none, or one of another shape or dtype.
        """
        text = f"({', '.join(map(str, shape))})"
        found = self._dataset(key, text)
        if not fits(found.shape, shape):
            hint = ", channels last" if len(shape) > 3 else ""
            self.refuse(f"'{key}' is {found.shape}", f"{text}{hint} is expected")
        if found.dtype != np.float32:
            self.refuse(f"'{key}' is {found.dtype}", "float32 is expected")
        self._require_rows(key, found)
        return found

    def table(self, key: str) -> Any:
        """Return an HDF5 dataset of rows with named fields, one row at least.

        Raises:
            DataError: there is none, or it is something else.
        """
        found = self._dataset(key, "of rows with named fields")
        if found.dtype.names is None or found.ndim != 1:
            what = f"'{key}' is {found.shape} {found.dtype}"
            self.refuse(what, "rows with named fields are expected")
        self._require_rows(key, found)
        return found

    def values(self, stored: Any, where: slice | tuple[slice, ...] = slice(None)) -> Array:
        """Return rows of a dataset, or a part of each.

        Raises:
            DataError: they are damaged.
        """
        rows = where[0] if isinstance(where, tuple) else where
        with self._reading(stored.name[1:], start=rows.start or 0):
            return stored[where]

    def attribute(self, stored: Any, name: str) -> Any:
        """Return an attribute of a dataset, None where there is none.

        Raises:
            DataError: it is damaged.
        """
        with self._reading(stored.name[1:]):
            return stored.attrs.get(name)

    def images(self, stored: Any, *, at_once: int) -> Iterator[SparseImages]:
        """Yield images (n, C, H, W) of at most so many rows of a dataset (N, H, W, C), in order.

        Chunks are unpacked once: those of the same rows are read together, and where they span
        many rows in a few lines of the image, lines by lines.

        Raises:
            DataError: they are damaged.
        """
        deep, tall = (stored.chunks or (1, 1))[:2]
        rows = max(at_once // deep, 1) * deep
        for start in range(0, len(stored), rows):
            images = self._band(stored, slice(start, min(start + rows, len(stored))), tall)
            for first in range(0, len(images), at_once):
                yield images[first : first + at_once]

    def _band(self, stored: Any, rows: slice, tall: int) -> SparseImages:
        """Return the images of some rows, read in pieces of whole chunks: so many lines high."""
        height, width, channels = stored.shape[1:]
        line = 4 * (rows.stop - rows.start) * width * channels
        lines = max(PIECE // (line * tall), 1) * tall
        if lines >= height:
            return SparseImages.from_dense(self.values(stored, rows).transpose(0, 3, 1, 2))
        places, image = [], (channels, height, width)
        for top in range(0, height, lines):
            dense = self.values(stored, (rows, slice(top, top + lines)))
            piece = SparseImages.from_dense(dense.transpose(0, 3, 1, 2))
            row, position, values = piece.hits()
            channel, place = np.divmod(position, dense.shape[1] * width)
            places.append((row, (channel * height + top) * width + place, values))
        hits = (np.concatenate(each) for each in zip(*places, strict=True))
        return SparseImages.from_hits(*hits, n=rows.stop - rows.start, image=image)

    def column(
        self, key: str, shape: tuple[int | str, ...], *, beside: Any, least: float = 0.0
    ) -> Array:
        """Return one number for each row of another dataset, (N,) float32: none too small.

        Args:
            key: its name.
            shape: of what is stored: ``("N",)`` or ``("N", 1)``.
            beside: the other one, of as many rows.
            least: what may be.

        Raises:
            DataError: as ``array``; there are more or fewer; one is not finite or below ``least``.
        """
        return self._at_least(key, self._column(key, shape, beside), least)

    def labels(self, key: str, shape: tuple[int | str, ...], *, beside: Any) -> Array:
        """Return a column of the labels 0 and 1, (N,) int64.

        Raises:
            DataError: as ``array``; there are more or fewer; one is neither 0 nor 1.
        """
        return self._classes(key, self._column(key, shape, beside))

    def _dataset(self, key: str, needed: str) -> Any:
        import h5py

        with self._reading(key):
            found = self.file.get(key)
            if not isinstance(found, h5py.Dataset):
                held = ", ".join(f"'{name}'" for name in self.file) or "nothing"
                self.refuse(f"no dataset '{key}', it holds {held}", f"'{key}' {needed} is needed")
            # of another file nobody takes a fingerprint
            if found.is_virtual or found.external or found.file.filename != self.file.filename:
                self.refuse(f"'{key}' is in another file", "its numbers are needed in this one")
            # asked for here, for either may be damaged, and of some types numpy has none
            _ = found.shape, found.dtype
        return found

    @contextmanager
    def _reading(self, key: str, *, start: int = 0) -> Iterator[None]:
        """Say of whatever h5py raises what could not be read, and from which row on."""
        try:
            yield
        except ERRORS as error:
            where = f" from {self.row} {start} on" if start else ""
            self.refuse(f"'{key}' cannot be read{where} ({reason(error)})", WHOLE, error)

    def _require_rows(self, key: str, found: Any) -> None:
        if len(found) == 0:
            self.refuse(f"'{key}' has no {self.row}", "one at least is needed")
        with self._reading(key):
            missing = _unavailable(found)
        for name in missing:
            what = f"'{key}' is compressed by {name}, which cannot be read here"
            self.refuse(what, 'pip install "hepbench-plugins[blosc]"')

    def _column(self, key: str, shape: tuple[int | str, ...], beside: Any) -> Array:
        stored = self.array(key, shape)
        if len(stored) != len(beside):
            what = f"'{key}' has {len(stored)} rows, '{beside.name[1:]}' has {len(beside)}"
            self.refuse(what, "as many are expected")
        return self.values(stored).reshape(len(stored))


def _unavailable(stored: Any) -> list[str]:
    """Return the filters of an HDF5 dataset that neither h5py nor hdf5plugin has."""
    from h5py import h5z

    plist = stored.id.get_create_plist()
    filters = [plist.get_filter(i) for i in range(plist.get_nfilters())]
    missing = [each for each in filters if not h5z.filter_avail(each[0])]
    if missing:
        with suppress(ImportError):
            # importing it makes its filters known
            import hdf5plugin  # noqa: F401
    return [
        name.decode(errors="replace") or f"filter {number}"
        for number, _, _, name in missing
        if not h5z.filter_avail(number)
    ]
