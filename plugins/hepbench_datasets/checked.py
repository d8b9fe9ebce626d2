"""Base class of files that are checked while they are read; each error names the file in one line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from hepbench import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from hepbench import Array


class CheckedFile:
    """A file of a dataset, closed at the end of ``with``; ``file`` is the reading library's object.

    Args:
        dataset: name of the dataset; it begins each error.
        path: path of the file.
        row: the word for one row in errors, such as ``jet``.
    """

    file: Any

    def __init__(self, dataset: str, path: Path, *, row: str) -> None:
        self.dataset = dataset
        self.row = row
        self.name = Path(path).name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.file.close()

    def refuse(self, what: str, allowed: str, cause: Exception | None = None) -> NoReturn:
        """Raise a DataError that names the dataset and the file."""
        msg = f"{self.dataset}: {self.name}: {what}; {allowed}"
        raise DataError(msg) from cause

    def require_classes(self, key: str, labels: Array) -> None:
        """Raise a DataError if all labels are the same."""
        if (labels == labels[0]).all():
            self.refuse(f"every '{key}' is {labels[0]}", "both 0 and 1 are needed")

    def _to_float32(self, key: str, numbers: Array, least: float) -> Array:
        """Return numbers as (N,) float32; each must be finite and at least ``least``."""
        with np.errstate(over="ignore"):
            numbers = numbers.astype(np.float32, copy=False)
        fine = np.isfinite(numbers) & (numbers >= least)
        self._require(key, numbers, fine, f"a number of at least {least:g} is expected")
        return numbers

    def _to_labels(self, key: str, numbers: Array) -> Array:
        """Return labels, each 0 or 1, as (N,) int64."""
        self._require(key, numbers, np.isin(numbers, (0, 1)), "0 or 1 is expected")
        return numbers.astype(np.int64)

    def _require(self, key: str, numbers: Array, fine: Array, allowed: str) -> None:
        if not fine.all():
            row = int(np.argmin(fine))
            self.refuse(f"'{key}' of {self.row} {row} is {numbers[row]:g}", allowed)


def fits(found: Sequence[int] | None, shape: Sequence[int | str]) -> bool:
    """Return whether a shape is the expected one; a str in ``shape`` stands for any number."""
    return (
        found is not None
        and len(found) == len(shape)
        and all(isinstance(b, str) or a == b for a, b in zip(found, shape, strict=True))
    )


def reason(error: Exception) -> str:
    """Return a library's error message in one line."""
    return " ".join(str(error).split())
