"""Run the stages of a job one after another, and report their progress and end."""

from __future__ import annotations

import errno
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hepbench.registry.resolve import resolve
from hepbench.running import usage
from hepbench.running.messages import Done, Failed, Started, Working
from hepbench.running.shared_results import SharedResults
from hepbench.running.turns import Turns
from hepbench.specs.errors import HepbenchError, PluginError
from hepbench.specs.text import LONGEST_TEXT, encodable, error_text
from hepbench.storage import durable, stage_cache
from hepbench.storage.workspace import Workspace, decode_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from hepbench.running.messages import Event, JobOrder, StageOrder
    from hepbench.running.trace import Trace
    from hepbench.storage.locks import Machine

REPORT_SECONDS = 0.2

USER_ERRORS = durable.DISK_ERRORS | {errno.EACCES}
"""Error numbers that users can act on: a full or broken disk, a file without permission."""


def run_job(job: JobOrder, trace: Trace, machine: Machine, report: Callable[[Event], None]) -> bool:
    """Run the stages of a job until one fails; return whether all are done.

    Args:
        job: the stages.
        trace: of this process.
        machine: the lock on it, which this process holds.
        report: called with each event, in the order in which they happen.
    """
    for stage in job.stages:
        report(Started(stage.key))
        try:
            run_stage(stage, job, trace, Turns(stage.key, machine, report))
        except BaseException as error:  # noqa: BLE001 - whatever a plugin raises, one stage fails
            report(failure(stage.key, error, job.memory, cache=job.cache))
            return False
        report(Done(stage.key))
    return True


def run_stage(stage: StageOrder, job: JobOrder, trace: Trace, turns: Turns) -> None:
    """Run one stage in a scratch folder, and move it into the cache when it is finished.

    Raises:
        PluginError: the function is no stage, or returned no message.
        ChangedError: a file that it used was changed meanwhile.
    """
    folder = Path(job.scratch) / stage.key
    folder.mkdir()
    function = resolve(stage.run)
    task = decode_task(function, stage.task)
    planned = _planned_digests(job)
    shared = SharedResults(stage, job, trace, turns, planned)
    workspace = Workspace(
        [Path(parent) for parent in stage.parents],
        folder,
        _throttled(stage.key, turns.report),
        alone=turns.alone,
        shared=shared,
    )
    trace.declare(stage.files)
    began = time.perf_counter()
    result = function(task, workspace)
    took = time.perf_counter() - began - turns.waited
    if not isinstance(result, msgspec.Struct):
        msg = f"stage function {stage.run} returned {type(result).__name__}; a Struct is expected"
        raise PluginError(msg)
    before = [stage_cache.used_in(parent) for parent in workspace.parents]
    used = usage.merged([*before, *shared.used, usage.used(trace, job.usage, planned)])
    stage_cache.finish(folder, Path(stage.folder), result, took_seconds=took, used=used)


def _planned_digests(job: JobOrder) -> dict[str, str]:
    """Return the planned source digests of all stages of a job, which share a process."""
    return {name: digest for stage in job.stages for name, digest in stage.planned.items()}


def _throttled(key: str, report: Callable[[Event], None]) -> Callable[[str], None]:
    """Return a function that reports progress of a stage and drops calls in quick succession."""
    reported = 0.0

    def report_progress(progress: str) -> None:
        nonlocal reported
        if time.monotonic() - reported > REPORT_SECONDS:
            reported = time.monotonic()
            report(Working(key, encodable(progress[:LONGEST_TEXT])))

    return report_progress


def failure(key: str, error: BaseException, memory: int, *, cache: str = "") -> Failed:
    """Return the event that reports the error of a failed stage.

    Args:
        key: of the stage.
        error: what was raised.
        memory: the limit in bytes, 0 for none.
        cache: folder that stages write into, named where the error of a disk names no file.
    """
    message = error_text(error)
    disk_error = isinstance(error, OSError) and error.errno in USER_ERRORS
    user_error = isinstance(error, HepbenchError) or disk_error
    if isinstance(error, OSError) and disk_error and error.filename is None and cache:
        message += f"; stages write into {cache}"
    if isinstance(error, MemoryError):
        limit = f"; the limit is {memory / 1e9:.1f} GB (--memory)" if memory else ""
        message = f"out of memory{limit}"
    trace = "" if user_error else "".join(traceback.format_exception(error))[:LONGEST_TEXT]
    return Failed(
        key=key,
        type=type(error).__name__,
        message=" ".join(message.split()),
        traceback=encodable(trace),
        user_error=user_error,
    )
