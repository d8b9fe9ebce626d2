"""Executors: the limits of a run, and the outcome of each stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a run may use; ``timeout`` in seconds a stage, ``memory`` in bytes a process."""

    jobs: int = 1
    threads: int = 1
    timeout: float | None = None
    memory: int = 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a stage.

    Attributes:
        progress: how far it is, where it says so.
        cause: key of the stage that failed, where it was another; then the rest is said of that.
        users: the user can mend it (bad data, a full disk); the command line then exits 2.
    """

    key: str
    status: Literal["started", "working", "ok", "failed", "timeout"] = "ok"
    progress: str = ""
    cause: str = ""
    type: str = ""
    message: str = ""
    traceback: str = ""
    stderr: str = ""
    user_error: bool = False
