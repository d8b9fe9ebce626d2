"""Read the predictions that are stored beside records in a results folder."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zipfile import BadZipFile

from hepbench.specs.errors import ResultsError
from hepbench.storage.results import arrays, checksum

if TYPE_CHECKING:
    from pathlib import Path

    from hepbench.specs.metric import Predictions
    from hepbench.storage.records import Record, Stored
    from hepbench.tables.rows import Row


def of_row(results: Path, row: Row, part: str) -> list[Predictions]:
    """Return the predictions for one part from each successful seed of a row."""
    return [of_record(results, record)[part] for record in row.ok]


def of_record(results: Path, record: Record) -> dict[str, Predictions]:
    """Return the stored predictions of each part.

    Raises:
        ResultsError: they are missing, cannot be read, or were changed since.
    """
    from hepbench.evaluation import joining

    labels, scores = (_file(results, record, each) for each in (record.labels, record.predictions))
    try:
        return joining.join(arrays(labels), scores)
    except (BadZipFile, EOFError, KeyError, OSError, ValueError) as error:
        msg = f"{scores} cannot be read: {error}"
        raise ResultsError(msg) from error


def _file(results: Path, record: Record, stored: Stored | None) -> Path:
    if stored is None:
        msg = f"{record.cell}: no predictions were recorded; run it again"
        raise ResultsError(msg)
    # paths are relative to the results folder, but the folder of one suite may be given instead
    root = results if (results / stored.path).is_file() else results.parent
    path = root / stored.path
    if not path.is_file():
        msg = f"{record.cell}: {results / stored.path} is missing; run it again with --fresh"
        raise ResultsError(msg)
    if checksum(path) != stored.sha256:
        msg = f"{path} was changed after the record was written: see hepbench verify {results}"
        raise ResultsError(msg)
    return path
