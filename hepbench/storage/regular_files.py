"""Reads only regular files; a folder, FIFO or device in their place is an error."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_TEXT = 100_000_000
"""Bytes of a text file, such as a record."""


def read(path: Path, *, most: int | None = None) -> bytes:
    """Read a regular file; a FIFO or device, which could block, is an error.

    Raises:
        OSError: it is missing, cannot be read, is no regular file, or has more than ``most`` bytes.
    """
    # as on a FIFO, opening would wait
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if most is not None and status.st_size > most:
            reason = f"the file has {status.st_size:,} bytes; at most {most:,} are allowed"
            raise OSError(errno.EFBIG, reason, str(path))
        return file.readall()


def read_text(path: Path) -> bytes:
    """Read a regular file as text; see ``read``."""
    return read(path, most=LARGEST_TEXT)
