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
    """Finds how many labels a training from scratch needs for the value of other rows."""

    def __call__(
        self, curve: Sequence[Sequence[Record]], others: Sequence[Sequence[Record]], metric: str
    ) -> list[LabelsNeeded]:
        """Compare the records of rows from scratch, fewest labels first, with those of other rows.

        Raises:
            ResultsError: predictions are missing, or the rows have other test examples.
        """


def fill(rows: Sequence[Row], metric: str, count: CountLabels) -> list[Row]:
    """Return rows with the labels that a training from scratch needs, where rows allow it.

    Args:
        rows: of all datasets.
        metric: that is to be reached.
        count: called for each model with a curve from scratch.
    """
    known = [row for row in rows if _has(row, metric)]
    filled: dict[int, Row] = {}
    for curves, others in _families(known):
        done = _filled(curves, others, metric, count)
        filled |= {id(row): new for row, new in zip(others, done, strict=True)}
    return [filled.get(id(row), row) for row in rows]


def _families(rows: Sequence[Row]) -> Iterator[tuple[list[list[Row]], list[Row]]]:
    """Yield the curves from scratch of each model on each dataset, and its pretrained rows."""
    families: dict[Setting, list[list[Row]]] = defaultdict(list)
    for setting, some in sized_rows.series(rows, "label_fraction").items():
        if len(sized_rows.numbers(some)) >= FEWEST:
            families[setting._replace(labels=setting.labels._replace(chain=""))].append(some)
    for series in families.values():
        curves = _usual([some for some in series if all(map(sized_rows.is_from_scratch, some))])
        others = [row for some in series for row in some if sized_rows.is_pretrained(row)]
        if curves and others:
            yield curves, others


def _usual(curves: list[list[Row]]) -> list[list[Row]]:
    """Return the curve with the settings of the preset, if there is one, else all curves."""
    usual = [some for some in curves if "[" not in some[0].labels.chain]
    return usual if len(usual) == 1 else curves


def _filled(
    curves: Sequence[Sequence[Row]], others: Sequence[Row], metric: str, count: CountLabels
) -> list[Row]:
    if len(curves) > 1:
        chains = enumerated(curve[0].labels.chain for curve in curves)
        return _noted(others, f"several rows from scratch: {chains}")
    curve, targets = ([row.with_value(metric) for row in some] for some in (curves[0], others))
    try:
        found = count(curve, targets, metric)
    except ResultsError as error:
        return _noted(others, str(error))
    return [replace(r, labels_from_scratch=n) for r, n in zip(others, found, strict=True)]


def _has(row: Row, metric: str) -> bool:
    average = row.averages.get(metric)
    return average is not None and average.value is not None and not average.limit


def _noted(rows: Sequence[Row], why: str) -> list[Row]:
    note = f"labels from scratch are not known: {one_line(why)}"
    return [replace(row, labels_note=note) for row in rows]
