"""``hepbench verify --rerun``: run recorded cells again without the cache, and compare results."""

from __future__ import annotations

import random
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepbench.cli import changes, streams, verbs
from hepbench.running import reproducing, session
from hepbench.specs.errors import HepbenchError, UsageError
from hepbench.specs.text import one_line, several
from hepbench.storage.results import ResultsFolder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepbench.planning.matrix import Choice
    from hepbench.planning.plan import Cell
    from hepbench.running.session import LocalOptions, Session
    from hepbench.storage.records import Record


def rerun(
    results: Path,
    number: int,
    names: Sequence[str],
    data: Path | None,
    *,
    run: str | None = None,
) -> int:
    """Run named and randomly drawn cells again; print the results, and mark records that differ.

    Records in a packed file are not marked. ``run``: only cells that this run recorded.

    Returns:
        The exit code: 1 if a cell differs or could not be run.

    Raises:
        UsageError: no record has one of the names.
        DataError: the folder of original files does not exist.
    """
    session.data_folder(data)
    store = ResultsFolder(results)
    good = [record for record in store.records(run) if record.status == "ok"]
    named = [changes.last_record(name, good) for name in names]
    others = [record for record in good if record not in named]
    wrong = 0
    for record in [*named, *random.sample(others, min(number, len(others)))]:
        line, differs = _compare(record, store, data)
        wrong += differs
        streams.write_line(f"{record.cell} ({record.key[:10]}): {line}")
    return 1 if wrong else 0


def _compare(record: Record, store: ResultsFolder, data: Path | None) -> tuple[str, bool]:
    """Run a recorded cell again; return a line about it, and whether it failed or differs."""
    try:
        again = _run_again(record, data)
    except HepbenchError as error:
        return f"not run again: {one_line(str(error))}", True
    if again is None:
        return (
            "not run again: its key, or a file or version it used, has changed; see 'hepbench why'",
            True,
        )
    if again.error is not None:
        return one_line(f"fails when run again: {again.error.type}: {again.error.message}"), True
    changed = reproducing.changes(record, again)
    if not changed:
        return "the same when run again", False
    if not store.root.is_file():
        store.rewrite(reproducing.marked(record, changed))
    return "; ".join([f"differs when run again: {changed[0]}", *_more_changes(changed)]), True


def _more_changes(changed: Sequence[str]) -> list[str]:
    return [f"{several(len(changed) - 1, 'more value')} changed"] if len(changed) > 1 else []


def _run_again(record: Record, data: Path | None) -> Record | None:
    """Run a recorded cell again in an empty cache, and return the record.

    Return None if the cell's key, or a file or version that it used, has changed."""
    opened = _planned(record, data)
    cells = [cell for cell in opened.plan.cells if cell.key == record.key]
    # records of older versions do not say what they used
    if not cells or (record.used and not opened.validity.holds_for(record)):
        return None
    # beside the cache: it has room, and paths that are short enough
    session.cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rerun-", dir=session.cache_folder()) as folder:
        return _record(opened, cells, Path(folder))


def _record(opened: Session, cells: list[Cell], folder: Path) -> Record:
    from hepbench.storage.stage_cache import StageCache

    empty = replace(opened, cache=StageCache(folder / "cache"))
    limits: dict[str, Any] = {"jobs": None, "timeout": None, "memory": None}
    empty.cache.check()
    runner = verbs.run_cells(
        empty, ResultsFolder(folder / "results"), limits, cells, name="", quiet=False, replaced={}
    )
    return runner.finished[cells[0].key]


def _planned(record: Record, data: Path | None) -> Session:
    """Return the plan with the cell of a record, which ``--set`` may have given parameters.

    Raises:
        HepbenchError: the suite has no such cell, with or without ``--set``.
    """
    options = _options_of_record(record, data)
    try:
        return verbs.open_suite_of(record, _choice(record), options)
    except UsageError:
        labels = (record.dataset, record.model, record.chain)
        if not any("[" in label for label in labels):
            raise
        return verbs.open_suite_of(record, _choice_with_set(record), options)


def _choice(record: Record) -> Choice:
    """Return the command's options that select the cell of a record."""
    from hepbench.planning.matrix import Choice

    return Choice(
        datasets=[record.dataset],
        models=[record.model],
        methods=[record.chain],
        seeds=record.seed + 1,
        preset=record.preset,
    )


def _choice_with_set(record: Record) -> Choice:
    """Return the options that select the cell of a record, its parameters in brackets as ``--set``."""
    from hepbench.planning.settings import written
    from hepbench.specs.references import chain, reference

    dataset, model, steps = reference(record.dataset), reference(record.model), chain(record.chain)
    given = [("dataset", dataset), ("model", model), *((step.name, step) for step in steps)]
    return replace(
        _choice(record),
        datasets=[dataset.name],
        models=[model.name],
        methods=["+".join(step.name for step in steps)],
        overrides=[f"{n}.{k}={written(v)}" for n, ref in given for k, v in ref.params.items()],
    )


def _options_of_record(record: Record, data: Path | None) -> LocalOptions:
    """Return data folder, source, threads and device with which a record was made."""
    made = record.provenance
    source = record.data.source if record.data else ""
    return session.LocalOptions(
        data=data,
        source="sample" if source == "sample" else "auto",
        threads=made.threads or 1,
        device=made.device.kind or "cpu",
    )
