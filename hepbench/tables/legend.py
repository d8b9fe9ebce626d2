"""Write the legend below all tables: what columns, errors and marks mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench.specs.text import DASH
from hepbench.storage.records import ORIGINS
from hepbench.tables import latencies, rounding
from hepbench.tables.columns import LOSS_METRICS, title
from hepbench.tables.notes import listed
from hepbench.tables.sections import LOOKED_AT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from hepbench.tables.columns import Columns
    from hepbench.tables.printed import Table
    from hepbench.tables.rows import Row


def legend(tables: Sequence[Table], rows: Sequence[Row], columns: Columns) -> list[str]:
    """Return the lines of the legend; each is there only if a table shows what it explains."""
    shown = {column.name for table in tables for column in table.columns}
    tests = [name for name in columns.tests if name in shown]
    return [
        *_of_errors(tables, tests),
        *latencies.legend(rows, shown),
        *_of_metrics(tests),
        *_of_others(tables, columns, shown),
    ]


def _of_errors(tables: Iterable[Table], tests: Sequence[str]) -> Iterator[str]:
    if not tests:
        return
    cells = (c for table in tables for col in table.columns if col.name in tests for c in col.cells)
    spelt = [found for found in map(rounding.spelt_out, cells) if found]
    # preferably one with both errors
    example = next((found for found in spelt if DASH not in found), next(iter(spelt), None))
    if example is None:
        yield "All numbers are means over seeds."
    else:
        cell, value, of_test, over_seeds = example
        yield (
            f"{cell}: mean over seeds {value}, {of_test} standard error of the test sample, "
            f"{over_seeds} standard deviation over seeds ({DASH} with one seed); other numbers "
            "are means over seeds"
        )


def _of_metrics(tests: Sequence[str]) -> Iterator[str]:
    if points := [title(name) for name in tests if name.startswith("rejection_")]:
        here = points[0].removeprefix("rej. ") if len(points) == 1 else "this"
        yield f"{listed(points)}: 1 / background efficiency at {here} signal efficiency"
    if means := [title(name) for name in tests if name in LOSS_METRICS[:3]]:
        yield (
            f"{listed(means)}: means over test examples, computed on preprocessed inputs; empty "
            "if a later step retrained the encoder"
        )
    if areas := [title(name) for name in tests if name in LOSS_METRICS[3:]]:
        yield (
            f"{listed(areas)}: AUC with this loss as the score; above 0.5 the loss is larger for "
            "signal"
        )
    if "ams" in tests:
        yield (
            "AMS: approximate median significance of the cut that is best on validation, with the "
            "sums of the event weights of the test examples"
        )


def _of_others(tables: Sequence[Table], columns: Columns, shown: Collection[str]) -> Iterator[str]:
    if any("label_fraction=" in table.title for table in tables):
        yield (
            "label_fraction: fraction of the training labels that methods see, drawn anew for each "
            "seed; validation keeps all its labels"
        )
    if any("training_size=" in table.title for table in tables):
        yield (
            "training_size: number of training examples that methods see, pretraining too, drawn "
            "anew for each seed; validation keeps all its examples"
        )
    if "labels_from_scratch" in shown and columns.main:
        yield (
            "labels from scratch: labels at which the same model, trained from scratch, has this row's "
            f"{title(columns.main)}, with a 68 % interval ({DASH} with one seed); interpolated in "
            "log(labels) between the rows from scratch, never beyond them (< or >)"
        )
    if "pretrain_cpu_seconds" in shown:
        yield (
            f"{title('pretrain_cpu_seconds')}: CPU time of the methods that train an encoder without "
            "labels, as measured when they ran; spent once for all rows with the same pretraining, "
            "with few labels or many"
        )
    if "pretrain_examples" in shown:
        yield "pretraining examples: those that these methods processed, in each epoch anew"
    if "published" in shown and columns.main:
        yield f"published: {title(columns.main)} in the publication that the note names"
    if any(table.subtitle.startswith(ORIGINS["sample"]) for table in tables):
        yield (
            f"{ORIGINS['sample']}: a small stand-in for the original dataset; results on it are no "
            "results on the original"
        )
    if any(LOOKED_AT in remark for table in tables for remark in table.remarks):
        yield (
            f"{LOOKED_AT} n times: n models of these results were scored on this test set; to choose "
            "among them by these numbers is optimistic"
        )
    if "source" in shown:
        yield (
            "source: file: original dataset; sample: small sample bundled with hepbench or a "
            "plugin; simulated: files that 'hepbench data simulate' wrote"
        )
