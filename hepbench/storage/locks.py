"""Locks between processes: claims on a key, and the machine shared or alone."""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


# one fixed place for the machine: TMPDIR and the cache folder may differ between runs
MACHINE_LOCKS = Path("/tmp")


def claim(path: Path) -> int | None:
    """Take a lock file without waiting; return its descriptor, or None while another holds it.

    The lock goes when the descriptor is closed or its process dies. ``release`` removes the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # whoever held it may have removed the file between our open and our lock
        if os.fstat(descriptor).st_ino == path.stat().st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def release(path: Path, descriptor: int) -> None:
    """Give a claim back and remove its file."""
    with suppress(FileNotFoundError):
        path.unlink()
    os.close(descriptor)


@contextmanager
def machine(*, alone: bool) -> Iterator[None]:
    """Hold the machine: shared with other stages of any run, or alone.

    A gate is taken first and given back once the machine is held: one that waits to be alone
    keeps it, so that newcomers queue behind instead of starving it.
    """
    with ExitStack() as held:
        gate = _open("hepbench-gate.lock", held)
        lock = _open("hepbench-machine.lock", held)
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield


@contextmanager
def machine_now() -> Iterator[bool]:
    """Share the machine without waiting: yields False where a stage is or waits to be alone."""
    with ExitStack() as held:
        gate = _open("hepbench-gate.lock", held)
        lock = _open("hepbench-machine.lock", held)
        try:
            fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(gate, fcntl.LOCK_UN)
        except BlockingIOError:
            yield False
        else:
            yield True


def _open(name: str, held: ExitStack) -> int:
    path = MACHINE_LOCKS / name
    try:
        # without O_CREAT: in a sticky folder Linux refuses that for another user's file
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with suppress(PermissionError):
            path.chmod(0o666)
    held.callback(os.close, descriptor)
    return descriptor
