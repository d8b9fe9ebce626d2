"""Base class for reading dataset files with checks; each error names the file in one line."""

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
    """An open file of a dataset, whose contents are checked while they are read.

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
        """Check that numbers are finite and at least ``least``; return them as (N,) float32."""
        with np.errstate(over="ignore"):
            numbers = numbers.astype(np.float32, copy=False)
        fine = np.isfinite(numbers) & (numbers >= least)
        self._require(key, numbers, fine, f"a number of at least {least:g} is expected")
        return numbers

    def _to_labels(self, key: str, numbers: Array) -> Array:
        """Check that labels are 0 or 1, and return them as (N,) int64."""
        self._require(key, numbers, np.isin(numbers, (0, 1)), "0 or 1 is expected")
        return numbers.astype(np.int64)

    def _require(self, key: str, numbers: Array, fine: Array, allowed: str) -> None:
        if not fine.all():
            row = int(np.argmin(fine))
            self.refuse(f"'{key}' of {self.row} {row} is {numbers[row]:g}", allowed)


def fits(found: Sequence[int] | None, shape: Sequence[int | str]) -> bool:
    """Return whether an array has the expected shape, in which a str stands for any number."""
    return (
        found is not None
        and len(found) == len(shape)
        and all(isinstance(b, str) or a == b for a, b in zip(found, shape, strict=True))
    )


def reason(error: Exception) -> str:
    """Return the message of an error of a library in one line."""
    return " ".join(str(error).split())
