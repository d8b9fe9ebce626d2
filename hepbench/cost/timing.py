"""Measure latencies: time calls in turn until their medians are precise, by wall and CPU time."""

from __future__ import annotations

import gc
import math
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from hepbench.storage import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


Call: TypeAlias = "Callable[[], object]"


Calls: TypeAlias = "Callable[[], Call]"
"""Returns the next call to time, with inputs of its own; it is not timed itself."""


LIMIT_S = 1.0
"""Time limit in seconds for measuring one latency, after the minimum number of calls."""


ROUNDS = 3
"""Number of rounds; each round times all calls, so that a slow moment affects all latencies."""


WARM_UP_S, WARM_UP_CALLS = 0.05, 3
"""Seconds and number of calls for warming up before each round."""


MIN_CALLS, CALLS_FOR_PRECISION, MAX_CALLS = 3, 64, 65_536
"""Numbers of calls in a round: least, least before the precision is tested, and most."""


MIN_S = 0.05
"""Seconds of timing before the precision is tested: calls close in time agree too well."""


PRECISION = 0.02
"""Target precision of a latency: half-width of the median's 95 % interval / median."""


LOAD_WARNING = 0.2
"""If other work keeps more cores busy than this, a warning says so."""


THREADS_WARNING = 0.1
"""If other threads do more than this fraction of the work, a warning says so."""


IDLE_WARNING = 0.5
"""If a call is off an idle processor for more than this fraction of time, a warning says so."""


@dataclass(frozen=True, kw_only=True)
class CallTimes:
    """Statistics of the duration (latency) of many calls.

    Attributes:
        median, p95: of the wall times, in ms.
        cpu: CPU time of the calling thread, in ms: median of the fastest round, since other work can
            only make it longer.
        precision: half the width of the 95 % interval of the median, as a fraction of it.
        rounds: the fields of ``costs.Round`` of each round.
    """

    median: float
    p95: float
    cpu: float
    precision: float
    rounds: tuple[dict[str, float], ...] = ()

    @property
    def waited(self) -> float:
        """Fraction of the time of a call in which the calling thread was off the processor."""
        found = [1 - one["cpu_ms"] / one["median_ms"] for one in self.rounds]
        return max(0.0, float(np.median(found)))


@dataclass(frozen=True)
class Round:
    """One round of timing: wall time and CPU time of each call, in ns."""

    wall: list[int]
    cpu: list[int]


def time_calls(calls: Mapping[Any, Calls], *, limit_s: float = LIMIT_S) -> dict[Any, CallTimes]:
    """Measure the latencies of several calls, in rounds; return their statistics by name.

    In every round each call is warmed up and repeated, each time with other inputs, until its median
    is known to PRECISION, or until its part of ``limit_s`` is over. The garbage collector is off
    meanwhile.
    """
    rounds: dict[Any, list[Round]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            rounds[name].append(_round(call, limit_s / ROUNDS))
    return {name: summary(found) for name, found in rounds.items()}


def summary(rounds: Sequence[Round]) -> CallTimes:
    """Return the latency statistics of all rounds together."""
    wall = [duration for one in rounds for duration in one.wall]
    return CallTimes(
        median=_median_ms(wall),
        p95=float(np.percentile(wall, 95)) / 1e6,
        cpu=min(_median_ms(one.cpu) for one in rounds),
        precision=precision(wall),
        rounds=tuple(
            {
                "calls": len(one.wall),
                "wall_s": sum(one.wall) / 1e9,
                "cpu_s": sum(one.cpu) / 1e9,
                "median_ms": _median_ms(one.wall),
                "cpu_ms": _median_ms(one.cpu),
            }
            for one in rounds
        ),
    )


def _median_ms(durations: Sequence[int]) -> float:
    return float(np.median(durations)) / 1e6


def _round(calls: Calls, limit_s: float) -> Round:
    _warm_up(calls)
    wall: list[int] = []
    cpu: list[int] = []
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        round_start = time.perf_counter()
        while not _is_enough(wall, time.perf_counter() - round_start, limit_s):
            call = calls()
            cpu_start, wall_start = time.thread_time_ns(), time.perf_counter_ns()
            call()
            wall.append(time.perf_counter_ns() - wall_start)
            cpu.append(time.thread_time_ns() - cpu_start)
    finally:
        if was_enabled:
            gc.enable()
    return Round(wall, cpu)


def precision(durations: Sequence[float]) -> float:
    """Return the precision of a latency: half-width of the median's 95 % interval / median.

    The interval lies between order statistics, so it assumes nothing about the distribution.
    """
    ordered, n = sorted(durations), len(durations)
    half = 0.98 * math.sqrt(n)
    low = ordered[max(0, math.floor(n / 2 - half))]
    high = ordered[min(n - 1, math.ceil(n / 2 + half))]
    return (high - low) / 2 / ordered[n // 2]


def _warm_up(calls: Calls) -> None:
    start, made = time.perf_counter(), 0
    while made < WARM_UP_CALLS or time.perf_counter() - start < WARM_UP_S:
        calls()()
        made += 1


def _is_enough(durations: Sequence[int], elapsed: float, limit_s: float) -> bool:
    n = len(durations)
    if n < MIN_CALLS:
        return False
    if elapsed > limit_s or n >= MAX_CALLS:
        return True
    # tested only at powers of two, because sorting takes time between calls
    if n < CALLS_FOR_PRECISION or n & (n - 1) or elapsed < MIN_S:
        return False
    return precision(durations) <= PRECISION


@dataclass
class BackgroundLoad:
    """The background load of the machine while latencies are measured.

    Attributes:
        others: number of cores that other processes kept busy; None if the system does not say.
        threads: fraction of this process's work done by its other threads.
    """

    others: float | None = None
    threads: float = 0.0

    def warnings(self, threads: int) -> list[str]:
        """Return warnings about background load, given the threads that the measured model used."""
        texts = []
        if self.others is not None and self.others > LOAD_WARNING:
            texts.append(f"other work kept {self.others:.1f} of {os.cpu_count()} cores busy")
        # with several threads, other threads are meant to work
        if threads == 1 and self.threads > THREADS_WARNING:
            texts.append(f"other threads of the same process did {self.threads:.0%} of its work")
        return [f"latency under load: {words} while latencies were measured" for words in texts]


@contextmanager
def measure_background_load() -> Iterator[BackgroundLoad]:
    """Measure the background load while the body runs; the values are set when it ends."""
    load = BackgroundLoad()
    system_start, process_start, thread_start = (
        machine.worked_seconds(),
        time.process_time(),
        time.thread_time(),
    )
    start = time.perf_counter()
    yield load
    wall = time.perf_counter() - start
    worked = time.process_time() - process_start
    load.threads = max(0.0, 1 - (time.thread_time() - thread_start) / worked)
    now = machine.worked_seconds()
    if now is not None and system_start is not None:
        load.others = max(0.0, now - system_start - worked) / wall


def idle_warnings(latencies: Mapping[str, CallTimes], load: BackgroundLoad) -> list[str]:
    """Return a warning about calls that wait although nothing else runs: they sleep, or read.

    Such a model may hide this from another runtime, or at another batch size.

    Args:
        latencies: by name, of calls that compute on the calling thread.
        load: meanwhile.
    """
    if (load.others or 0.0) > LOAD_WARNING:
        return []
    found = {name: timed.waited for name, timed in latencies.items() if timed.waited > IDLE_WARNING}
    return [
        f"waits: a call in {name} computes for only {1 - waited:.0%} of its time, although the "
        "machine is idle (a sleep, a file or another process?)"
        for name, waited in found.items()
    ]
