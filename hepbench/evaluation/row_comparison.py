"""Compare table rows on their stored test predictions: which are as good as the best one."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from hepbench.data import event_weights
from hepbench.evaluation import measure, paired, paired_runs, stored_predictions
from hepbench.evaluation.comparison_cache import Comparison, PairDifference
from hepbench.registry.resolve import resolve
from hepbench.specs.errors import ResultsError
from hepbench.specs.text import error_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hepbench.evaluation.paired import Means
    from hepbench.specs.metric import Metric
    from hepbench.specs.types import Array
    from hepbench.storage.records import Record
    from hepbench.storage.results import Results
    from hepbench.storage.stored_arrays import Arrays


AUC = "hepbench.evaluation.metrics:auc"
"""The metric whose paired error is calculated; those of others are from a bootstrap."""


def compare(
    results: Results,
    rows: Sequence[Sequence[Record]],
    metric: Metric,
    pairs: Sequence[tuple[int, int]] = (),
) -> Comparison:
    """Compare rows of records that differ in their seeds; all on the test examples of the first.

    Args:
        results: hold the predictions.
        rows: of two seeds or more each.
        metric: by which they are compared.
        pairs: of rows whose differences are tested too.

    Raises:
        ResultsError: predictions are missing, cannot be read, or give the metric no value.
    """
    first = stored_predictions.test_examples(results, rows[0][0])
    same = [i for i, row in enumerate(rows) if _all_scored(results, row, first)]
    elsewhere = [i for i in range(len(rows)) if i not in same]
    if len(same) < 2:
        return Comparison([], elsewhere, [None] * len(pairs))
    found = _means(results, [rows[i] for i in same], metric, first)
    best = paired.not_worse(found, higher_is_better=bool(metric.higher_is_better))
    return Comparison([same[i] for i in best], elsewhere, _differences(found, same, pairs))


def _differences(
    means: Means, same: Sequence[int], pairs: Sequence[tuple[int, int]]
) -> list[PairDifference | None]:
    """Test the difference of each pair of rows, corrected for the number of pairs that are tested."""
    place = {row: i for i, row in enumerate(same)}
    computed = {
        pair: paired.difference(means, *(place[row] for row in pair))
        for pair in pairs
        if all(row in place for row in pair)
    }
    # a class with one test example has no error
    known = {pair: each for pair, each in computed.items() if isfinite(each.stderr)}
    corrected = paired_runs.holm([each.p for each in known.values()])
    found = {
        pair: PairDifference(each.value, each.stderr, p < paired.LEVEL)
        for (pair, each), p in zip(known.items(), corrected, strict=True)
    }
    return [found.get(pair) for pair in pairs]


def _all_scored(results: Results, row: Sequence[Record], examples: Arrays) -> bool:
    """Whether all records of a row are of these test examples."""
    found = (stored_predictions.test_examples(results, record) for record in row)
    return all(
        each.keys() == examples.keys()
        and all(each[name] is a or np.array_equal(each[name], a) for name, a in examples.items())
        for each in found
    )


def means(results: Results, rows: Sequence[Sequence[Record]], metric: Metric) -> Means:
    """Return the means over the trainings of each row, all on the same test examples.

    Raises:
        ResultsError: see ``compare``; or test examples differ.
    """
    first = stored_predictions.test_examples(results, rows[0][0])
    for row in rows:
        if not _all_scored(results, row, first):
            msg = f"{row[0].cell} has other test examples than {rows[0][0].cell}"
            raise ResultsError(msg)
    return _means(results, rows, metric, first)


def _means(
    results: Results, rows: Sequence[Sequence[Record]], metric: Metric, examples: Arrays
) -> Means:
    try:
        return _computed_means(results, rows, metric, examples)
    except ResultsError:
        raise
    except Exception as error:
        # the metric of a plugin may raise anything, and must not cost the table
        msg = f"{metric.name} cannot be compared: {error_text(error)}"
        raise ResultsError(msg) from error


def _computed_means(
    results: Results, rows: Sequence[Sequence[Record]], metric: Metric, examples: Arrays
) -> Means:
    if metric.compute == AUC:
        # row by row: the scores of all of them may be more than fits in memory
        scores = (_scores(results, row) for row in rows)
        weights = event_weights.relative(examples.get("weights"))
        return paired.auc_means(scores, examples["labels"], weights)
    parts = {"test", "validation"}
    tests = [
        [
            measure.as_seen_by(metric, stored_predictions.of_record(results, record, parts)["test"])
            for record in row
        ]
        for row in rows
    ]
    return paired.resampled_means(resolve(metric.compute), tests)


def _scores(results: Results, row: Sequence[Record]) -> Iterator[Array]:
    for record in row:
        yield stored_predictions.of_test(results, record).scores
