"""A worker: a process of its own for the stages of one job."""

from __future__ import annotations

import errno
import faulthandler
import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepbench.registry.resolve import resolve
from hepbench.running.isolation import adopt, die_with_parent, end_children, redirect
from hepbench.specs.errors import HepbenchError
from hepbench.specs.renamed import explained
from hepbench.storage import locks, stage_cache
from hepbench.storage.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.connection import Connection


TELL_SECONDS = 0.2


# a disk or a quota that is full, a file that may not grow or be written: the user's to mend
USER_ERRORS = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES}


def main(job: Mapping[str, Any], connection: Connection) -> None:
    """Run the stages of a job in order, telling the parent of each; exit 1 at the first failure."""
    os.setpgid(0, 0)
    die_with_parent()
    redirect(Path(job["log"]))
    faulthandler.enable()
    # macOS has no limit that holds
    if job["memory"] and sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (job["memory"], job["memory"]))
    os.chdir(job["scratch"])
    adopt()
    with locks.machine(alone=job["exclusive"]):
        for stage in job["stages"]:
            _tell(connection, "started", stage["key"])
            try:
                _run(stage, Path(job["scratch"]), connection)
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is one cell's failure
                _tell(connection, "failed", stage["key"], **_explain(error, job["memory"]))
                end_children()
                sys.exit(1)
            _tell(connection, "done", stage["key"])
        # before the machine is given back: others may want to be alone on it
        end_children()


def _run(stage: Mapping[str, Any], scratch: Path, connection: Connection) -> None:
    told = 0.0

    def report_progress(progress: str) -> None:
        nonlocal told
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            _tell(connection, "working", stage["key"], progress=progress)

    folder = scratch / stage["key"]
    folder.mkdir()
    workspace = Workspace([Path(parent) for parent in stage["parents"]], folder, report_progress)
    began = time.perf_counter()
    facts = resolve(stage["run"])(stage["task"], workspace)
    took = time.perf_counter() - began
    stage_cache.finish(folder, Path(stage["folder"]), {**facts, "took_seconds": took})


def _tell(connection: Connection, event: str, key: str, **facts: Any) -> None:
    # JSON, not pickle: a worker runs code of plugins
    connection.send_bytes(json.dumps({"event": event, "key": key, **facts}).encode())


def _explain(error: BaseException, memory: int) -> dict[str, Any]:
    message = explained(error) or str(error).strip() or type(error).__name__
    user_error = isinstance(error, HepbenchError)
    if isinstance(error, OSError) and error.errno in USER_ERRORS:
        user_error = True
    if isinstance(error, MemoryError):
        limit = f"; the limit is {memory / 1e9:.1f} GB (--memory)" if memory else ""
        message = f"out of memory{limit}"
    return {
        "type": type(error).__name__,
        "message": " ".join(message.split()),
        "traceback": "" if user_error else "".join(traceback.format_exception(error)),
        "user_error": user_error,
    }
