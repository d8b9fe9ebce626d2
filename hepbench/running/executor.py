"""Executors: what runs the stages of a plan, its limits, and the outcome of each stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hepbench.planning.stages import Stage


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a run may use; ``timeout`` in seconds a stage, ``memory`` in bytes a worker."""

    jobs: int = 1
    threads: int = 1
    timeout: float | None = None
    memory: int = 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What happened to a stage.

    Attributes:
        progress: how far it is, in a few words.
        cause: key of the stage that failed, if it is another; the other fields describe that one.
        user_error: the user can mend it (bad data, a full disk); the command line then exits 2.
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


class Executor(Protocol):
    """Runs stages that are missing from the cache: ``local.LocalExecutor`` on this machine."""

    def execute(
        self, stages: Mapping[str, Stage], *, while_waiting: Callable[[], None]
    ) -> Iterator[Outcome]:
        """Run stages, parents first, and yield an outcome as each starts, reports and ends.

        A failed stage fails those that depend on it; all others still run.

        Args:
            stages: by key.
            while_waiting: called often, for work in the main process.

        Raises:
            ResultsError: the cache cannot be written.
        """
        ...
