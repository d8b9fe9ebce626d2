"""Workspaces: where a stage reads and writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Workspace:
    """Where a stage works.

    Attributes:
        parents: the finished folders that it stands on.
        folder: where it writes; renamed into the cache when it has returned.
        tell: takes a few words on how far it is; calls in quick succession are dropped.
    """

    parents: Sequence[Path]
    folder: Path
    report_progress: Callable[[str], None]
