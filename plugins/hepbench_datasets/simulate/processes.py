"""Simulate chunks in several processes, with results in order."""

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
    """Yield the results of a function for all chunks, in order, computed in several processes.

    Args:
        function: must be picklable; its standard output is discarded.
        pieces: the function's only argument, one after another.
        jobs: number of processes; they end with the generator and with this process.

    Raises:
        DataError: a process ended too early.
    """
    context = get_context("spawn")
    # the processes wait at one end of the pipe and exit when the parent closes the other end or dies
    lifeline, parent_end = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(min(jobs, len(pieces)), context, _start_process, (lifeline,))
    try:
        yield from pool.map(function, pieces)
    except BrokenProcessPool as error:
        msg = "a simulation process ended too early; the memory may be too small: use fewer jobs"
        raise DataError(msg) from error
    finally:
        parent_end.close()
        pool.shutdown(cancel_futures=True)
        lifeline.close()


def _start_process(lifeline: Connection) -> None:
    """Prepare a simulation process: ignore Ctrl-C, end with its parent, no FastJet banner."""
    import signal
    from threading import Thread

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Path(os.devnull).open("wb") as devnull:
        os.dup2(devnull.fileno(), 1)

    def exit_with_parent() -> None:
        with suppress(EOFError):
            lifeline.recv()
        os._exit(1)

    Thread(target=exit_with_parent, daemon=True).start()
