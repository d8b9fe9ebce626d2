"""Protect stdout and stderr: no plugin prints to stdout, and a broken stderr ends no run."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

from hepbench.specs.errors import OutputError
from hepbench.specs.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO


_own_stdout: list[int] = []
"""The real descriptor of stdout while ``reserved_stdout`` sends plugins' output to stderr."""


def prepare() -> None:
    """Ignore write errors of stderr, and open /dev/null in place of closed streams.

    Otherwise the next opened files would take the numbers of closed streams.

    Raises:
        OutputError: stdout is closed.
    """
    closed = [name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None]
    for name in closed:
        # the lowest free number is that of the closed stream
        descriptor = os.open(os.devnull, os.O_RDWR)
        os.set_inheritable(descriptor, True)
        setattr(sys, name, os.fdopen(descriptor, "r" if name == "stdin" else "w"))
    sys.stderr = cast("TextIO", Forgiving(sys.stderr))
    if "stdout" in closed:
        msg = "stdout is closed; send it to /dev/null if its text is not needed"
        raise OutputError(msg)


class Forgiving:
    """A stream that drops text that cannot be written, for example on a full disk."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def reserved_stdout() -> Iterator[None]:
    """Reserve stdout for ``write``: what plugins print while the body runs goes to stderr."""
    # a caller in this process, such as a test, may have put another stream in place
    before = sys.__stdout__
    if before is None or sys.stdout is not before or _own_stdout:
        yield
        return
    before.flush()
    _own_stdout.append(os.dup(1))
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = before
        own = _own_stdout.pop()
        os.dup2(own, 1)
        os.close(own)


def write(text: str) -> None:
    """Write a text to stdout, with control characters escaped; see ``written_stdout``.

    Raises:
        OutputError: it cannot be written.
    """
    text = printable(text)
    with written_stdout():
        if not _own_stdout:
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        encoding = sys.__stdout__.encoding if sys.__stdout__ else "utf-8"
        data = text.encode(encoding, "backslashreplace")
        while data:
            written = os.write(_own_stdout[0], data)
            data = data[written:]


def write_line(text: object) -> None:
    """Write a text and a line break to stdout; see ``write``."""
    write(f"{text}\n")


@contextmanager
def written_stdout() -> Iterator[None]:
    """Raise OutputError if the body, which writes only to stdout, fails to write.

    A reader that has seen enough ends the body without an error.
    """
    try:
        yield
    except BrokenPipeError:
        _drop_stdout()
    except OSError as error:
        _drop_stdout()
        msg = f"cannot write to stdout: {error.strerror}"
        raise OutputError(msg) from error


def _drop_stdout() -> None:
    """Discard buffered output to stdout, which would fail again when the process ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, _own_stdout[0] if _own_stdout else 1, inheritable=not _own_stdout)
    os.close(null)
