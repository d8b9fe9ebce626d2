"""The verbs of the command line: run, plan, table, plot, verify, why, check."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hepbench.cli import streams, tabulating
from hepbench.data import finding
from hepbench.planning.suite_file import ALL_MODELS
from hepbench.running import session
from hepbench.specs.errors import UsageError
from hepbench.specs.text import duration, enumerated, one_line, several
from hepbench.storage import locks
from hepbench.storage.records import ORIGINS
from hepbench.storage.results import Results, ResultsFolder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from hepbench.planning.matrix import Choice
    from hepbench.planning.plan import Cell
    from hepbench.planning.stages import Stage
    from hepbench.running.executor import Limits
    from hepbench.running.recording import Recorder
    from hepbench.running.runner import Runner
    from hepbench.running.session import LocalOptions, Session
    from hepbench.storage.records import Record


def run_all(
    *,
    suites: Sequence[str],
    choice: Choice,
    local: LocalOptions,
    as_json: bool,
    **given: Any,
) -> int:
    """Run suites one after another, and return the largest of their exit codes.

    All are planned before the first one runs, so that a mistake in the last one costs no night.
    """
    names = list(dict.fromkeys(suites))
    if len(names) < 2:
        return run(
            suite=names[0] if names else None, choice=choice, local=local, as_json=as_json, **given
        )
    if as_json:
        msg = (
            f"--json prints the summary of one suite; {len(names)} were given: run them one by one"
        )
        raise UsageError(msg)
    for name in names:
        session.open_session(session.suite_name(name, choice), choice, local)
    return max(
        run(suite=name, choice=choice, local=local, as_json=False, **given) for name in names
    )


def run(
    *,
    suite: str | None,
    choice: Choice,
    local: LocalOptions,
    results: Path,
    name: str,
    fresh: bool,
    quiet: bool,
    as_json: bool,
    **limits: Any,
) -> int:
    """Run the cells of a suite that lack a valid record, print its table, return the exit code."""
    session.check_positive(**limits)
    _check_run_name(name)
    opened = _open_with_warnings(session.suite_name(suite, choice), choice, local)
    store, recorded = _open_results(results, opened)
    records = _of_cells(opened, recorded)
    current = {k: r for k, r in records.items() if r and _is_current(r, opened)}
    todo = [cell for cell in opened.plan.cells if fresh or cell.key not in current]
    opened.environment.digests.save()
    # also if nothing is left to do: a run may have been killed after its last record
    opened.cache.sweep()
    user_error = False
    if todo:
        store.check()
        opened.cache.check()
        locks.check()
        if fresh:
            _remove_cached(opened, todo)
        runner = run_cells(opened, store, limits, todo, name=name, quiet=quiet, replaced=current)
        records |= runner.finished
        user_error = runner.user_error
        # other runs may have added some meanwhile, and damaged ones may have been replaced
        store, recorded = _open_results(results, opened)
    shown = [record for record in records.values() if record is not None]
    failed = sum(record.status != "ok" for record in shown)
    if as_json:
        streams.write(_summary(opened, store, shown, len(todo)))
    else:
        streams.write(_table_of_run(shown, opened, store, recorded))
        streams.write(_closing_lines(opened, store, len(todo), failed))
        if name:
            streams.write(_other_runs(shown, name))
    return 2 if user_error else 1 if failed else 0


def _open_results(results: Path, opened: Session) -> tuple[ResultsFolder, list[Record]]:
    """Open results, which need not exist yet, and read the records of a plan's suite."""
    store = ResultsFolder(results)
    return store, store.suite_records(opened.plan.suite.name) if results.is_dir() else []


def _of_cells(opened: Session, recorded: Iterable[Record]) -> dict[str, Record | None]:
    """Return the good record of each cell of a plan, by its key; None where there is none."""
    good = {record.key: record for record in recorded if record.status == "ok"}
    return {cell.key: good.get(cell.key) for cell in opened.plan.cells}


def _table_of_run(
    records: Sequence[Record],
    opened: Session,
    store: ResultsFolder,
    everything: Sequence[Record],
) -> str:
    """Return the table of a run; it ends with the verdict, so that this is on the screen.

    A warning is written for each file that was skipped among the records of the suite.
    """
    from hepbench.tables.request import Request

    tabulating.warn_of_skipped(store)
    request = Request(width=tabulating.terminal_width(asked=False), verdict_last=True)
    return tabulating.tabulate(
        records, opened.registry, results=store, everything=everything, request=request
    )


LONGEST_NAME = 100


def _check_run_name(name: str) -> None:
    if not name.isprintable() or len(name) > LONGEST_NAME or name != name.strip():
        msg = (
            f"--name {name[:40]!r}: at most {LONGEST_NAME} printable characters are allowed, "
            "without spaces around them"
        )
        raise UsageError(msg)


def _other_runs(records: Iterable[Record], name: str) -> str:
    """Return a line about cells that earlier runs recorded, or ""."""
    others = [record.run for record in records if record.run != name]
    if not others:
        return ""
    runs = ", ".join(sorted(set(others)))
    return f"Records of earlier runs were kept for {several(len(others), 'cell')}: {runs}\n"


def _is_current(record: Record | None, opened: Session) -> bool:
    """Return whether a record is valid: no failure, and all that its stages used is unchanged."""
    return record is not None and record.status == "ok" and opened.validity.holds_for(record)


def run_cells(
    opened: Session,
    store: ResultsFolder,
    limits: Mapping[str, Any],
    todo: list[Cell],
    *,
    name: str,
    quiet: bool,
    replaced: Mapping[str, Record],
) -> Runner:
    """Run cells of a plan, and return the runner with their records.

    Args:
        limits: ``jobs``, ``timeout`` and ``memory``; None: the default.
        name: of the run.
        replaced: records that new ones replace and are compared with, by key.
    """
    from hepbench.running import progress
    from hepbench.running.local import LocalExecutor
    from hepbench.running.runner import Runner
    from hepbench.running.stage_times import FILE, StageTimes

    limit = _worker_limits(limits, opened.environment.threads)
    with progress.shown(len(todo), quiet=quiet) as display:
        runner = Runner(
            plan=opened.plan,
            registry=opened.registry,
            cache=opened.cache,
            results=store,
            executor=LocalExecutor(opened.cache, limit, opened.validity),
            recorder=_recorder(opened, store, name),
            progress=display,
            times=StageTimes(opened.cache.root / FILE),
            jobs=limit.jobs,
            replaced=replaced,
        )
        runner.run(todo)
    return runner


def _recorder(opened: Session, store: ResultsFolder, name: str) -> Recorder:
    from hepbench.running.recording import Recorder

    return Recorder(
        plan=opened.plan,
        environment=opened.environment,
        cache=opened.cache,
        results=store,
        validity=opened.validity,
        threads=opened.environment.threads,
        name=name,
    )


def _worker_limits(limits: Mapping[str, Any], threads: int) -> Limits:
    from hepbench.running.executor import Limits

    jobs = limits["jobs"] or session.default_jobs(threads)
    memory = int(limits["memory"] * 1e9) if limits["memory"] else session.default_memory(jobs)
    return Limits(jobs=jobs, threads=threads, timeout=limits["timeout"], memory=memory)


def _remove_cached(opened: Session, todo: Sequence[Cell]) -> None:
    """Remove all stages of cells from the cache, for ``run --fresh``."""
    from hepbench.planning.plan import lineage

    stages = opened.plan.stages
    for key in {key for cell in todo for need in cell.needs for key in lineage(stages, need)}:
        opened.cache.remove(key)


def _closing_lines(opened: Session, store: ResultsFolder, done: int, failed: int) -> str:
    plan = opened.plan
    cells, suite = len(plan.cells), plan.suite.name
    counts = f"{cells - done} cached, {done - failed} done, {failed} failed"
    lines = [f"{several(cells, 'cell')}: {counts}."]
    if plan.misfits:
        lines.append(
            f"{several(len(plan.misfits), 'combination')} left out; see hepbench plan {suite}"
        )
    lines.append(_origins_line(opened))
    lines.append(f"Records: {store.root / suite}")
    if failed:
        lines.append("The next run tries failed cells again; their records hold the error.")
    root = "" if str(store.root) == "results" else f" {store.root}"
    lines.append(f"Next: hepbench table{root} --format latex, or hepbench verify{root}")
    return "\n" + "\n".join(lines) + "\n"


def _origins_line(opened: Session) -> str:
    """Return a line that says which datasets of a run were read from which kind of files."""
    names: dict[str, list[str]] = {}
    for entry in opened.plan.datasets:
        source = ORIGINS[opened.environment.found(entry).source]
        names.setdefault(source, []).append(entry.spec.name)
    line = "Data: " + "; ".join(f"{source}: {', '.join(some)}" for source, some in names.items())
    return f"{line} (no result on the original)" if ORIGINS["sample"] in names else line


def _summary(opened: Session, store: ResultsFolder, records: Sequence[Record], done: int) -> str:
    plan, found = opened.plan, opened.environment.found
    failed = [r.cell for r in records if r.status != "ok"]
    summary = {
        "suite": plan.suite.name,
        "results": str(store.root),
        "cells": len(plan.cells),
        "cached": len(plan.cells) - done,
        "failed": failed,
        "data": {entry.spec.name: found(entry).source for entry in plan.datasets},
        "records": [{"cell": r.cell, "key": r.key, "status": r.status} for r in records],
    }
    return json.dumps(summary, indent=1) + "\n"


def plan(*, suite: str | None, choice: Choice, local: LocalOptions, results: Path) -> str:
    """Return the text of ``plan``: what a run would do."""
    from hepbench.running import grouping

    opened = _open_with_warnings(session.suite_name(suite, choice), choice, local)
    made, (_, recorded) = opened.plan, _open_results(results, opened)
    known = _of_cells(opened, recorded)
    todo = [cell for cell in made.cells if not _is_current(known[cell.key], opened)]
    unrecorded = {cell.key for cell in todo}
    wanted = [key for cell in todo for key in cell.needs]
    missing = grouping.missing(made.stages, wanted, opened.cache.find_valid)
    lines = [f"suite {made.suite.name}, preset {made.preset}: {made.suite.summary}".rstrip(": ")]
    lines.append(
        f"{several(len(made.cells), 'cell')}, {len(made.cells) - len(todo)} of them recorded"
    )
    for cell in made.cells:
        found = opened.environment.found(cell.combination.dataset)
        state = "to do" if cell.key in unrecorded else "recorded"
        lines.append(f"  {cell.name}  {cell.key[:10]}  {state}, {ORIGINS[found.source]}")
    lines.append(
        f"{several(len(made.stages), 'stage')}, {len(missing)} of them to run"
        f"{_expected_time(opened, missing, local.threads)}"
    )
    for stage in made.stages.values():
        cells = several(len(made.waiting.get(stage.key, [])), "cell")
        state = _state(stage, missing, opened)
        lines.append(f"  {stage.name}  {stage.key[:10]}  {state}, for {cells}")
    if made.misfits:
        lines.append(f"{several(len(made.misfits), 'combination')} left out")
        lines += [f"  {'/'.join(m.labels)}: {m.reason}" for m in made.misfits]
    return "\n".join(lines)


def _state(stage: Stage, missing: Mapping[str, Stage], opened: Session) -> str:
    """Return whether a planned stage must run, and if not, why."""
    if stage.key in missing:
        return "to run"
    return "cached" if opened.cache.find_valid(stage.key) else "not needed"


def _expected_time(opened: Session, missing: Mapping[str, Stage], threads: int) -> str:
    """Return how long the missing stages of a plan will take, "" if that is not known."""
    from hepbench.running.stage_times import FILE, StageTimes

    jobs = session.default_jobs(threads)
    times = StageTimes(opened.cache.root / FILE)
    seconds = times.left(missing.values(), opened.plan.stages, jobs)
    if seconds is None:
        return ""
    return f", about {duration(seconds)} with {several(jobs, 'worker')}"


def _open_with_warnings(name: str, choice: Choice, local: LocalOptions) -> Session:
    """Open a session; write a warning where files or folders that are read by no dataset were meant."""
    opened = session.open_session(name, choice, local)
    for warning in (*_unknown_files(opened), *_unknown_folders(opened, local)):
        sys.stderr.write(f"hepbench: warning: {one_line(warning)}\n")
    return opened


def _unknown_files(opened: Session) -> Iterator[str]:
    """Yield a warning for each dataset of a session whose folder holds only unknown files."""
    for entry in opened.plan.datasets:
        found = opened.environment.found(entry)
        for warning in found.warnings if found.source == "sample" else ():
            yield f"{entry.spec.name}: {warning.removeprefix('file: ')}"


def _unknown_folders(opened: Session, local: LocalOptions) -> Iterator[str]:
    """Yield a warning of folders without a dataset's name, if original files were not found."""
    folder = session.data_folder(local.data)
    missed = [
        entry.spec.name
        for entry in opened.plan.datasets
        if entry.spec.files and opened.environment.found(entry).source == "sample"
    ]
    if folder is None or local.source == "sample" or not missed:
        return
    known = {entry.spec.name for entry in opened.registry.entries("dataset")}
    if others := sorted(set(finding.subfolders(folder)) - known):
        yield (
            f"{folder}: no dataset is named {enumerated(others)}; read from bundled samples: "
            f"{enumerated(missed)}"
        )


def plot(
    *,
    figure: str | None,
    results: Path | None,
    run: str | None,
    output: Path | None,
    caption: Path | None,
    everything: bool,
    **how: Any,
) -> Iterator[str]:
    """Draw a figure of results in a folder or packed file, or all; yield a line for each file."""
    from pathlib import Path

    from hepbench.plots import drawing, sheets, style

    if everything:
        # the only argument is then the results
        results = _only_results(figure, results)
        style.require_plotting()
    elif figure is None:
        msg = f"name a figure: {', '.join(drawing.FIGURES)}; or give --all"
        raise UsageError(msg)
    else:
        drawing.check_figure(figure, output)
        sheets.check_caption(caption)
    request = _plot_request(Results(results or Path("results")), run, how)
    if not everything:
        assert figure is not None
        yield from map(str, drawing.make(figure, request, output, caption=caption))
        return
    if caption is not None:
        msg = "--caption: with --all captions are written as captions.tex and captions.txt"
        raise UsageError(msg)
    yield from drawing.make_all(request, output or Path("figures"))


def _only_results(figure: str | None, results: Path | None) -> Path | None:
    """Return the results that ``plot --all`` was given as its first argument."""
    from pathlib import Path

    from hepbench.plots import drawing

    if results is not None or figure in drawing.FIGURES:
        msg = f"--all draws every figure: leave out {figure}"
        raise UsageError(msg)
    return None if figure is None else Path(figure)


def _plot_request(results: Results, run: str | None, how: Mapping[str, Any]) -> Any:
    from hepbench.plots.request import Request
    from hepbench.registry.plugins import installed

    registry = installed()
    return Request(
        results=results,
        records=tabulating.recorded(results, run),
        metrics=tabulating.metrics_of(registry),
        count_labels=tabulating.counting_labels(results, registry),
        **how,
    )


def verify(results: Path, run: str | None) -> tuple[str, int]:
    """Return the text of ``verify``, and the exit code."""
    from hepbench.evaluation import verify as verifying

    opened = Results(results)
    opened.files.check()
    lines, code = verifying.verify(opened, tabulating.recorded(opened, run))
    return "\n".join(lines), code


def data_plot(dataset: str, figures: Sequence[str], **how: Any) -> str:
    """Draw figures of a dataset, and return the paths of their files."""
    from hepbench.plots.datasets import drawing

    return "\n".join(map(str, drawing.make(dataset, figures, **how)))


def open_suite_of(
    record: Record, choice: Choice, local: LocalOptions, *, suite: str | None = None
) -> Session:
    """Return the plan of the suite that a record belongs to, or of another ``suite``.

    Raises:
        UsageError: the record's suite file is another suite now; or see ``session.open_session``.
    """
    name = suite or record.provenance.suite_file or record.suite
    if name == ALL_MODELS and not choice.datasets:
        choice = replace(choice, datasets=[record.dataset])
    opened = session.open_session(name, choice, local)
    if suite is None and opened.plan.suite.name != record.suite:
        msg = (
            f"{record.cell} is a cell of the suite {record.suite!r}, and {name} is the suite "
            f"{opened.plan.suite.name!r} here; go to the folder of its suite file"
        )
        raise UsageError(msg)
    return opened


def check(name: str, *, quick: bool) -> int:
    """Run the conformance tests of a plugin's spec, print the results, return the exit code."""
    from hepbench import testing

    results = testing.check(name, quick=quick)
    for result in results:
        reason = result.error or result.skipped
        word = "FAIL" if result.error else "skip" if result.skipped else "ok  "
        streams.write(f"{word}  {result.subject}: {result.claim}\n")
        if reason is not None:
            streams.write(f"      {reason}\n")
    failed = sum(result.error is not None for result in results)
    skipped = sum(result.skipped is not None for result in results)
    also = f", {skipped} skipped" if skipped else ""
    streams.write(f"{several(len(results), 'check')} of {name}, {failed} failed{also}\n")
    return 1 if failed else 0
