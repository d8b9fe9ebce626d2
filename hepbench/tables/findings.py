"""Findings on a dataset beside the best row, a sentence each: smaller networks, pretraining. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench.evaluation.seed_averages import SeedAverage
from hepbench.specs.text import several
from hepbench.tables import contrasts, rounding, row_names
from hepbench.tables.columns import title
from hepbench.tables.notes import listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hepbench.tables.columns import Columns
    from hepbench.tables.contrasts import Contrast, Kind
    from hepbench.tables.rows import Row
    from hepbench.tables.stars import Difference


MEANING = (
    "0.012 ± 0.004 lower: a difference and its standard error, of the test sample and over seeds; "
    "pairs of rows are tested at 95 %, corrected for their number"
)


MOST_SENTENCES = 3
"""Sentences of one kind on one dataset, at most."""


def findings(
    rows: Sequence[Row], columns: Columns, differences: Mapping[Contrast, Difference]
) -> list[str]:
    """Return sentences on the tested pairs of rows of one dataset, and on published values.

    Args:
        rows: ranked and marked; see ``ranking.rank`` and ``stars.mark``.
        columns: their main column is what rows are compared by.
        differences: of the pairs of rows that were tested.
    """
    pairs = _TestedPairs(rows, columns, differences)
    said = [*pairs.cheaper(), *pairs.smaller(), *pairs.pretrained(), *_published(rows, columns)]
    return [f"{sentence}." for sentence in said]


def size(difference: Difference) -> str:
    """Return ``0.012 ± 0.004 lower``: by how much the first row of a pair differs, if it does."""
    if not difference.value:
        return "the same"
    average = SeedAverage(abs(difference.value), difference.stderr)
    decimals = min(rounding.places(average), rounding.MOST_PLACES)
    error = rounding.value_only(SeedAverage(difference.stderr), decimals)
    where = "higher" if difference.value > 0 else "lower"
    return f"{rounding.value_only(average, decimals)} ± {error} {where}"


class _TestedPairs:
    """Sentences on the tested pairs of rows of one dataset."""

    def __init__(
        self, rows: Sequence[Row], columns: Columns, differences: Mapping[Contrast, Difference]
    ) -> None:
        self._rows = rows
        self._names = row_names.in_words([row.labels for row in rows])
        self._metric = title(columns.main)
        self._sign = 1 if columns.direction(columns.main) else -1
        self._differences = differences

    def cheaper(self) -> Iterator[str]:
        """Yield the network with the fewest operations that ties with the best network."""
        if ties := [each for each in self._of("cheaper") if self._ties(each)]:
            pair = max(ties, key=self._fewer)
            name, best = self._both(pair)
            yield (
                f"{name} needs {self._fewer(pair):.2g} times fewer FLOPs than {best} and is not "
                f"significantly worse ({self._metric} {size(self._differences[pair])})"
            )

    def smaller(self) -> Iterator[str]:
        """Yield for each network the smallest one made from it that ties with it, or the best one."""
        made: dict[int, list[Contrast]] = {}
        for each in self._of("smaller"):
            made.setdefault(each.other, []).append(each)
        for pairs in list(made.values())[:MOST_SENTENCES]:
            ties = [each for each in pairs if self._ties(each)]
            pair = max(ties, key=self._fewer) if ties else min(pairs, key=lambda each: each.row)
            name, whole = self._both(pair)
            costs = listed([f"{self._fewer(pair):.2g} times fewer FLOPs", *self._faster(pair)])
            yield f"{name} needs {costs} than {whole}: {self._tested(pair)}"

    def pretrained(self) -> Iterator[str]:
        """Yield what pretraining adds to the same model with the same labels."""
        for pair in self._of("pretrained")[:MOST_SENTENCES]:
            name, other = self._both(pair)
            data = self._rows[pair.row].data
            labels = f"With {several(data.n_train, 'label')}, " if data else ""
            yield f"{labels}{name} against {other}: {self._tested(pair)}"

    def _of(self, kind: Kind) -> list[Contrast]:
        return [each for each in self._differences if each.kind == kind]

    def _both(self, pair: Contrast) -> tuple[str, str]:
        return self._names[pair.row], self._names[pair.other]

    def _ties(self, pair: Contrast) -> bool:
        found = self._differences[pair]
        return not found.significant or found.value * self._sign > 0

    def _tested(self, pair: Contrast) -> str:
        found = self._differences[pair]
        return f"{self._metric} {size(found)}, {'' if found.significant else 'not '}significant"

    def _fewer(self, pair: Contrast) -> float:
        return contrasts.fewer_operations(self._rows[pair.row], self._rows[pair.other])

    def _faster(self, pair: Contrast) -> Iterator[str]:
        """Yield how much less time a network takes to score, if that is known."""
        ratio, clock = contrasts.speed(self._rows[pair.row], self._rows[pair.other])
        if ratio >= contrasts.FEWER:
            yield f"{ratio:.2g} times less {clock}"
        elif ratio:
            yield f"no less {clock}"


def _published(rows: Sequence[Row], columns: Columns) -> Iterator[str]:
    """Yield published values beside those of the rows, where they are few."""
    names = row_names.in_words([row.labels for row in rows])
    found = [
        (name, row.averages[columns.main], row.published)
        for name, row in zip(names, rows, strict=True)
        if row.ok and row.published and columns.main in row.published.metrics
    ]
    if len(found) > MOST_SENTENCES:
        return
    metric, places = title(columns.main), rounding.column_places(each for _, each, _ in found)
    for name, average, published in found:
        here = rounding.value_only(average, rounding.row_places(average, places))
        there = f"{published.metrics[columns.main]!r} published in {published.source}"
        on = f" on {published.n_test:,} test examples" if published.n_test else ""
        caveat = f"; caveat: {published.caveat}" if published.caveat else ""
        yield f"{name}: {metric} {here} here, {there}{on}{caveat}"
