"""System calls that change files, intercepted: counted, made to fail, or answered by killing.

A seccomp filter asks this process about each such call of a command and of all its descendants,
before the kernel carries it out: also calls of C and Rust libraries, and of buffers that libc writes.
Linux on x86-64 only. Not seen: pages of mapped files, ``close``, and io_uring.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import re
import select
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

BY_DESCRIPTOR = {
    **dict.fromkeys((1, 18, 20, 296, 328), "write"),
    40: "write",
    326: "write",
    285: "allocate",
    77: "truncate",
    74: "fsync",
    75: "fsync",
    277: "fsync",
}
"""System calls whose first argument is a descriptor; of copy_file_range it is the third."""

BY_PATH = {
    82: ("rename", None, 1),
    264: ("rename", 2, 3),
    316: ("rename", 2, 3),
    86: ("link", None, 1),
    265: ("link", 2, 3),
    88: ("link", None, 1),
    266: ("link", 1, 2),
    83: ("mkdir", None, 0),
    258: ("mkdir", 0, 1),
    85: ("create", None, 0),
    2: ("create", None, 0),
    257: ("create", 0, 1),
    87: ("remove", None, 0),
    84: ("remove", None, 0),
    263: ("remove", 0, 1),
}
"""System calls by path -> places of the folder's descriptor and of the path that it makes."""

OPEN_FLAGS = {2: 1, 257: 2}
"""System calls that open -> place of their flags: only those that may create a file count."""

COPY_FILE_RANGE = 326
X86_64 = 0xC000003E
AT_FDCWD = -100
NOTIFICATION = struct.Struct("QIIiIQ6Q")
ANSWER = struct.Struct("QqiI")
RECEIVE, SEND = 0xC0502100, 0xC0182101


def supported() -> bool:
    """Whether this kernel lets a process ask about system calls."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    pid = os.fork()
    if pid == 0:
        os._exit(0 if _install() >= 0 else 1)
    return os.waitpid(pid, 0)[1] == 0


@dataclass(frozen=True, order=True)
class Point:
    """A system call of a run that changes a file.

    Attributes:
        process: ``main``, ``server``, ``worker`` or ``other``.
        call: what it does.
        path: relative to the folder of the run; process ids and random names are ``*``.
        count: how many calls of the same kind came before, from 0.
    """

    process: str
    call: str
    path: str
    count: int

    def __str__(self) -> str:
        return f"{self.process} {self.call} {self.path} {self.count}"


@dataclass
class Interceptor:
    """Runs a command and decides about each of its system calls below a folder.

    Attributes:
        folder: other paths do not count.
        decide: takes a point, returns an errno, ``-signal`` to kill its process, or 0.
        points: in the order of the calls.
    """

    folder: Path
    decide: Callable[[Point], int] = lambda _point: 0
    points: list[Point] = field(default_factory=list)
    main: int = 0
    _counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def run(
        self, command: Sequence[str], env: Mapping[str, str], timeout: float = 900
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, and wait until its descendants have ended too."""
        ours, theirs = socket.socketpair()
        watcher = Thread(target=self._watch, args=(ours,), daemon=True)
        watcher.start()

        def intercept() -> None:
            self.main = os.getpid()
            socket.send_fds(theirs, [self.main.to_bytes(4, "little")], [_install()])

        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(
            command,
            cwd=self.folder,
            env=env,
            preexec_fn=intercept,  # noqa: PLW1509 - the other thread only waits
            **pipes,
        ) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except BaseException:
                process.kill()
                raise
        watcher.join(20)
        if watcher.is_alive():
            raise AssertionError("processes of the run are left 20 s after its end")
        ours.close()
        theirs.close()
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def _watch(self, channel: socket.socket) -> None:
        data, (listener,), _, _ = socket.recv_fds(channel, 4, 1)
        self.main = int.from_bytes(data, "little")
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        while poll.poll()[0][1] & select.POLLIN:
            request = bytearray(NOTIFICATION.size)
            # the process may be killed meanwhile
            with suppress(FileNotFoundError, ProcessLookupError):
                fcntl.ioctl(listener, RECEIVE, request)
                number, thread, _, call, _, _, *arguments = NOTIFICATION.unpack(request)
                error = self._judge(thread, call, arguments)
                # flag 1: the kernel carries the call out
                answer = ANSWER.pack(number, 0, -error, 0 if error else 1)
                fcntl.ioctl(listener, SEND, answer)
        os.close(listener)

    def _judge(self, thread: int, call: int, arguments: list[int]) -> int:
        """Return the errno of a call; its process is killed where that was decided."""
        kind, path = _what(thread, call, arguments)
        if not path.startswith(f"{self.folder}/"):
            return 0
        place = self._process(thread), kind, general(path[len(str(self.folder)) + 1 :])
        point = Point(*place, self._counts[place])
        self._counts[place] += 1
        self.points.append(point)
        decision = self.decide(point)
        if decision < 0:
            os.kill(_status(thread, "Tgid"), -decision)
            time.sleep(0.001)
            return 5
        return decision

    def _process(self, thread: int) -> str:
        pid = _status(thread, "Tgid")
        if pid == self.main:
            return "main"
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"forkserver" not in command:
            return "other"
        return "worker" if os.getpgid(pid) != os.getpgid(self.main) else "server"


def general(path: str) -> str:
    """Return a path without what differs from run to run."""
    path = re.sub(r"(^|/)tmp/[^/~]*-\d+~[^/]+", r"\1tmp/*", path)
    path = re.sub(r"pymp-[^/]+", "pymp-*", path)
    path = re.sub(r"listener-[^/]+", "listener-*", path)
    path = re.sub(r"^temporary/[a-z0-9_]{8}$", "temporary/*", path)
    return re.sub(r"~[^/~]*-\d+(?=\.part$)", "~*", path)


def _what(thread: int, call: int, arguments: list[int]) -> tuple[str, str]:
    """Return what a call does, and the path of the file that it changes."""
    if call in BY_DESCRIPTOR:
        descriptor = arguments[2 if call == COPY_FILE_RANGE else 0]
        return BY_DESCRIPTOR[call], _link(f"/proc/{thread}/fd/{descriptor}")
    kind, folder, place = BY_PATH[call]
    path = _text(thread, arguments[place])
    if not path.startswith("/"):
        descriptor = AT_FDCWD if folder is None else ctypes.c_int(arguments[folder]).value
        at = "cwd" if descriptor == AT_FDCWD else f"fd/{descriptor}"
        path = f"{_link(f'/proc/{thread}/{at}')}/{path}"
    return kind, os.path.normpath(path)


def _link(name: str) -> str:
    return os.readlink(name).removesuffix(" (deleted)")  # noqa: PTH115


def _text(thread: int, address: int) -> str:
    """Return a string of C in the memory of a process."""
    with Path(f"/proc/{thread}/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        data = b""
        while b"\0" not in data:
            # not across a page, which may be the last one
            data += memory.read(4096 - (address + len(data)) % 4096)
    return os.fsdecode(data.partition(b"\0")[0])


def _status(thread: int, name: str) -> int:
    for line in Path(f"/proc/{thread}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise ProcessLookupError(thread)


def _install() -> int:
    """Let a filter ask about the system calls of this process from now on.

    Returns:
        The descriptor that is asked, or -1.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(38, 1, 0, 0, 0)
    code = _filter()
    buffer = ctypes.create_string_buffer(code, len(code))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

    program = Program(len(code) // 8, ctypes.addressof(buffer))
    return int(libc.syscall(317, 1, 8, ctypes.byref(program)))


LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, ASK = 0x7FFF0000, 0x7FC00000


def _filter() -> bytes:
    """Return the BPF program: it asks about the calls of the tables above."""
    others = [call for call in (*BY_DESCRIPTOR, *BY_PATH) if call not in OPEN_FLAGS]
    lines = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, X86_64), (RETURN, 0, 0, ALLOW), (LOAD, 0, 0, 0)]
    for call in others:
        lines += [(EQUAL, 0, 1, call), (RETURN, 0, 0, ASK)]
    for call, flags in OPEN_FLAGS.items():
        lines += [
            (EQUAL, 0, 4, call),
            (LOAD, 0, 0, 16 + 8 * flags),
            (ANY_BIT, 0, 1, os.O_CREAT | os.O_TRUNC),
            (RETURN, 0, 0, ASK),
            (RETURN, 0, 0, ALLOW),
        ]
    lines.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("HBBI", *line) for line in lines)
