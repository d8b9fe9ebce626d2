"""Read the predictions that are stored beside records in results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench.evaluation import joining
from hepbench.specs.errors import ResultsError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from hepbench.specs.metric import Predictions
    from hepbench.storage.records import Record, Stored
    from hepbench.storage.results import Results
    from hepbench.storage.stored_arrays import Arrays


def of_records(results: Results, records: Iterable[Record], part: str) -> list[Predictions]:
    """Return the stored predictions of each record, for one data part.

    Raises:
        ResultsError: see ``of_record``; or this part was left out when the results were packed.
    """
    return [_part(results, record, of_record(results, record), part) for record in records]


def of_test(results: Results, record: Record) -> Predictions:
    """Return the stored predictions of a record's test examples; other parts are not joined.

    Raises:
        ResultsError: see ``of_records``.
    """
    return _part(results, record, of_record(results, record, {"test"}), "test")


def of_record(
    results: Results, record: Record, parts: Collection[str] | None = None
) -> dict[str, Predictions]:
    """Return the stored predictions of a record, for each data part.

    Args:
        parts: only these; test predictions then refer to validation only if it is among them.

    Raises:
        ResultsError: they are missing, cannot be read, or were changed since.
    """
    labels = _arrays(results, record, record.labels)
    scores = _arrays(results, record, record.predictions)
    if parts is not None:
        scores = {n: a for n, a in scores.items() if n.partition(".")[0] in parts}
    try:
        return joining.joined(labels, scores)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        msg = f"{record.cell}: the stored predictions do not fit the stored labels: {error}"
        raise ResultsError(msg) from error


def test_examples(results: Results, record: Record) -> Arrays:
    """Return ids, labels and weights of a record's test examples, by name.

    Raises:
        ResultsError: see ``of_records``.
    """
    labels = _arrays(results, record, record.labels)
    names = ("ids", "labels", "weights")
    found = {name: labels[f"test.{name}"] for name in names if f"test.{name}" in labels}
    if "labels" not in found:
        raise _left_out(results, record, "test")
    return found


def _part(
    results: Results, record: Record, found: dict[str, Predictions], part: str
) -> Predictions:
    if part not in found:
        raise _left_out(results, record, part)
    return found[part]


def _left_out(results: Results, record: Record, part: str) -> ResultsError:
    kept = record.predictions.parts if record.predictions else ()
    only = f", only of {', '.join(kept)}" if kept else ""
    msg = f"{record.cell}: {results.root} holds no predictions of {part}{only}"
    return ResultsError(msg)


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
