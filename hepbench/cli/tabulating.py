"""The verb ``table``, and tables of results for other verbs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hepbench.running import session
from hepbench.specs.text import one_line
from hepbench.storage.results import Results, records_of_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hepbench.evaluation.comparison_cache import Comparison
    from hepbench.evaluation.labels_needed import LabelsNeeded
    from hepbench.registry.plugins import Registry
    from hepbench.storage.records import Record
    from hepbench.tables.columns import Metrics
    from hepbench.tables.label_efficiency import CountLabels
    from hepbench.tables.request import Request
    from hepbench.tables.stars import Compare


def table(*, results: Path, run: str | None, format_: str, columns: str | None, **how: Any) -> str:
    """Return the text of ``table``, from a results folder or packed file."""
    from hepbench.planning.selection import chosen
    from hepbench.registry.plugins import installed
    from hepbench.tables.request import Request

    names = [name.strip() for name in columns.split(",")] if columns else None
    globs = [how.pop(name) for name in ("datasets", "models", "methods")]
    width = terminal_width(asked=names is not None)
    request = Request(format=format_, columns=names, width=width, **how)
    opened = Results(results)
    everything = recorded(opened, None, without=request.unneeded)
    shown = everything if run is None else records_of_run(everything, run)
    return tabulate(
        chosen(shown, *globs, where=opened),
        installed(),
        results=opened,
        everything=everything,
        request=request,
    )


def terminal_width(*, asked: bool) -> int:
    """Return the width for tables: the terminal's, and at most the usual one unless ``asked``."""
    from shutil import get_terminal_size

    from hepbench.tables.request import WIDTH

    found = get_terminal_size((WIDTH, 24)).columns
    return found if asked else min(found, WIDTH)


def recorded(
    results: Results, run: str | None, *, without: frozenset[str] = frozenset()
) -> list[Record]:
    """Return the records of a run, or of all; print a warning for each file that was skipped.

    Args:
        results: where they are.
        run: the name of the run; None: all.
        without: fields that are not needed; see ``RecordReader``.
    """
    found = results.records(run, without=without)
    warn_of_skipped(results)
    return found


def warn_of_skipped(results: Results) -> None:
    """Write a warning for each file of results that was skipped."""
    for line in results.skipped:
        sys.stderr.write(f"hepbench: warning: {one_line(line)}\n")


def tabulate(
    records: Sequence[Record],
    registry: Registry,
    *,
    results: Results,
    everything: Sequence[Record],
    request: Request,
) -> str:
    """Return the tables of records as text.

    Args:
        results: hold the predictions of these records.
        everything: records that count as uses of their test sets.
        request: format, columns and the like.
    """
    from hepbench.tables import document

    return document.table(
        records,
        metrics=metrics_of(registry),
        compare=comparing(results, registry, session.known_cache_folder()),
        looked=everything,
        count_labels=counting_labels(results, registry),
        request=request,
    )


def comparing(results: Results, registry: Registry, folder: Path | None) -> Compare:
    """Return a function that compares table rows on their predictions, with a cache in a folder."""
    from hepbench.evaluation import comparison_cache

    specs = {entry.spec.name: entry.spec for entry in registry.entries("metric")}

    def compare(
        rows: Sequence[Sequence[Record]], metric: str, pairs: Sequence[tuple[int, int]] = ()
    ) -> Comparison:
        path = comparison_cache.path_of(folder, results, rows, specs[metric], pairs)
        if path and (known := comparison_cache.find(path, len(rows), len(pairs))):
            return known
        # numpy is imported only where there is something new to compare
        from hepbench.evaluation import row_comparison

        found = row_comparison.compare(results, rows, specs[metric], pairs)
        if path:
            comparison_cache.keep(path, found)
        return found

    return compare


def counting_labels(results: Results, registry: Registry) -> CountLabels:
    """Return a function that counts labels from scratch on stored predictions."""
    specs = {entry.spec.name: entry.spec for entry in registry.entries("metric")}

    def count(
        curve: Sequence[Sequence[Record]], others: Sequence[Sequence[Record]], metric: str
    ) -> list[LabelsNeeded]:
        # numpy is imported only where there is something to compare
        from hepbench.evaluation import row_comparison
        from hepbench.evaluation.label_efficiency import labels_needed

        labels = [row[0].data.n_train if row[0].data else 0 for row in curve]
        means = row_comparison.means(results, [*curve, *others], specs[metric])
        return labels_needed(labels, means, higher_is_better=bool(specs[metric].higher_is_better))

    return count


def metrics_of(registry: Registry) -> Metrics:
    """Return for each metric whether higher is better, and what must be equal to compare values."""
    specs = [entry.spec for entry in registry.entries("metric")]
    return {spec.name: (spec.higher_is_better, spec.same) for spec in specs}
