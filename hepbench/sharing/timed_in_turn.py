"""Times the ONNX graphs of cells of two results in turn, in two processes on the same inputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from hepbench.sharing import onnx_files
from hepbench.specs.errors import ResultsError
from hepbench.storage import locks
from hepbench.storage.stage_cache import StageCache

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from hepbench.storage.records import Record
    from hepbench.storage.results import Results

TURNS = 4
"""Pairs of processes: where a process has its memory changes a latency by some percent."""

ROUNDS = 6
"""Rounds of each graph in a process, alternately with those of the other graph."""

Rounds = tuple[list[list[float]], list[list[float]]]
"""CPU times of a call in ms, of each round in each turn, for both results."""


def rounds(
    results: tuple[Results, Results], cells: Mapping[str, tuple[Record, Record]], cache: Path
) -> dict[str, Rounds]:
    """Return the rounds of each cell whose graphs are in the cache; none where they are equal.

    Cells whose graphs do not run are left out. The machine is locked meanwhile, as while costs are measured.

    Args:
        results: of the records; folders.
        cells: a record of each result, by the name of the cell.
        cache: folder of the cache.
    """
    stages = StageCache(cache)
    graphs = {cell: both for cell, both in cells.items() if _has_graphs(both, stages)}
    found: dict[str, Rounds] = {cell: ([], []) for cell in graphs}
    timed = {cell: both for cell, both in graphs.items() if not _are_equal(both, stages)}
    with locks.machine() as machine, machine.alone():
        for _ in range(TURNS if timed else 0):
            with ExitStack() as stack:
                pair = [stack.enter_context(_Process(each.root, cache)) for each in results]
                for cell, both in timed.items():
                    if all(map(_Process.loads, pair, both)):
                        for times, one in zip(found[cell], _one_turn(pair), strict=True):
                            times.append(one)
    return {cell: times for cell, times in found.items() if cell not in timed or all(times)}


def _has_graphs(records: Sequence[Record], cache: StageCache) -> bool:
    try:
        return all(onnx_files.stored_graph(record, cache) for record in records)
    except ResultsError:
        return False


def _are_equal(records: Sequence[Record], cache: StageCache) -> bool:
    first, second = (onnx_files.stored_graph(record, cache).read_bytes() for record in records)
    return first == second


def _one_turn(pair: Sequence[_Process]) -> list[list[float]]:
    """Return the times of both graphs in alternate rounds; every second time in the other order."""
    times: list[list[float]] = [[], []]
    for i in range(ROUNDS):
        for which in (0, 1) if i % 2 else (1, 0):
            times[which].append(pair[which].time())
    return times


class _Process:
    """A process that times graphs; see ``timing_process``."""

    def __init__(self, results: Path, cache: Path) -> None:
        module = "hepbench.sharing.timing_process"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(results), str(cache)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # its stdin is closed, and so it ends
        self._process.communicate()

    def loads(self, record: Record) -> bool:
        """Load the graph of a record, and return whether it runs."""
        return self._asked([record.suite, record.key]) is None

    def time(self) -> float:
        """Return the CPU time of a call with one example in ms, the mean of a round."""
        return float(self._asked(None))

    def _asked(self, request: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # a process that has ended reads nothing, and its output ends
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{json.dumps(request)}\n")
            self._process.stdin.flush()
        if answer := self._process.stdout.readline():
            return json.loads(answer)
        msg = f"a process that times graphs has ended with exit code {self._process.wait()}"
        raise ResultsError(msg)
