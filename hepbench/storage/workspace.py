"""Workspaces: where a stage reads and writes, and what its function is given."""

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
    """Where a stage works.

    Attributes:
        parents: finished folders of the stages that it depends on.
        folder: where it writes; it is renamed into the cache when the stage has returned.
        report_progress: takes a few words; calls in quick succession are dropped.
    """

    parents: Sequence[Path]
    folder: Path
    report_progress: Callable[[str], None]


def stage(task: type[msgspec.Struct]) -> Callable[[Function], Function]:
    """Mark a function ``(task, workspace) -> result`` as a stage that is given such a task."""

    def marked(function: Function) -> Function:
        function.task_type = task  # type: ignore[attr-defined]
        return function

    return marked


def task_type(function: Any) -> type[msgspec.Struct]:
    """Return the type of task that a stage function is given."""
    found: type[msgspec.Struct] = function.task_type
    return found
