"""A worker: a process of its own for the stages of one job."""

from __future__ import annotations

import errno
import faulthandler
import fcntl
import json
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepbench import cache, locks, machine
from hepbench.errors import HepbenchError
from hepbench.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from multiprocessing.connection import Connection

TELL_SECONDS = 0.2

PR_SET_CHILD_SUBREAPER = 36

# a disk or a quota that is full, a file that may not grow or be written: the user's to mend
USERS = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES}


def main(job: Mapping[str, Any], connection: Connection) -> None:
    """Run the stages of a job in order, telling the parent of each; exit 1 at the first failure."""
    os.setpgid(0, 0)
    _die_with_parent()
    _redirect(Path(job["log"]))
    faulthandler.enable()
    # macOS has no limit that holds
    if job["memory"] and sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (job["memory"], job["memory"]))
    os.chdir(job["scratch"])
    _adopt()
    with locks.machine(alone=job["exclusive"]):
        for stage in job["stages"]:
            _tell(connection, "started", stage["key"])
            try:
                _run(stage, Path(job["scratch"]), connection)
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is one cell's failure
                _tell(connection, "failed", stage["key"], **_explain(error, job["memory"]))
                _end_children()
                sys.exit(1)
            _tell(connection, "done", stage["key"])
        # before the machine is given back: others may want to be alone on it
        _end_children()


@dataclass(frozen=True)
class Place:
    """Where a stage works.

    Attributes:
        parents: the finished folders that it stands on.
        folder: where it writes; renamed into the cache when it has returned.
        tell: takes a few words on how far it is; calls in quick succession are dropped.
    """

    parents: Sequence[Path]
    folder: Path
    tell: Callable[[str], None]


def _run(stage: Mapping[str, Any], scratch: Path, connection: Connection) -> None:
    told = 0.0

    def tell(progress: str) -> None:
        nonlocal told
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            _tell(connection, "working", stage["key"], progress=progress)

    folder = scratch / stage["key"]
    folder.mkdir()
    place = Place([Path(parent) for parent in stage["parents"]], folder, tell)
    began = time.perf_counter()
    facts = resolve(stage["run"])(stage["task"], place)
    took = time.perf_counter() - began
    cache.finish(folder, Path(stage["folder"]), {**facts, "took_seconds": took})


def _tell(connection: Connection, event: str, key: str, **facts: Any) -> None:
    # JSON, not pickle: a worker runs code of plugins
    connection.send_bytes(json.dumps({"event": event, "key": key, **facts}).encode())


def _explain(error: BaseException, memory: int) -> dict[str, Any]:
    message = str(error).strip() or type(error).__name__
    users = isinstance(error, HepbenchError)
    if isinstance(error, OSError) and error.errno in USERS:
        users = True
    if isinstance(error, MemoryError):
        limit = f"; the limit is {memory / 1e9:.1f} GB (--memory)" if memory else ""
        message = f"out of memory{limit}"
    return {
        "type": type(error).__name__,
        "message": " ".join(message.split()),
        "traceback": "" if users else "".join(traceback.format_exception(error)),
        "users": users,
    }


def _die_with_parent() -> None:
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


def _adopt() -> None:
    """Have the kernel make this process the parent of whatever its children leave behind (Linux)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_children() -> None:
    """Kill what a plugin has started and left running, in whatever session or group."""
    # those of a child become ours when it has ended
    while children := machine.children():
        for child in children:
            os.kill(child, signal.SIGKILL)
            # not reaped: whoever started it may still ask
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)


def _redirect(log: Path) -> None:
    """Send what a plugin prints to a file: the parent's output is not its to write."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
