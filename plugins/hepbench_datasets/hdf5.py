"""Read HDF5 files of datasets after checking their layout; each error is one line."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench import SparseImages
from hepbench_datasets.checked import CheckedFile, fits, reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hepbench import Array

COMPLETE = "a complete HDF5 file is needed"
ERRORS = (KeyError, OSError, RuntimeError, TypeError, ValueError)
"""The errors that h5py raises for damaged files and unknown types."""
PIECE = 64_000_000
"""Largest size in bytes of dense images in memory, if the chunks of a file allow it."""


class HDF5(CheckedFile):
    """An open HDF5 file of a dataset, closed at the end of ``with``.

    Args:
        dataset: name of the dataset; it begins each error.
        path: path of the file.
        row: the word for one row in errors, such as ``jet``.

    Raises:
        DataError: the file cannot be opened.
    """

    def __init__(self, dataset: str, path: Path, *, row: str) -> None:
        import h5py

        super().__init__(dataset, path, row=row)
        try:
            self.file = h5py.File(path, "r")
        except OSError as error:
            self.refuse(f"cannot be opened ({reason(error)})", COMPLETE, error)

    def __contains__(self, key: str) -> bool:
        with self._reading(key):
            return key in self.file

    def array(self, key: str, shape: tuple[int | str, ...]) -> Any:
        """Return a float32 array of the file after checking its shape, where a str is any number.

        Raises:
            DataError: there is no such dataset, or it has another shape or dtype.
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
        """Return a table of the file, whose rows have named fields.

        Raises:
            DataError: there is no such dataset, or its rows have no named fields.
        """
        found = self._dataset(key, "with rows of named fields")
        if found.dtype.names is None or found.ndim != 1:
            what = f"'{key}' is {found.shape} {found.dtype}"
            self.refuse(what, "rows with named fields are expected")
        self._require_rows(key, found)
        return found

    def values(self, stored: Any, where: slice | tuple[slice, ...] = slice(None)) -> Array:
        """Return the values of some rows of an array in the file, or of a part of each row.

        Raises:
            DataError: the rows are damaged.
        """
        rows = where[0] if isinstance(where, tuple) else where
        with self._reading(stored.name[1:], start=rows.start or 0):
            return stored[where]

    def attribute(self, stored: Any, name: str) -> Any:
        """Return an attribute of an array in the file, or None if it is missing.

        Raises:
            DataError: the attribute is damaged.
        """
        with self._reading(stored.name[1:]):
            return stored.attrs.get(name)

    def images(self, stored: Any, *, at_once: int) -> Iterator[SparseImages]:
        """Yield images (n, C, H, W) of the file in order, at most ``at_once`` at a time.

        Each chunk is decompressed once: chunks of the same rows are read together. If chunks span
        many rows but few lines of the image, the images are read in bands of lines.

        Raises:
            DataError: the rows are damaged.
        """
        chunk_rows, chunk_lines = (stored.chunks or (1, 1))[:2]
        rows = max(at_once // chunk_rows, 1) * chunk_rows
        for start in range(0, len(stored), rows):
            images = self._band(stored, slice(start, min(start + rows, len(stored))), chunk_lines)
            for first in range(0, len(images), at_once):
                yield images[first : first + at_once]

    def _band(self, stored: Any, rows: slice, chunk_lines: int) -> SparseImages:
        """Read the images of some rows, in bands of lines so that each chunk is read once."""
        height, width, channels = stored.shape[1:]
        line = 4 * (rows.stop - rows.start) * width * channels
        lines = max(PIECE // (line * chunk_lines), 1) * chunk_lines
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
        """Return a column of the file with one number for each row of another array, (N,) float32.

        Args:
            key: name of the column.
            shape: stored shape: ``("N",)`` or ``("N", 1)``.
            beside: the other dataset, which must have the same number of rows.
            least: the smallest allowed number.

        Raises:
            DataError: as ``array``; the numbers of rows differ; a number is not finite or below
                ``least``.
        """
        return self._to_float32(key, self._column(key, shape, beside), least)

    def labels(self, key: str, shape: tuple[int | str, ...], *, beside: Any) -> Array:
        """Return a column of the file with labels 0 and 1, (N,) int64.

        Raises:
            DataError: as ``array``; the numbers of rows differ; a label is neither 0 nor 1.
        """
        return self._to_labels(key, self._column(key, shape, beside))

    def _dataset(self, key: str, needed: str) -> Any:
        import h5py

        with self._reading(key):
            found = self.file.get(key)
            if not isinstance(found, h5py.Dataset):
                held = ", ".join(f"'{name}'" for name in self.file) or "nothing"
                self.refuse(
                    f"no dataset '{key}', the file holds {held}", f"'{key}' {needed} is needed"
                )
            # the data of another file would not be part of the fingerprint
            if found.is_virtual or found.external or found.file.filename != self.file.filename:
                self.refuse(
                    f"the data of '{key}' are in another file", "they are needed in this file"
                )
            # read shape and dtype here: either may be damaged, and numpy lacks some of HDF5's types
            _ = found.shape, found.dtype
        return found

    @contextmanager
    def _reading(self, key: str, *, start: int = 0) -> Iterator[None]:
        """Turn an error of h5py into a DataError that names the array and the row being read."""
        try:
            yield
        except ERRORS as error:
            where = f" from {self.row} {start} onwards" if start else ""
            self.refuse(f"'{key}' cannot be read{where} ({reason(error)})", COMPLETE, error)

    def _require_rows(self, key: str, found: Any) -> None:
        if len(found) == 0:
            self.refuse(f"'{key}' has no {self.row}", "at least one is needed")
        with self._reading(key):
            missing = _unavailable(found)
        for name in missing:
            what = f"'{key}' is compressed by {name}, which cannot be read here"
            self.refuse(what, 'install the filter: pip install "hepbench-plugins[blosc]"')

    def _column(self, key: str, shape: tuple[int | str, ...], beside: Any) -> Array:
        stored = self.array(key, shape)
        if len(stored) != len(beside):
            what = f"'{key}' has {len(stored)} rows, '{beside.name[1:]}' has {len(beside)}"
            self.refuse(what, "equal numbers of rows are expected")
        return self.values(stored).reshape(len(stored))


def _unavailable(stored: Any) -> list[str]:
    """Return the names of an array's compression filters that are not installed."""
    from h5py import h5z

    plist = stored.id.get_create_plist()
    filters = [plist.get_filter(i) for i in range(plist.get_nfilters())]
    missing = [each for each in filters if not h5z.filter_avail(each[0])]
    if missing:
        with suppress(ImportError):
            # the import registers its filters
            import hdf5plugin  # noqa: F401
    return [
        name.decode(errors="replace") or f"filter {number}"
        for number, _, _, name in missing
        if not h5z.filter_avail(number)
    ]
