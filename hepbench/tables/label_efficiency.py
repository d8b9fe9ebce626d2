"""Fill the column of labels from scratch: pretrained rows against rows of the same model from scratch."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from hepbench.specs.errors import ResultsError
from hepbench.specs.text import enumerated, one_line
from hepbench.tables import sized_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hepbench.evaluation.labels_needed import LabelsNeeded
    from hepbench.storage.records import Record
    from hepbench.tables.rows import Row
    from hepbench.tables.sized_rows import Setting


FEWEST = 2
"""Numbers of labels that a curve from scratch needs."""


class CountLabels(Protocol):
    """Finds how many labels a training from scratch needs for the value of another row."""

    def __call__(
        self, curve: Sequence[Sequence[Record]], target: Sequence[Record], metric: str
    ) -> LabelsNeeded:
        """Compare the records of rows from scratch, fewest labels first, with those of a row.

        Raises:
            ResultsError: predictions are missing, or the rows have other test examples.
        """


def fill(rows: Sequence[Row], metric: str, count: CountLabels) -> list[Row]:
    """Return rows with the labels that a training from scratch needs, where rows allow it.

    Args:
        rows: of all datasets.
        metric: that is to be reached.
        count: called for each pretrained row of a model with a curve from scratch.
    """
    filled = {id(row): _filled(row, curves, metric, count) for row, curves in _pairs(rows)}
    return [filled.get(id(row), row) for row in rows]


def _pairs(rows: Sequence[Row]) -> Iterator[tuple[Row, list[list[Row]]]]:
    """Yield pretrained rows with the curves from scratch of the same model on the same data."""
    series = sized_rows.series(rows, "label_fraction")
    curves: dict[Setting, list[list[Row]]] = defaultdict(list)
    for setting, some in series.items():
        scratch = [row for row in some if sized_rows.is_from_scratch(row)]
        if len(sized_rows.numbers(scratch)) >= FEWEST:
            curves[_without_chain(setting)].append(scratch)
    for setting, some in series.items():
        found = curves.get(_without_chain(setting))
        if found and len(sized_rows.numbers(some)) >= FEWEST:
            yield from ((row, found) for row in some if sized_rows.is_pretrained(row))


def _without_chain(setting: Setting) -> Setting:
    return setting._replace(labels=setting.labels._replace(chain=""))


def _filled(row: Row, curves: Sequence[Sequence[Row]], metric: str, count: CountLabels) -> Row:
    if len(curves) > 1:
        chains = enumerated(curve[0].labels.chain for curve in curves)
        return _noted(row, f"several rows from scratch: {chains}")
    known = [each for each in curves[0] if _has(each, metric)]
    if not _has(row, metric) or len(sized_rows.numbers(known)) < FEWEST:
        return row
    try:
        found = count(
            [_with_values(each, metric) for each in known], _with_values(row, metric), metric
        )
    except ResultsError as error:
        return _noted(row, str(error))
    return replace(row, labels_from_scratch=found)


def _has(row: Row, metric: str) -> bool:
    average = row.averages.get(metric)
    return average is not None and average.value is not None and not average.limit


def _with_values(row: Row, metric: str) -> list[Record]:
    return [r for r in row.ok if metric in r.metrics and r.metrics[metric].value is not None]


def _noted(row: Row, why: str) -> Row:
    return replace(row, labels_note=f"labels from scratch are not known: {one_line(why)}")
