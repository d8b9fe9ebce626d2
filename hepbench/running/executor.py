"""The interface of an executor, which runs the stages of a plan, with its limits and outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hepbench.planning.stages import Stage


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a run: ``timeout`` in seconds per stage, ``memory`` in bytes per worker."""

    jobs: int = 1
    threads: int = 1
    timeout: float | None = None
    memory: int = 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A change in the state of a stage: it started, reported progress, finished or failed.

    Attributes:
        progress: progress of the stage, in a few words.
        cause: key of the parent whose failure is the reason; the other fields describe the parent.
        user_error: the user can remove the cause (bad data, a full disk); exit status is then 2.
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
    """The interface for running stages that the cache lacks; see ``local.LocalExecutor``."""

    def execute(
        self, stages: Mapping[str, Stage], *, while_waiting: Callable[[], None]
    ) -> Iterator[Outcome]:
        """Run stages, parents first; yield an outcome when a stage starts, reports or ends.

        A failed stage fails those that depend on it; all others still run.

        Args:
            stages: by key.
            while_waiting: called often, for work in the main process.

        Raises:
            ResultsError: the cache cannot be written.
        """
        ...
