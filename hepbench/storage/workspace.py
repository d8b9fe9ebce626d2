"""Workspaces: the folders that a stage reads and writes, and how its task is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

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

    # made once where the module is imported, in the process that forks workers
    decoder = msgspec.json.Decoder(task)

    def mark(function: Function) -> Function:
        function.decoder = decoder  # type: ignore[attr-defined]
        return function

    return mark


def decode_task(function: Any, task: msgspec.Raw) -> msgspec.Struct:
    """Return the task of a stage function, as the type that it was marked with."""
    decoded: msgspec.Struct = function.decoder.decode(task)
    return decoded
