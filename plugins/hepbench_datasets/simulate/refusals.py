"""Refusals: what is asked of a generator is looked at before anything is simulated or overwritten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from hepbench import Dataset


def require(dataset: Dataset, *, events: int, seed: int, jobs: int, least: int = 2) -> None:
    """Raise DataError for fewer events than ``least``, no process, or a seed below 0."""
    if events < least or jobs < 1 or seed < 0:
        told = f"events {events}, jobs {jobs}, seed {seed}"
        msg = f"{dataset.name}: {told}: {least}, 1 and 0 are the least allowed"
        raise DataError(msg)


def require_room(dataset: Dataset, folder: Path) -> None:
    """Raise DataError where a file of the dataset is in a folder, in any form: an original would be
    lost, or what is written beside it would not be read.
    """
    for name in (name for file in dataset.files for name in (file.name, *file.variants)):
        if (folder / name).exists():
            msg = f"{dataset.name}: {folder / name} exists; choose another folder or move it away"
            raise DataError(msg)
