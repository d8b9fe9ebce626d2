"""Execution: stages that are missing from the cache are run in isolated processes.

Processes are forked from a clean server that has imported what the stages declare. A crash, a
hang or running out of memory costs one stage; its dependants fail with it, others go on.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hepbench.running import grouping, preload, worker
from hepbench.running.executor import Limits, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from multiprocessing.context import ForkServerProcess
    from pathlib import Path

    from hepbench.planning.stages import Stage
    from hepbench.storage.stage_cache import StageCache


POLL_SECONDS = 0.1


STDERR_KEPT = 4000


@dataclass
class _Job:
    """Stages that share a process, one after another."""

    stages: list[Stage]
    scratch: Path | None = None
    process: ForkServerProcess | None = None
    connection: Connection | None = None
    current: str = ""
    deadline: float | None = None
    retry_at: float = 0.0

    @property
    def keys(self) -> list[str]:
        return [stage.key for stage in self.stages]

    @property
    def outside(self) -> set[str]:
        return {p for stage in self.stages for p in stage.parents} - set(self.keys)

    @property
    def alone(self) -> bool:
        return any(stage.exclusive for stage in self.stages)


def execute(
    stages: Mapping[str, Stage], *, cache: StageCache, limits: Limits, alive: Callable[[], None]
) -> Iterator[Outcome]:
    """Run missing stages (parents first) and yield each as it starts and ends.

    Args:
        alive: called often, for whatever must be done meanwhile.

    Raises:
        ResultsError: the cache cannot be written.
    """
    if not stages:
        return
    executor = _Executor(stages, cache, limits)
    with executor.stopped():
        while executor.busy:
            yield from executor.step()
            alive()


@dataclass
class _Executor:
    stages: Mapping[str, Stage]
    cache: StageCache
    limits: Limits
    running: list[_Job] = field(default_factory=list)
    pending: deque[_Job] = field(default_factory=deque)
    failed: dict[str, Outcome] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)
    context: Any = None

    def __post_init__(self) -> None:
        self.pending.extend(_Job(group) for group in grouping.jobs(self.stages))
        self.left = set(self.stages)
        self.context = _server(self.stages.values(), self.limits)

    @property
    def busy(self) -> bool:
        return bool(self.running or self.pending)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Kill what still runs when the loop is left, however it is left."""
        try:
            yield
        finally:
            for job in list(self.running):
                self._kill(job)
                self._close(job)

    def step(self) -> Iterator[Outcome]:
        """Start what can start, wait a little, and tell what happened."""
        yield from self._start()
        if not self.running:
            # what is left is claimed by another run
            if self.pending:
                time.sleep(POLL_SECONDS)
            return
        ready = wait([w for job in self.running for w in self._signs(job)], POLL_SECONDS)
        for job in list(self.running):
            if any(sign in ready for sign in self._signs(job)):
                yield from self._hear(job)
            if job in self.running and job.deadline and time.monotonic() > job.deadline:
                yield from self._time_out(job)

    def _signs(self, job: _Job) -> list[Any]:
        assert job.process is not None
        signs = [job.process.sentinel]
        return signs if job.connection is None else [job.connection, *signs]

    # --- starting

    def _start(self) -> Iterator[Outcome]:
        for job in list(self.pending):
            if len(self.running) >= self.limits.jobs:
                return
            if not self._can_start(job) or (job.alone and self._others_share()):
                continue
            self.pending.remove(job)
            yield from self._begin(job)

    def _can_start(self, job: _Job) -> bool:
        return job.retry_at <= time.monotonic() and not job.outside & self.left

    def _others_share(self) -> bool:
        """Whether something runs, or could, that shares the machine: what must be alone waits for
        it, for until it has ended all cores but one would be idle.
        """
        shares = (job for job in self.pending if not job.alone)
        return any(not job.alone for job in self.running) or any(map(self._can_start, shares))

    def _begin(self, job: _Job) -> Iterator[Outcome]:
        if not self.cache.claim(job.keys):
            job.retry_at = time.monotonic() + POLL_SECONDS
            self.pending.append(job)
            return
        # another run may have finished some of them since the plan was made
        there = [stage for stage in job.stages if self.cache.find(stage.key)]
        self.cache.release(stage.key for stage in there)
        job.stages = [stage for stage in job.stages if stage not in there]
        for stage in there:
            self.left.discard(stage.key)
            yield Outcome(key=stage.key)
        if any(parent in self.failed for parent in job.outside):
            self.cache.release(job.keys)
            yield from self._without(job)
        elif job.stages:
            self._fork(job)

    def _fork(self, job: _Job) -> None:
        job.scratch = self.cache.scratch()
        job.connection, theirs = self.context.Pipe(duplex=False)
        order = {
            "stages": [self._order(stage) for stage in job.stages],
            "exclusive": job.alone,
            "memory": self.limits.memory,
            "scratch": str(job.scratch),
            "log": str(job.scratch / "log"),
        }
        job.process = self.context.Process(target=worker.main, args=(order, theirs), daemon=True)
        with _hidden_main():
            job.process.start()
        theirs.close()
        self.running.append(job)

    def _order(self, stage: Stage) -> dict[str, Any]:
        return {
            "key": stage.key,
            "run": stage.run,
            "task": stage.task,
            "parents": [str(self.cache.folder(parent)) for parent in stage.parents],
            "folder": str(self.cache.folder(stage.key)),
        }

    # --- ending

    def _hear(self, job: _Job) -> Iterator[Outcome]:
        try:
            while job in self.running and job.connection is not None and job.connection.poll():
                yield from self._message(job, json.loads(job.connection.recv_bytes()))
        except (EOFError, ConnectionError):
            job.connection = None
        assert job.process is not None
        if job in self.running and (job.connection is None or not job.process.is_alive()):
            job.process.join(5)
            yield from self._ended(job)

    def _message(self, job: _Job, message: dict[str, Any]) -> Iterator[Outcome]:
        event, key = message.pop("event"), message.pop("key")
        if event == "started":
            job.current = key
            job.deadline = time.monotonic() + self.limits.timeout if self.limits.timeout else None
            yield Outcome(key=key, status="started")
        elif event == "working":
            yield Outcome(key=key, status="working", progress=message["progress"])
        elif event == "done":
            self._done(job, key)
            yield Outcome(key=key)
        else:
            failure = Outcome(key=key, status="failed", stderr=_tail(job), **message)
            yield from self._fail(job, failure)

    def _done(self, job: _Job, key: str) -> None:
        job.stages = [stage for stage in job.stages if stage.key != key]
        self.left.discard(key)
        self.cache.release([key])

    def _ended(self, job: _Job) -> Iterator[Outcome]:
        """A process is gone without a word: it crashed, or all its stages are done."""
        if not job.stages:
            self._close(job)
            return
        assert job.process is not None
        key = job.current if job.current in job.keys else job.keys[0]
        type_, message = _death(job.process.exitcode)
        yield from self._fail(
            job,
            Outcome(key=key, status="failed", type=type_, message=message, stderr=_tail(job)),
        )

    def _time_out(self, job: _Job) -> Iterator[Outcome]:
        message = f"no end after {self.limits.timeout:g} s (--timeout)"
        self._kill(job)
        yield from self._fail(
            job,
            Outcome(
                key=job.current,
                status="timeout",
                type="Timeout",
                message=message,
                stderr=_tail(job),
            ),
        )

    def _fail(self, job: _Job, failure: Outcome) -> Iterator[Outcome]:
        self._kill(job)
        self._close(job)
        self.failed[failure.key] = failure
        self.left.discard(failure.key)
        yield failure
        job.stages = [stage for stage in job.stages if stage.key != failure.key]
        yield from self._without(job)

    def _without(self, job: _Job) -> Iterator[Outcome]:
        """Fail what cannot run any more; what still can is tried again."""
        rest = []
        for stage in job.stages:
            cause = next((self.failed[p] for p in stage.parents if p in self.failed), None)
            if cause is None:
                rest.append(stage)
                continue
            outcome = replace(cause, key=stage.key, cause=cause.cause or cause.key)
            self.failed[stage.key] = outcome
            self.left.discard(stage.key)
            yield outcome
        if rest:
            self.pending.appendleft(_Job(rest))

    def _kill(self, job: _Job) -> None:
        """Kill a worker and its children. An unreaped child keeps its number from reuse."""
        assert job.process is not None
        pid = job.process.pid
        if pid is not None:
            # a worker that has crashed may have left some
            kills = (os.killpg, os.kill) if job.process.is_alive() else (os.killpg,)
            for kill in kills:
                with suppress(ProcessLookupError, PermissionError):
                    kill(pid, signal.SIGKILL)
        job.process.join(5)

    def _close(self, job: _Job) -> None:
        if job in self.running:
            self.running.remove(job)
            self.cache.release(job.keys)
            if job.scratch is not None:
                shutil.rmtree(job.scratch, ignore_errors=True)
            if job.connection is not None:
                job.connection.close()


def _tail(job: _Job) -> str:
    """Return the end of what the worker wrote to stderr and stdout."""
    assert job.scratch is not None
    try:
        return (job.scratch / "log").read_text(errors="replace")[-STDERR_KEPT:]
    except OSError:
        return ""


def _death(code: int | None) -> tuple[str, str]:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return "Killed", f"killed by signal {-code} ({name}); out of memory is one reason"
    if code == 255:
        return "Died", "died without leaving a status"
    return "Exited", f"exited with code {code} in the middle of a stage"


def _server(stages: Iterable[Stage], limits: Limits) -> Any:
    """Return a context whose processes are forked from a server with the imports done."""
    imports = dict.fromkeys(module for stage in stages for module in stage.imports)
    # ast and zipfile are what numpy imports when it first reads an npy and writes an npz
    own = [
        "numpy.random",
        "ast",
        "zipfile",
        "hepbench.running.worker",
        "hepbench.training.method_stage",
        *(f"hepbench.data.{kind}_stage" for kind in ("read", "split", "inputs")),
    ]
    if any(module.startswith("sklearn") for module in imports):
        own.append("skops.io")
    os.environ[preload.VARIABLE] = ",".join([*own, *imports])
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = str(limits.threads)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hepbench.running.preload"])
    return context


@contextmanager
def _hidden_main() -> Iterator[None]:
    """Hide the main script, which every worker would otherwise import again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
