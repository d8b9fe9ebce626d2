"""The main function of a worker: an isolated process that runs the stages of one job."""

from __future__ import annotations

import faulthandler
import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hepbench.running import interrupts, messages
from hepbench.running.isolation import adopt, die_with_parent, end_children, leave_server, redirect
from hepbench.running.stage_runs import failure, run_job
from hepbench.running.trace import Trace
from hepbench.storage import locks

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


def main(order: bytes, connection: Connection) -> None:
    """Run the stages of a job in this worker and report events; exit 1 at the first failure."""
    os.setpgid(0, 0)
    # held back since before the fork: Ctrl-C in a terminal is for the main process alone
    interrupts.receive()
    job = messages.decode_order(order)
    die_with_parent()
    leave_server()

    def report(event: messages.Event) -> None:
        connection.send_bytes(messages.encode(event))

    try:
        job, trace = _isolate(job)
    except OSError as error:
        report(failure(job.stages[0].key, error, job.memory, cache=job.cache))
        sys.exit(1)
    with locks.machine() as machine:
        trace.install()
        done = run_job(job, trace, machine, report)
        # before the machine is released: others may wait to be alone on it
        end_children()
    if not done:
        sys.exit(1)


def _isolate(job: messages.JobOrder) -> tuple[messages.JobOrder, Trace]:
    """Set the log file, memory limit and working folder of this worker.

    Returns:
        The order with the limit that holds, and the trace of what this process uses.

    Raises:
        OSError: the folder cannot be written.
    """
    redirect(Path(job.log))
    faulthandler.enable()
    # macOS has no limit that holds
    if job.memory and sys.platform == "linux":
        job = msgspec.structs.replace(job, memory=_limit_memory(job.memory))
    os.chdir(job.scratch)
    adopt()
    return job, Trace(Path(job.scratch) / "opened", job.usage.plugin_tops)


def _limit_memory(size: int) -> int:
    """Limit the memory of this worker; return the limit in bytes, lower if the shell sets one."""
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    lowest = min([size, *(limit for limit in limits if limit != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_DATA, (lowest, lowest))
    return lowest
