"""Times ONNX graphs of cells on request, in a process of its own; see ``timed_in_turn``.

Each line of stdin is JSON, and answered by a line: a suite and a key load the graph of this record,
and the answer is null, or why that failed; null times a round, and the answer is a number.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hepbench.sharing import onnx_files
from hepbench.specs.errors import ResultsError
from hepbench.specs.text import error_text
from hepbench.storage.results import Results
from hepbench.storage.stage_cache import StageCache

if TYPE_CHECKING:
    from collections.abc import Callable

ROUND_S = 0.03
"""Least CPU seconds of a round; calls that take less are repeated."""


class Timer:
    """Times calls in rounds of equally many."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._calls = 1
        while self._seconds() < ROUND_S:
            self._calls *= 2

    def round(self) -> float:
        """Return the CPU time of a call in ms, the mean of a round."""
        return 1000 * self._seconds() / self._calls

    def _seconds(self) -> float:
        start = time.thread_time()
        for _ in range(self._calls):
            self._call()
        return time.thread_time() - start


def main(results: Path, cache: Path) -> None:
    """Answer all lines of stdin."""
    answers = os.dup(1)
    # what a library prints must not mix with the answers
    os.dup2(2, 1)
    gc.disable()
    timer = None
    for line in sys.stdin:
        reply: object = None
        if cell := json.loads(line):
            try:
                timer = _timer(Results(results), StageCache(cache), *cell)
            except Exception as error:  # noqa: BLE001 - a graph may fail in any way
                reply = error_text(error)
        elif timer:
            reply = timer.round()
        os.write(answers, f"{json.dumps(reply)}\n".encode())


def _timer(results: Results, cache: StageCache, suite: str, key: str) -> Timer:
    record = results.read(suite, key)
    if record is None:
        msg = f"{results}: its record {suite}/{key} is gone"
        raise ResultsError(msg)
    return Timer(onnx_files.call(record, cache))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
