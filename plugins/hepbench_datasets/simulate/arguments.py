"""Check the arguments and the folder of ``hepbench data simulate`` before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from hepbench import Dataset


def require_valid(dataset: Dataset, *, events: int, seed: int, jobs: int, least: int = 2) -> None:
    """Raise a DataError for fewer than ``least`` events, fewer than 1 job, or a negative seed."""
    if events < least or jobs < 1 or seed < 0:
        given = f"events {events}, jobs {jobs}, seed {seed}"
        msg = f"{dataset.name}: {given}; at least {least}, 1 and 0 are needed"
        raise DataError(msg)


def require_free_folder(dataset: Dataset, folder: Path) -> None:
    """Raise a DataError if the folder already holds an original file of the dataset.

    An original file would be overwritten, or the reader would read it instead of the simulated
    files.
    """
    for name in (name for file in dataset.files for name in (file.name, *file.variants)):
        if (folder / name).exists():
            msg = f"{dataset.name}: {folder / name} exists; choose another folder or move the file away"
            raise DataError(msg)
