"""Workspaces: the folders that a stage reads and writes, and how its task is decoded."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from hepbench.specs.types import Json

Result = TypeVar("Result", bound=msgspec.Struct)

Function = TypeVar("Function", bound="Callable[..., msgspec.Struct]")


class Sharing(Protocol):
    """The interface for results that several stages share: the first one computes them."""

    def __call__(self, parts: Json, compute: Callable[[], Result], kind: type[Result]) -> Result:
        """Return the result of an earlier stage for equal parts, else compute and store it.

        Args:
            parts: all that the result follows from, apart from files and versions that are used.
            compute: returns the result; called while the stage is alone on the machine.
            kind: type of the result.
        """
        ...


def _unshared(parts: Json, compute: Callable[[], Result], kind: type[Result]) -> Result:  # noqa: ARG001
    return compute()


@dataclass(frozen=True)
class Workspace:
    """The folders that a stage reads and writes, and services that it may use.

    Attributes:
        parents: finished folders of the stages that it depends on.
        folder: where it writes; the folder moves into the cache when the stage has returned.
        report_progress: takes a short text; of calls in quick succession only some are shown.
        alone: returns a context in which no other stage of any run works on the machine; for
            stages that are planned as ``exclusive``.
        shared: see ``Sharing``; by default nothing is shared.
    """

    parents: Sequence[Path]
    folder: Path
    report_progress: Callable[[str], None]
    alone: Callable[[], AbstractContextManager[None]] = nullcontext
    shared: Sharing = _unshared


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
