"""Read the predictions that are stored beside records in a results folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench.specs.errors import ResultsError

if TYPE_CHECKING:
    from hepbench.specs.metric import Predictions
    from hepbench.storage.records import Record, Stored
    from hepbench.storage.results import Results
    from hepbench.storage.stored_arrays import Arrays
    from hepbench.tables.rows import Row


def of_row(results: Results, row: Row, part: str) -> list[Predictions]:
    """Return the stored predictions of each successful seed of a row, for one data part.

    Raises:
        ResultsError: see ``of_record``; or this part was left out when the results were packed.
    """
    found = [of_record(results, record) for record in row.ok]
    if any(part not in each for each in found):
        kept = ", ".join(found[0])
        msg = f"{row.record.cell}: {results.root} holds no predictions of {part}, only of {kept}"
        raise ResultsError(msg)
    return [each[part] for each in found]


def of_record(results: Results, record: Record) -> dict[str, Predictions]:
    """Return the stored predictions of a record, for each data part.

    Raises:
        ResultsError: they are missing, cannot be read, or were changed since.
    """
    from hepbench.evaluation import joining

    labels = _arrays(results, record, record.labels)
    scores = _arrays(results, record, record.predictions)
    try:
        return joining.joined(labels, scores)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        msg = f"{record.cell}: the stored predictions do not fit the stored labels: {error}"
        raise ResultsError(msg) from error


def _arrays(results: Results, record: Record, stored: Stored | None) -> Arrays:
    if stored is None:
        msg = f"{record.cell}: no predictions were recorded; run it again"
        raise ResultsError(msg)
    path = results.root / stored.path
    try:
        checksum, arrays = results.arrays(stored)
    except (FileNotFoundError, NotADirectoryError) as error:
        msg = f"{record.cell}: {path} is missing; run it again with --fresh"
        raise ResultsError(msg) from error
    if checksum != stored.sha256:
        msg = f"{path} was changed after the record was written: see hepbench verify {results.root}"
        raise ResultsError(msg)
    return arrays
