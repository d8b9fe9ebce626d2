"""Isolation of a worker process: it ends with the main process, and its children end with it."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import sys
import time
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker
from typing import TYPE_CHECKING, Any

from hepbench.storage import machine

if TYPE_CHECKING:
    from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def leave_server() -> None:
    """Close this worker's pipes to the fork server and its resource tracker.

    Plugins must not write to them. What a plugin starts itself gets a tracker of its own.
    """
    server: Any = forkserver._forkserver
    tracker: Any = resource_tracker._resource_tracker
    for descriptor in (server._forkserver_alive_fd, tracker._fd):
        if descriptor is not None:
            os.close(descriptor)
    server._forkserver_alive_fd = tracker._fd = None


def die_with_parent() -> None:
    """Let the kernel kill this worker and its children when the main process ends.

    A parent-death signal would not help: the parent of a worker is the fork server. Instead the
    worker shares a pipe with the main process, and the kernel sends a signal when that pipe
    closes, even while the worker runs code outside Python.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    pipe = parent.sentinel
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(pipe, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(pipe, fcntl.F_GETFL)
        fcntl.fcntl(pipe, fcntl.F_SETFL, flags | os.O_ASYNC)
    else:
        _kill_when_closed(pipe)
    if not parent.is_alive():
        os.killpg(0, signal.SIGKILL)


def _kill_when_closed(pipe: int) -> None:
    """Kill this worker from a thread when the pipe closes, for kernels that send no signal."""
    import select
    from threading import Thread

    def wait() -> None:
        select.select([pipe], [], [])
        os.killpg(0, signal.SIGKILL)

    Thread(target=wait, daemon=True).start()


def adopt() -> None:
    """Make this worker the parent of grandchildren whose own parent ends (Linux only)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_children() -> None:
    """Kill all processes that a plugin started in this worker and left running."""
    # in a loop, because children of a killed child become ours
    while children := machine.children():
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            # not os.waitpid: the plugin may still ask for the exit status
            while machine.is_running(child):
                time.sleep(0.001)


def redirect(log: Path) -> None:
    """Send what this worker prints to a log file: plugins must not write to the terminal."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
