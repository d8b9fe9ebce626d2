"""Workspaces: the folders that a stage reads and writes, and its type of task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import msgspec

Function = TypeVar("Function", bound="Callable[..., msgspec.Struct]")


@dataclass(frozen=True)
class Workspace:
    """The folders that a stage reads and writes, and a function to report progress.

    Attributes:
        parents: finished folders of the stages that it depends on.
        folder: where it writes; the folder moves into the cache when the stage has returned.
        report_progress: takes a short text; of calls in quick succession only some are shown.
    """

    parents: Sequence[Path]
    folder: Path
    report_progress: Callable[[str], None]


def stage(task: type[msgspec.Struct]) -> Callable[[Function], Function]:
    """Decorator: mark ``(task, workspace) -> result`` as a stage function for a type of task."""

    def mark(function: Function) -> Function:
        function.task_type = task  # type: ignore[attr-defined]
        return function

    return mark


def task_type(function: Any) -> type[msgspec.Struct]:
    """Return the type of task that a stage function was marked with."""
    found: type[msgspec.Struct] = function.task_type
    return found
