"""Lock files between processes: a claim on one file, and shared or sole use of the machine."""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hepbench.specs.errors import ResultsError

if TYPE_CHECKING:
    from collections.abc import Iterator


# not TMPDIR, nor the cache folder: runs on one machine may differ in them
MACHINE_LOCKS = "/tmp"
"""Folder of the lock files of the machine, unless the variable HEPBENCH_LOCKS names another."""


GATE, MACHINE = "hepbench-gate.lock", "hepbench-machine.lock"


def claim(path: Path) -> int | None:
    """Lock a file without waiting and return its descriptor, or None if it is locked already.

    The lock ends when the descriptor is closed or the process dies. ``release`` removes the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # another process may have removed the file between our open and our lock
        if os.fstat(descriptor).st_ino == path.stat().st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def release(path: Path, descriptor: int) -> None:
    """Release the lock on a file and remove the file."""
    # a file that cannot be removed is no claim: the lock is
    with suppress(OSError):
        path.unlink()
    os.close(descriptor)


class Machine:
    """The lock on the machine as one process holds it: shared with others, or alone for a while.

    A second lock, the gate, is taken first and released once the machine is locked. A process
    that waits to be alone keeps the gate, so that later processes wait behind it.
    """

    def __init__(self, gate: int, lock: int) -> None:
        self._gate, self._lock = gate, lock
        self._take(fcntl.LOCK_SH)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the machine alone while the body runs, and share it again afterwards."""
        # two processes that keep their shares would wait for each other
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        try:
            self._take(fcntl.LOCK_EX)
            yield
        finally:
            # not through the gate, which may be closed for as long as others want to be alone
            fcntl.flock(self._lock, fcntl.LOCK_SH)

    def _take(self, kind: int) -> None:
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        fcntl.flock(self._lock, kind)
        fcntl.flock(self._gate, fcntl.LOCK_UN)


@contextmanager
def machine() -> Iterator[Machine]:
    """Hold the lock on the machine while the body runs, shared with the stages of all runs."""
    with ExitStack() as files:
        yield Machine(_open_lock_file(GATE, files), _open_lock_file(MACHINE, files))


@contextmanager
def machine_now() -> Iterator[bool]:
    """Hold the shared lock on the machine; yield False if a stage has or awaits sole use."""
    with ExitStack() as files:
        gate = _open_lock_file(GATE, files)
        lock = _open_lock_file(MACHINE, files)
        try:
            fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(gate, fcntl.LOCK_UN)
        except BlockingIOError:
            yield False
        else:
            yield True


def check() -> None:
    """Raise ResultsError if the lock files of the machine cannot be used."""
    with ExitStack() as files:
        for name in (GATE, MACHINE):
            _open_lock_file(name, files)


def _open_lock_file(name: str, files: ExitStack) -> int:
    folder = os.environ.get("HEPBENCH_LOCKS") or MACHINE_LOCKS
    # a worker would look for it in its own folder
    if not Path(folder).is_absolute():
        msg = f"HEPBENCH_LOCKS is '{folder}'; an absolute path is expected"
        raise ResultsError(msg)
    path = Path(folder) / name
    try:
        descriptor = _descriptor(path)
    except OSError as error:
        msg = f"lock file {path} cannot be opened: {error.strerror}; hepbench must write there"
        raise ResultsError(msg) from error
    files.callback(os.close, descriptor)
    return descriptor


def _descriptor(path: Path) -> int:
    try:
        # without O_CREAT, which Linux refuses for a file of another user in a sticky folder
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with suppress(PermissionError):
            path.chmod(0o666)
        return descriptor
