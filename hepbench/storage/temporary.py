"""Names of temporary files and folders, which contain the machine and process they belong to."""

from __future__ import annotations

import os
import platform
import re
from typing import TYPE_CHECKING

from hepbench.storage import machine

if TYPE_CHECKING:
    from pathlib import Path


def owner() -> str:
    """Return the name of this process and machine for the names of temporary files."""
    return f"{platform.node()}-{os.getpid()}"


def part(path: Path) -> Path:
    """Return the temporary path that a file is written to before it gets its final name."""
    return path.with_name(f".{path.name}~{owner()}.part")


def remove_left_over(folder: Path, *patterns: str) -> None:
    """Remove temporary files in a folder whose processes on this machine have ended.

    Args:
        folder: need not exist.
        patterns: of their paths in it.

    Raises:
        OSError: one cannot be removed.
    """
    for pattern in patterns:
        for path in filter(is_left_over, folder.glob(pattern)):
            path.unlink(missing_ok=True)


def is_left_over(path: Path) -> bool:
    """Whether a temporary file or folder belongs to a process on this machine that has ended."""
    found = re.search(r"([^~]*)-(\d+)(?:~[^~]*|\.part)$", path.name)
    if found is None or found[1] != platform.node():
        return False
    return not machine.is_running(int(found[2]))
