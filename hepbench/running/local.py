"""The local executor runs stages in isolated worker processes on this machine.

A crash, a hang or running out of memory costs one stage; those that depend on it fail with it,
others go on.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

import msgspec

from hepbench.data.messages import ReadTask
from hepbench.registry.libraries import plugin_packages
from hepbench.registry.plugins import installed
from hepbench.running import grouping, interrupts, usage
from hepbench.running.executor import Limits, Outcome
from hepbench.running.messages import (
    Done,
    Failed,
    JobOrder,
    StageOrder,
    Started,
    Waiting,
    Working,
)
from hepbench.running.usage import UsageOrder
from hepbench.running.worker_process import WorkerProcess, server
from hepbench.specs.errors import ChangedError
from hepbench.storage.digest_cache import DIGESTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from multiprocessing.context import ForkServerContext

    from hepbench.planning.stages import Stage
    from hepbench.running.messages import Event
    from hepbench.running.validity import Validity
    from hepbench.storage.stage_cache import StageCache

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class LocalExecutor:
    """Runs stages in worker processes on this machine: see ``executor.Executor``."""

    cache: StageCache
    limits: Limits
    validity: Validity

    def execute(
        self, stages: Mapping[str, Stage], *, while_waiting: Callable[[], None]
    ) -> Iterator[Outcome]:
        """Run stages in worker processes on this machine, and yield their outcomes."""
        if not stages:
            return
        order = self._usage_order()
        execution = _Execution(
            cache=self.cache,
            limits=self.limits,
            validity=self.validity,
            context=server(stages.values(), self.limits.threads, order.plugin_tops),
            left=set(stages),
            usage=order,
        )
        execution.pending.extend(_Job(group) for group in grouping.jobs(stages))
        with execution.killing_workers_at_end():
            while execution.busy:
                yield from execution.step()
                while_waiting()

    def _usage_order(self) -> UsageOrder:
        plugins = installed().plugins
        return UsageOrder(
            digests=str(self.cache.root / DIGESTS),
            ignored=[f"{self.cache.root}/"],
            plugin_tops=plugin_packages(plugins),
            hooks=sorted({plugin.module for plugin in plugins}),
        )


@dataclass
class _Job:
    """The stages that one worker process runs, one after another.

    Attributes:
        current: key of the stage under way.
        deadline, retry_at: by the monotonic clock.
    """

    stages: list[Stage]
    worker: WorkerProcess | None = None
    current: str = ""
    deadline: float | None = None
    retry_at: float = 0.0

    @property
    def keys(self) -> list[str]:
        return [stage.key for stage in self.stages]

    @property
    def unfinished(self) -> str:
        """The key of the stage that is running, or of the next one between two stages."""
        return self.current if self.current in self.keys else self.keys[0]

    @property
    def needed_stages(self) -> set[str]:
        """The keys of stages of other jobs that this job depends on."""
        return {p for stage in self.stages for p in stage.parents} - set(self.keys)

    @property
    def exclusive(self) -> bool:
        return any(stage.exclusive for stage in self.stages)

    @property
    def running(self) -> WorkerProcess:
        assert self.worker is not None
        return self.worker


@dataclass(kw_only=True)
class _Execution:
    """The state of an executor while it runs stages: pending and running jobs, failures.

    Attributes:
        left: keys of all stages that have not ended.
        usage: what every worker needs to find what its stages used.
    """

    cache: StageCache
    limits: Limits
    validity: Validity
    context: ForkServerContext
    left: set[str]
    usage: UsageOrder
    running: list[_Job] = field(default_factory=list)
    pending: deque[_Job] = field(default_factory=deque)
    failed: dict[str, Outcome] = field(default_factory=dict)

    @property
    def busy(self) -> bool:
        return bool(self.running or self.pending)

    @contextmanager
    def killing_workers_at_end(self) -> Iterator[None]:
        """Kill all workers that still run when the body ends, also after an error."""
        try:
            yield
        finally:
            for job in list(self.running):
                job.running.kill()
                self._close(job)

    def step(self) -> Iterator[Outcome]:
        """Start the jobs that can start, wait a little, and yield outcomes of their stages."""
        yield from self._start_jobs()
        if not self.running:
            # another run has claimed what is left
            if self.pending:
                time.sleep(POLL_SECONDS)
            return
        ready = wait([sign for job in self.running for sign in job.running.signs], POLL_SECONDS)
        for job in list(self.running):
            if any(sign in ready for sign in job.running.signs):
                yield from self._receive(job)
            if job in self.running and job.deadline and time.monotonic() > job.deadline:
                yield from self._time_out(job)

    # --- starting

    def _start_jobs(self) -> Iterator[Outcome]:
        for job in list(self.pending):
            if len(self.running) >= self.limits.jobs:
                return
            if not self._can_start(job) or (job.exclusive and self._others_could_run()):
                continue
            self.pending.remove(job)
            yield from self._start(job)

    def _can_start(self, job: _Job) -> bool:
        return job.retry_at <= time.monotonic() and not job.needed_stages & self.left

    def _others_could_run(self) -> bool:
        """Return whether any job that is not exclusive is running or could start.

        An exclusive job waits for them: while the last of them ends, other cores would be idle.
        """
        shared = (job for job in self.pending if not job.exclusive)
        return any(not job.exclusive for job in self.running) or any(map(self._can_start, shared))

    def _start(self, job: _Job) -> Iterator[Outcome]:
        if not self.cache.claim(job.keys):
            job.retry_at = time.monotonic() + POLL_SECONDS
            self.pending.append(job)
            return
        # another run may have finished some of them since the plan was made
        there = [stage for stage in job.stages if self.cache.find_valid(stage.key)]
        self.cache.release(stage.key for stage in there)
        job.stages = [stage for stage in job.stages if stage not in there]
        for stage in there:
            self.left.discard(stage.key)
            yield Outcome(key=stage.key)
        if any(parent in self.failed for parent in job.needed_stages):
            self.cache.release(job.keys)
            yield from self._fail_dependants(job)
        elif job.stages:
            for stage in job.stages:
                # an entry that is there was made with other files or versions
                self.cache.remove(stage.key)
            # they wait until the worker has its order, since it would fail on half of one, and is
            # among those to be killed. The worker inherits this, and receives signals when it has
            # left the terminal's process group.
            with interrupts.held_back():
                job.worker = WorkerProcess.start(self.context, self._job_order(job))
                self.running.append(job)

    def _job_order(self, job: _Job) -> JobOrder:
        return JobOrder(
            stages=[_stage_order(stage, self.cache) for stage in job.stages],
            memory=self.limits.memory,
            scratch=str(self.cache.scratch()),
            usage=msgspec.structs.replace(
                self.usage, ignored=[*self.usage.ignored, *_data_files(job)]
            ),
        )

    # --- ending

    def _receive(self, job: _Job) -> Iterator[Outcome]:
        # asked first: a worker that ends now may still send an event before it does
        ended = job.running.has_ended()
        for event in job.running.events():
            yield from self._handle(job, event)
            if job not in self.running:
                return
        if ended or job.running.connection is None:
            yield from self._handle_end(job)

    def _handle(self, job: _Job, event: Event) -> Iterator[Outcome]:
        key = event.key
        if isinstance(event, Started):
            job.current = key
            job.deadline = time.monotonic() + self.limits.timeout if self.limits.timeout else None
            yield Outcome(key=key, status="started")
        elif isinstance(event, Waiting):
            # other runs may work for hours; the time limit counts anew when it goes on
            job.deadline = None
            yield Outcome(key=key, status="working", progress="waits for the machine")
        elif isinstance(event, Working):
            yield Outcome(key=key, status="working", progress=event.progress)
        elif isinstance(event, Done) and (
            label := self.validity.changed_in_run(self.cache.used(key))
        ):
            self.cache.remove(key)
            yield from self._fail(job, _changed_file_outcome(key, label))
        elif isinstance(event, Done):
            job.stages = [stage for stage in job.stages if stage.key != key]
            self.left.discard(key)
            self.cache.release([key])
            yield Outcome(key=key)
        else:
            yield from self._fail(job, _failure_outcome(event))

    def _handle_end(self, job: _Job) -> Iterator[Outcome]:
        """Close the job of a worker that ended; if stages are left, the worker crashed."""
        if not job.stages:
            self._close(job)
            return
        kind, message = job.running.death()
        failure = Outcome(key=job.unfinished, status="failed", type=kind, message=message)
        yield from self._fail(job, failure)

    def _time_out(self, job: _Job) -> Iterator[Outcome]:
        """Fail the running stage, which exceeds --timeout; kill its worker."""
        if not job.stages:
            job.running.kill()
            self._close(job)
            return
        message = f"the stage took longer than {self.limits.timeout:g} s (--timeout)"
        failure = Outcome(key=job.unfinished, status="timeout", type="Timeout", message=message)
        yield from self._fail(job, failure)

    def _fail(self, job: _Job, failure: Outcome) -> Iterator[Outcome]:
        job.running.kill()
        failure = replace(failure, stderr=job.running.log_tail())
        self._close(job)
        self.failed[failure.key] = failure
        self.left.discard(failure.key)
        yield failure
        job.stages = [stage for stage in job.stages if stage.key != failure.key]
        yield from self._fail_dependants(job)

    def _fail_dependants(self, job: _Job) -> Iterator[Outcome]:
        """Fail the stages of a job whose parents failed; put the others into a new job."""
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

    def _close(self, job: _Job) -> None:
        if job in self.running:
            self.running.remove(job)
            self.cache.release(job.keys)
            job.running.close()


def _data_files(job: _Job) -> list[str]:
    """Return the original data files that a job reads; stage keys hold their fingerprints."""
    return [file for s in job.stages if isinstance(s.task, ReadTask) for file in s.task.files]


def _stage_order(stage: Stage, cache: StageCache) -> StageOrder:
    return StageOrder(
        key=stage.key,
        run=stage.run,
        task=msgspec.Raw(msgspec.json.encode(stage.task)),
        parents=[str(cache.folder(parent)) for parent in stage.parents],
        folder=str(cache.folder(stage.key)),
        planned=stage.source_digests,
        files=stage.files,
    )


def _changed_file_outcome(key: str, label: str) -> Outcome:
    return Outcome(
        key=key,
        status="failed",
        type=ChangedError.__name__,
        message=usage.changed(label),
        user_error=True,
    )


def _failure_outcome(event: Failed) -> Outcome:
    return Outcome(
        key=event.key,
        status="failed",
        type=event.type,
        message=event.message,
        traceback=event.traceback,
        user_error=event.user_error,
    )
