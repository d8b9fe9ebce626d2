"""Interrupts: Ctrl-C, SIGTERM of a batch system and SIGHUP of a closed terminal end a run."""

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
"""Signals that end a run, and what a message calls them."""


REPEAT_SECONDS = 1.0
"""A signal so soon after another one is ignored: ``timeout`` and shells send each signal twice."""


class Interrupted(BaseException):
    """Raised when a signal such as Ctrl-C asks the run to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def message(self) -> str:
        """The message to the user: which signal ended the run, and how to resume it."""
        what = WORDS[signal.Signals(self.number)]
        return f"{what}; finished stages are kept, run the same command again to resume"


_last = [-REPEAT_SECONDS]


def install() -> None:
    """Raise ``Interrupted`` when a signal of ``WORDS`` arrives, unless it is ignored (by nohup)."""
    for number in WORDS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise_interrupted)
    os.register_at_fork(after_in_child=_restore_defaults)


def _restore_defaults() -> None:
    """Restore the default handling of signals in a process that a plugin has forked."""
    for number in WORDS:
        if signal.getsignal(number) is _raise_interrupted:
            signal.signal(number, signal.SIG_DFL)


def _raise_interrupted(number: int, _frame: object) -> None:
    now = time.monotonic()
    if now - _last[0] >= REPEAT_SECONDS:
        _last[0] = now
        raise Interrupted(number)


@contextmanager
def held_back() -> Iterator[None]:
    """Delay Ctrl-C and other signals until the body has run."""
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
    """Stop delaying signals in this worker, which was forked while they were delayed.

    Those that came before it left the terminal's process group were for the main process alone.
    """
    for number in WORDS:
        handler = signal.getsignal(number)
        # this drops a signal that waits
        signal.signal(number, signal.SIG_IGN)
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WORDS)
