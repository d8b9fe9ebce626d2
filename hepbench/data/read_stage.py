"""The read stage: converts original files to stored arrays, once and in chunks.

Inputs are never in memory as a whole: at most what a reader yields at a time.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepbench.data.example_checks import ExampleChecker
from hepbench.data.messages import ReadResult, ReadTask
from hepbench.registry.resolve import resolve
from hepbench.specs.errors import DataError, DataWarning
from hepbench.storage import npy_files
from hepbench.storage.digest_cache import stamp
from hepbench.storage.workspace import stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hepbench.specs.training_data import Examples
    from hepbench.specs.types import Array
    from hepbench.storage.workspace import Workspace


@stage(ReadTask)
def read(task: ReadTask, workspace: Workspace) -> ReadResult:
    """Stage: convert a dataset's files, chunk by chunk, to stored arrays by role and name."""
    files: dict[str, npy_files.NpyWriter | npy_files.SparseImagesWriter] = {}
    counts: dict[str, int] = {}
    began = time.perf_counter()
    found_warnings: list[str] = []
    with ExitStack() as opened:
        for role, examples in read_chunks(task, found_warnings):
            for name, array in _named_columns(examples):
                path = f"{role}.{name}"
                if path not in files:
                    writer = npy_files.new_writer(workspace.folder, path, array)
                    files[path] = opened.enter_context(closing(writer))
                files[path].append(array)
            counts[role] = counts.get(role, 0) + len(examples)
            workspace.report_progress(how_far(task.files, sum(counts.values()), began))
    return ReadResult(counts, found_warnings)


def read_chunks(task: ReadTask, found_warnings: list[str]) -> Iterator[tuple[str, Examples]]:
    """Yield the chunks of a dataset's reader that hold examples, checked.

    Args:
        task: how to read.
        found_warnings: the reader's warnings about the files are appended to it.

    Raises:
        DataError: the files are damaged or have another layout, a field is not as it should be (see
            ``ExampleChecker``), no example is labelled, or a file was changed after its fingerprint
            was taken.
    """
    folder = [Path(task.folder)] if task.folder else []
    labelled = 0
    chunks = resolve(task.reader)(*folder, **task.params)
    checker = ExampleChecker(task.dataset, task.inputs, len(task.classes))
    for item in _collecting_warnings(task, chunks, found_warnings):
        role, examples = checker.checked(item)
        if not len(examples):
            continue
        labelled += len(examples) if role == "labelled" else 0
        yield role, examples
    if not labelled:
        msg = f"{task.dataset}: no labelled example was read"
        raise DataError(msg)
    for path, before in task.stamps.items():
        if _is_changed(Path(path), before):
            msg = f"{task.dataset}: {Path(path).name} was changed while it was read; run again"
            raise DataError(msg)


def _is_changed(path: Path, before: Sequence[int]) -> bool:
    try:
        return stamp(path) != list(before)
    except OSError:
        return True


def _collecting_warnings(
    task: ReadTask, given: Any, found_warnings: list[str]
) -> Iterator[tuple[str, Examples]]:
    """Yield what a dataset's reader yields, and collect its warnings about the files."""
    if not isinstance(given, Iterable):
        kind = type(given).__name__
        msg = f"{task.dataset}: {task.reader} returns {kind}; it must yield (role, Examples)"
        raise DataError(msg)
    waiting, end = iter(given), object()
    while True:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            item: Any = _next_item(task, waiting, end)
        for warning in caught:
            if issubclass(warning.category, DataWarning):
                found_warnings.append(f"data: {warning.message}")
            else:
                warnings.warn_explicit(
                    warning.message, warning.category, warning.filename, warning.lineno
                )
        if item is end:
            return
        yield item


def _next_item(task: ReadTask, waiting: Iterator[Any], end: object) -> Any:
    """Return what a dataset's reader yields next; its errors begin with the dataset's name."""
    try:
        return next(waiting, end)
    except DataError as error:
        if str(error).startswith(task.dataset):
            raise
        msg = f"{task.dataset}: {error}"
        raise DataError(msg) from error


def how_far(files: Sequence[str], rows: int, began: float) -> str:
    """Return a text on the progress of reading: percentage of bytes, number of examples."""
    text = f"{rows:,} examples, {rows / (time.perf_counter() - began):,.0f}/s"
    try:
        # the kernel counts the bytes that a reader asks for, whatever library it uses
        counted = int(Path("/proc/self/io").read_text().split()[1])
        total = sum(Path(file).stat().st_size for file in files)
    except (OSError, ValueError, IndexError):
        return text
    return f"{min(counted / total, 1):.0%}, {text}" if total else text


def _named_columns(examples: Examples) -> Iterator[tuple[str, Array]]:
    for name, array in examples.inputs.items():
        yield f"input.{name}", array
    for name, array in examples.spectators.items():
        yield f"spectator.{name}", array
    yield "ids", examples.ids
    if examples.labels is not None:
        yield "labels", examples.labels
    if examples.weights is not None:
        yield "weights", examples.weights
