"""Forces files and folders onto disk, so that a power cut does not lose them."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
"""A full disk or quota, a file that may not grow, a read-only or broken disk: never a fault of code."""


def sync(path: Path) -> None:
    """Wait until a file's contents, or the list of names in a folder, are really on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Wait until a folder and everything in it are really on disk."""
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(folder / root / name)
        sync(folder / root)
