"""Latencies in tables: one runtime in a column, doubts about the value shown, why one is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepbench.specs.text import DASH
from hepbench.storage.costs import LATENCIES
from hepbench.tables.columns import title

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from hepbench.storage.records import Record
    from hepbench.tables.rows import Row


DOUBT = "?"
"""Mark of a latency in doubt."""


NOT_STEADY = "latency: "
"""The beginning of a warning in older records, which do not say which latency was in doubt."""


BESIDE_OTHER_WORK = "latency under load: other work"
"""The beginning of a warning, which says nothing where no latency is in doubt."""


def cell_text(row: Row, name: str) -> str:
    """Return the text of a table cell with a latency."""
    value = row.averages[name].value
    if value is None:
        return DASH
    written = f"{value:.2g}" if value < 99.5 else f"{value:,.0f}"
    return f"{written} ms{DOUBT * bool(doubts(row, name))}"


def doubts(row: Row, name: str) -> list[str]:
    """Return why the latency in a table column may be wrong, each reason once."""
    return _of_seeds([_doubts_of(record, name) for record in row.ok])


def notes_on_doubts(row: Row, names: Iterable[str]) -> list[str]:
    """Return a note on each doubt about the latencies that are shown."""
    columns = (name for name in names if name in LATENCIES)
    return [f"{title(name)}: {doubt}" for name in columns for doubt in doubts(row, name)]


def notes_on_missing(row: Row, names: Iterable[str]) -> list[str]:
    """Return notes on why a row has no latency in ONNX Runtime."""
    columns = [name for name in names if _in_onnx_runtime(name)]
    reasons = [each for name in columns for each in _of_seeds([*map(_reasons(name), row.ok)])]
    return [f"no latency: {reason}" for reason in dict.fromkeys(reasons)]


def is_shown(warning: str, names: Iterable[str]) -> bool:
    """Return whether a warning about latencies belongs below a table with these columns."""
    # doubts about the value that is shown say what matters of these
    return not warning.startswith((NOT_STEADY, BESIDE_OTHER_WORK)) and any(
        name in LATENCIES for name in names
    )


def legend(rows: Iterable[Row], shown: Collection[str]) -> Iterator[str]:
    """Yield the lines of the legend about the latencies that are shown."""
    columns = [name for name in LATENCIES if name in shown]
    if any(name.startswith("latency") for name in columns):
        yield "latency: median time for one example, in ONNX Runtime"
    if any(name.startswith("batch_latency") for name in columns):
        yield "batch latency: median time of one call that scores the large batch"
    if any("torch" in name for name in columns):
        yield "(torch): in torch, of networks"
    if any("python" in name for name in columns):
        yield "(Python): in their own code, of estimators"
    if any(name.endswith("cpu") for name in columns):
        yield "(CPU): CPU time of the calling thread"
    found = (doubt for row in rows for name in columns for doubt in doubts(row, name))
    if texts := list(dict.fromkeys(text.removesuffix(SOME) for text in found)):
        yield f"{DOUBT}: {'; '.join(texts)}; measure it again on an idle machine"


def about(name: str) -> str:
    """Return one line about a table column of latencies."""
    batched = name.startswith("batch_")
    what = "one call that scores the large batch" if batched else "scoring one example"
    clock = "CPU time of the calling thread" if name.endswith("_cpu") else "time"
    words = {"torch": "torch (networks)", "python": "Python (estimators)"}
    where = next((text for runtime, text in words.items() if runtime in name), "ONNX Runtime")
    return f"median {clock} of {what}, in {where}"


def _doubts_of(record: Record, name: str) -> list[str]:
    if (latency := record.cost.timed(name)) is None:
        return []
    if latency.rounds:
        threads = record.provenance.threads or 1
        cpu = name.endswith("_cpu")
        return [*(latency.cpu_doubts() if cpu else latency.wall_doubts(threads=threads))]
    return [w.removeprefix(NOT_STEADY) for w in record.warnings if w.startswith(NOT_STEADY)]


def _in_onnx_runtime(name: str) -> bool:
    # a network has no time of an estimator's code, and an estimator none in torch
    return name.removesuffix("_cpu") in {"latency", "batch_latency"}


def _reasons(name: str) -> Callable[[Record], list[str]]:
    """Return a function that says why a record has no value in a column of ONNX Runtime."""

    def of_record(record: Record) -> list[str]:
        cost = record.cost
        too_slow = name.startswith("batch_") and cost.large_batch is None
        if not cost.latencies or too_slow or cost.milliseconds(name) is not None:
            return []
        timed = {each.runtime for each in cost.latencies}
        if "onnxruntime" in timed:
            return ["an older hepbench did not measure it"]
        reason = cost.reason("onnxruntime") or "an older hepbench did not export estimators"
        if f"export: {reason}" in record.warnings:
            reason = "the ONNX export failed"
        where = "torch" if "torch" in timed else "Python"
        return [f"{reason}; the column latency_{where.lower()} has the time in {where}"]

    return of_record


SOME = " (some seeds)"


def _of_seeds(found: Sequence[Sequence[str]]) -> list[str]:
    """Return each different text once, with a remark if it is not about all seeds."""
    seen = dict.fromkeys(each for texts in found for each in texts)
    return [each if all(each in texts for texts in found) else f"{each}{SOME}" for each in seen]
