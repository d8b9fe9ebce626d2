"""Isolation of a worker: it dies with its parent, and its children die with it."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import sys
from typing import TYPE_CHECKING

from hepbench.storage import machine

if TYPE_CHECKING:
    from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def die_with_parent() -> None:
    """Have the kernel kill this process, and its children, when the main process is gone.

    The parent of a worker is the fork server, so a parent-death signal would not notice. The
    main process holds the other end of a pipe: its end is signalled even to code that never
    returns to Python.
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
        _watch(pipe)
    if not parent.is_alive():
        os.killpg(0, signal.SIGKILL)


def _watch(pipe: int) -> None:
    """Where the kernel offers no such signal, a thread waits for the pipe to end."""
    import select
    from threading import Thread

    def wait() -> None:
        select.select([pipe], [], [])
        os.killpg(0, signal.SIGKILL)

    Thread(target=wait, daemon=True).start()


def adopt() -> None:
    """Have the kernel make this process the parent of whatever its children leave behind (Linux)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_children() -> None:
    """Kill what a plugin has started and left running, in whatever session or group."""
    # those of a child become ours when it has ended
    while children := machine.children():
        for child in children:
            os.kill(child, signal.SIGKILL)
            # not reaped: whoever started it may still ask
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)


def redirect(log: Path) -> None:
    """Send what a plugin prints to a file: the parent's output is not its to write."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
