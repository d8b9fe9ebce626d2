"""Processes: numbered pieces of work in several of them, results in order, whatever happens."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepbench import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from multiprocessing.connection import Connection


def in_order(
    function: Callable[..., Any], pieces: Sequence[Any], *, jobs: int
) -> Generator[Any, None, None]:
    """Yield what a function makes of each piece, in the order of the pieces.

    Args:
        function: can be pickled; its standard output is dropped.
        pieces: its only argument, in turn.
        jobs: processes; they end with the generator and with this process.

    Raises:
        DataError: a process came to an end too early.
    """
    context = get_context("spawn")
    # the processes hold one end and leave when the other is closed, or its holder is no more
    lifeline, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(min(jobs, len(pieces)), context, _begin, (lifeline,))
    try:
        yield from pool.map(function, pieces)
    except BrokenProcessPool as error:
        msg = "a simulating process came to an end too early (is there enough memory?)"
        raise DataError(msg) from error
    finally:
        held.close()
        pool.shutdown(cancel_futures=True)
        lifeline.close()


def _begin(lifeline: Connection) -> None:
    """Leave Ctrl-C to the parent, end when it says so, and keep FastJet's banner off stdout."""
    import signal
    from threading import Thread

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)

    def follow() -> None:
        with suppress(EOFError):
            lifeline.recv()
        os._exit(1)

    Thread(target=follow, daemon=True).start()
