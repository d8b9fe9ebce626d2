"""Interrupts: Ctrl-C, SIGTERM of a batch system and SIGHUP of a closed terminal end a run alike."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


WORDS = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated (SIGTERM)",
    signal.SIGHUP: "hung up (SIGHUP)",
}
"""Signals that end a run, in words."""


REPEAT_SECONDS = 1.0
"""A signal this soon after another is taken for the same: ``timeout`` and shells send two."""


class Interrupted(BaseException):
    """A signal asked the run to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def message(self) -> str:
        """What happened to the run, and how to go on."""
        what = WORDS[signal.Signals(self.number)]
        return f"{what}; finished stages are kept, run the same command again to resume"


_last = [-REPEAT_SECONDS]


def install() -> None:
    """Raise ``Interrupted`` at each signal that is not ignored; nohup ignores SIGHUP."""
    for number in WORDS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise)
    os.register_at_fork(after_in_child=_leave)


def _leave() -> None:
    """Let signals end a process that a plugin has forked, as if they had never been handled."""
    for number in WORDS:
        if signal.getsignal(number) is _raise:
            signal.signal(number, signal.SIG_DFL)


def _raise(number: int, _frame: object) -> None:
    now = time.monotonic()
    if now - _last[0] >= REPEAT_SECONDS:
        _last[0] = now
        raise Interrupted(number)


@contextmanager
def held_back() -> Iterator[None]:
    """Hold the signals back until the body has run; they are delivered then."""
    held: list[int] = []

    def hold(number: int, _frame: object) -> None:
        held.append(number)

    # the mask is of this thread and of the worker; another thread may still receive the signal
    handlers: dict[int, Any] = {number: signal.signal(number, hold) for number in WORDS}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WORDS)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if held:
            signal.raise_signal(held[0])


def receive() -> None:
    """Let signals reach this worker, which was forked while they were held back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WORDS)
