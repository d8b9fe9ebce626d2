"""Compares the quality of two runs of a cell by a metric, on their stored test predictions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hepbench.comparison.findings import Finding
from hepbench.data import event_weights
from hepbench.evaluation import measure, metrics, paired, paired_runs, stored_predictions
from hepbench.evaluation.row_comparison import AUC
from hepbench.registry.resolve import resolve
from hepbench.specs.errors import HepbenchError, ResultsError
from hepbench.specs.text import error_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepbench.comparison.findings import Verdict
    from hepbench.comparison.pairs import Pair
    from hepbench.evaluation.paired_runs import RunDifference
    from hepbench.specs.metric import Metric, Predictions
    from hepbench.specs.types import Array
    from hepbench.storage.records import Record
    from hepbench.storage.results import Results
    from hepbench.storage.stored_arrays import Arrays
    from hepbench.tables.rows import Row


CUTS = {
    "hepbench.evaluation.metrics:accuracy": metrics.accuracy_threshold,
    "hepbench.evaluation.metrics:accuracy_at_half": None,
}
"""Accuracies, which are compared exactly, and how the threshold of two classes is chosen; None: one half."""


FEWEST_EXAMPLES = 10
"""Test examples of each class that a test of a difference needs."""


class Runs(NamedTuple):
    """Two results that are compared."""

    base: Results
    new: Results


class NotTested(Exception):
    """Ends the comparison of a cell with a verdict and its reason."""

    def __init__(self, verdict: Verdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict = verdict
        self.reason = reason


def compare(pair: Pair, metric: Metric, runs: Runs) -> Finding | None:
    """Return the finding on one cell; None if neither run has a value of the metric.

    A difference that was tested has no verdict yet: ``findings.judged`` gives it.
    """
    if not any(_recorded(row, metric.name) for row in pair.rows.values()):
        return None
    finding = Finding(
        cell=pair.cell,
        name=metric.name,
        verdict="no difference shown",
        base=_mean(pair.base, metric),
        new=_mean(pair.new, metric),
        higher_is_better=bool(metric.higher_is_better),
        n_test=next((row.data.n_test for row in pair.rows.values() if row.data), None),
    )
    try:
        return _compared(finding, pair, metric, runs)
    except NotTested as found:
        return replace(finding, verdict=found.verdict, reason=found.reason)


def _recorded(row: Row, name: str) -> bool:
    """Whether a row has a value of a metric, or failed before it could have one."""
    return not row.ok or row.averages[name].value is not None


def _mean(row: Row | None, metric: Metric) -> float | None:
    return row.averages[metric.name].value if row else None


def _compared(finding: Finding, pair: Pair, metric: Metric, runs: Runs) -> Finding:
    if pair.base is None:
        raise NotTested(verdict="only in NEW", reason="not in BASE")
    _check_values(pair, metric)
    if reason := pair.differing(metric.same):
        raise NotTested(verdict="not comparable", reason=reason)
    assert pair.new is not None
    records = [
        (run, r) for run, row in zip(runs, (pair.base, pair.new), strict=True) for r in row.ok
    ]
    try:
        examples = _common_examples(records)
        if _are_identical(records, pair, metric):
            return replace(finding, verdict="identical")
        _check_numbers(pair, examples)
        difference = _difference(records, len(pair.base.ok), metric, examples)
        if not difference.stderr:
            difference = _with_smallest_error(difference, metric, examples)
    except HepbenchError as error:
        raise NotTested(verdict="nothing concluded", reason=str(error)) from error
    except NotTested:
        raise
    except Exception as error:
        # the metric of a plugin may raise anything, and must not cost the comparison
        raise NotTested(verdict="nothing concluded", reason=error_text(error)) from error
    return replace(finding, difference=difference, base=difference.base, new=difference.new)


def _check_values(pair: Pair, metric: Metric) -> None:
    """End the comparison if a cell, or the metric's value in one of its records, is missing."""
    if pair.missing:
        raise NotTested(verdict="missing", reason=pair.missing)
    for name, row in pair.rows.items():
        values = [record.metrics.get(metric.name) for record in row.ok]
        if any(each is None or each.value is None for each in values):
            why = next((each.undefined for each in values if each and each.undefined), None)
            raise NotTested(
                verdict="not measured",
                reason=f"no {metric.name} in {name}: {why or 'not recorded'}",
            )
        if any(each and each.limit for each in values):
            raise NotTested(
                verdict="nothing concluded", reason=f"{metric.name} is only a limit in {name}"
            )


def _common_examples(records: Sequence[tuple[Results, Record]]) -> Arrays:
    """Return the test examples that all records have; end the comparison if they differ."""
    first = stored_predictions.test_examples(*records[0])
    for results, record in records[1:]:
        other = stored_predictions.test_examples(results, record)
        if other.keys() != first.keys():
            raise NotTested(verdict="not comparable", reason="only one run has event weights")
        for name, values in first.items():
            if other[name] is not values and not np.array_equal(other[name], values):
                raise NotTested(
                    verdict="not comparable", reason=f"the {name} of the test examples differ"
                )
    return first


def _are_identical(records: Sequence[tuple[Results, Record]], pair: Pair, metric: Metric) -> bool:
    """Return whether both runs have the same scores and values, bit by bit.

    If they have other seeds, all trainings of both must be the same.
    """
    assert pair.base is not None
    assert pair.new is not None
    first = {record.seed: (results, record) for results, record in records[: len(pair.base.ok)]}
    others = records[len(first) :]
    if first.keys() != {record.seed for _, record in others}:
        first = dict.fromkeys((record.seed for _, record in records), records[0])
        others = records[1:]
    return all(_is_same(first[record.seed], (run, record), metric) for run, record in others)


def _is_same(one: tuple[Results, Record], other: tuple[Results, Record], metric: Metric) -> bool:
    values = [record.metrics[metric.name] for _, record in (one, other)]
    return values[0] == values[1] and np.array_equal(_scores(*one), _scores(*other))


def _scores(results: Results, record: Record) -> Array:
    return stored_predictions.of_test(results, record).scores


def _check_numbers(pair: Pair, examples: Arrays) -> None:
    """End the comparison if there are too few seeds or test examples to test a difference."""
    single = [name for name, row in pair.rows.items() if len(row.ok) < 2]
    if single:
        reason = "does not show how much a training changes by chance: run 3 seeds"
        raise NotTested(
            verdict="nothing concluded", reason=f"one seed in {' and '.join(single)} {reason}"
        )
    fewest = int(np.bincount(examples["labels"]).min())
    if fewest < FEWEST_EXAMPLES:
        reason = f"{fewest} test examples of a class; at least {FEWEST_EXAMPLES} are needed"
        raise NotTested(verdict="nothing concluded", reason=reason)


def _difference(
    records: Sequence[tuple[Results, Record]], base: int, metric: Metric, examples: Arrays
) -> RunDifference:
    """Return the difference of two runs; ``base``: number of records of BASE, which come first."""
    if metric.compute == AUC:
        weights = event_weights.relative(examples.get("weights"))
        each = ([_scores(*record)] for record in records)
        return paired_runs.of_means(paired.auc_means(each, examples["labels"], weights), base)
    tests = [_predictions(results, record, metric) for results, record in records]
    if metric.compute in CUTS:
        correct = np.stack([_correct(each, metric) for each in tests])
        return paired_runs.of_accuracy(correct, tests[0].weights, base)
    means = paired.resampled_means(resolve(metric.compute), [[each] for each in tests])
    return paired_runs.of_means(means, base)


def _with_smallest_error(
    difference: RunDifference, metric: Metric, examples: Arrays
) -> RunDifference:
    """Return a difference without an error with that of one example, the smallest that shows.

    No error was found because both runs rank or classify all examples alike. With one more example
    that may be different.
    """
    if metric.compute != AUC and metric.compute not in CUTS:
        reason = f"{metric.name} does not change with the test examples, so it has no error"
        raise NotTested(verdict="nothing concluded", reason=reason)
    return replace(difference, of_examples=1 / int(np.bincount(examples["labels"]).min()) ** 2)


def _predictions(results: Results, record: Record, metric: Metric) -> Predictions:
    found = stored_predictions.of_record(results, record, {"test", "validation"})
    if "test" not in found:
        msg = f"{record.cell}: {results.root} holds no predictions of test"
        raise ResultsError(msg)
    return measure.as_seen_by(metric, found["test"])


def _correct(predictions: Predictions, metric: Metric) -> Array:
    """Return which examples are correctly classified, as (N,) bool."""
    part = metrics.part_of(predictions)
    if part.classes == 2:
        cut = CUTS[metric.compute]
        return part.correct_above(cut(predictions) if cut else 0.5)
    correct: Array = part.scores.argmax(axis=1) == part.labels
    return correct
