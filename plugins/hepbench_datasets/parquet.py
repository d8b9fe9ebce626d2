"""Read parquet files of images in nested lists, with checks; each error is one line.

Some writers put each row into its own row group. A file of 50,000 images then has 200,000 small
pieces, and converting its numbers to Python lists takes minutes per thousand images. Here many row
groups are read by one call, and the numbers are taken directly from Arrow's buffers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench_datasets.checked import CheckedFile, reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hepbench import Array

COMPLETE = "a complete parquet file is needed"
LISTS = "lists of lists of lists of float or double are expected"


class Parquet(CheckedFile):
    """An open parquet file of a dataset, closed at the end of ``with``.

    Args:
        dataset: name of the dataset; it begins each error.
        path: path of the file.
        row: the word for one row in errors, such as ``jet``.

    Raises:
        DataError: the file cannot be opened or has no row.
    """

    def __init__(self, dataset: str, path: Path, *, row: str) -> None:
        import pyarrow
        import pyarrow.parquet as reader

        super().__init__(dataset, path, row=row)
        self._errors = (pyarrow.ArrowException, OSError)
        try:
            self.file = reader.ParquetFile(path, page_checksum_verification=True)
            self.schema = self.file.schema_arrow
        except self._errors as error:
            self.refuse(f"cannot be opened ({reason(error)})", COMPLETE, error)
        self.rows = int(self.file.metadata.num_rows)
        if not self.rows:
            self.refuse(f"the file has no {row}", "at least one is needed")

    def __contains__(self, key: str) -> bool:
        # -1 if there is no such field, or more than one
        return bool(self.schema.get_field_index(key) >= 0)

    def column(self, key: str, *, least: float = 0.0) -> Array:
        """Return a column of the file with one number per row, (N,) float32.

        Raises:
            DataError: there is no such column; it does not hold numbers; a number is missing, not
                finite or below ``least``; the file is damaged.
        """
        return self._to_float32(key, self._numbers(key), least)

    def labels(self, key: str) -> Array:
        """Return a column of the file with labels 0 and 1, (N,) int64.

        Raises:
            DataError: there is no such column; a label is neither 0 nor 1; the file is damaged.
        """
        return self._to_labels(key, self._numbers(key))

    def _numbers(self, key: str) -> Array:
        """Return a column of the file as (N,) float64, with NaN for null."""
        from pyarrow import types

        kind = self._type(key)
        if not (types.is_floating(kind) or types.is_integer(kind)):
            self.refuse(f"'{key}' is {kind}", "numbers are expected")
        try:
            column = self.file.read(columns=[key], use_threads=False)[key]
        except self._errors as error:
            self.refuse(f"'{key}' cannot be read ({reason(error)})", COMPLETE, error)
        return column.to_numpy().astype(np.float64)

    def images(self, key: str, shape: Sequence[int], *, at_once: int) -> Iterator[Array]:
        """Yield the images (n, C, H, W) in a column of the file, at most ``at_once`` at a time.

        Args:
            key: a column of lists of lists of lists.
            shape: (C, H, W), the lengths of the lists.
            at_once: largest number of rows per array, from any number of row groups.

        Raises:
            DataError: the column has another type; during the iteration: a list has another length,
                a list or number is missing, or the file is damaged.
        """
        self._check_lists(key)
        return self._images(key, shape, at_once)

    def _images(self, key: str, shape: Sequence[int], at_once: int) -> Iterator[Array]:
        start = 0
        for groups in self._groups(at_once):
            batches = self.file.iter_batches(
                at_once, row_groups=groups, columns=[key], use_threads=False
            )
            while (batch := self._next(batches, key, start)) is not None:
                yield self._dense(key, batch.column(0), shape, start)
                start += len(batch)

    def _check_lists(self, key: str) -> None:
        from pyarrow import types

        kind, depth = self._type(key), 0
        while any(is_list(kind) for is_list in (types.is_list, types.is_large_list)):
            kind, depth = kind.value_type, depth + 1
        if depth != 3 or not (types.is_float32(kind) or types.is_float64(kind)):
            self.refuse(f"'{key}' is {self._type(key)}", LISTS)

    def _groups(self, at_once: int) -> Iterator[list[int]]:
        """Yield lists of row groups to read together, with at most ``at_once`` rows if possible."""
        metadata, groups, rows = self.file.metadata, list[int](), 0
        for group in range(metadata.num_row_groups):
            group_rows = metadata.row_group(group).num_rows
            if groups and rows + group_rows > at_once:
                yield groups
                groups, rows = [], 0
            groups, rows = [*groups, group], rows + group_rows
        yield groups

    def _next(self, batches: Iterator[Any], key: str, start: int) -> Any:
        try:
            return next(batches, None)
        except self._errors as error:
            what = f"'{key}' cannot be read from {self.row} {start} onwards ({reason(error)})"
            self.refuse(what, COMPLETE, error)

    def _dense(self, key: str, lists: Any, shape: Sequence[int], start: int) -> Array:
        """Return the numbers in the nested lists of some rows as an array."""
        n, per_row = len(lists), 1
        for depth, length in enumerate(shape):
            lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
            if lists.null_count or not (lengths == length).all():
                wrong = int(np.argmin(lengths == length))
                found = lengths[wrong]
                what = "null" if np.isnan(found) else f"{found:g} long"
                where = f"list in '{key}' of {self.row} {start + wrong // per_row}"
                self.refuse(f"a {('', 'second ', 'third ')[depth]}{where} is {what}", _shape(shape))
            lists, per_row = lists.flatten(), per_row * length
        if lists.null_count:
            wrong = int(np.argmin(lists.is_valid().to_numpy(zero_copy_only=False)))
            what = f"a number in '{key}' of {self.row} {start + wrong // per_row} is null"
            self.refuse(what, "finite numbers are expected")
        return lists.to_numpy().reshape(n, *shape)

    def _type(self, key: str) -> Any:
        if key not in self:
            held = ", ".join(f"'{name}'" for name in self.schema.names) or "nothing"
            self.refuse(f"no column '{key}', the file holds {held}", f"one '{key}' is needed")
        return self.schema.field(key).type


def _shape(shape: Sequence[int]) -> str:
    return f"lists of {' lists of '.join(map(str, shape))} numbers are expected"
