"""Measure latencies: time calls in turn until their medians are precise; warn if they are not."""

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


PRECISION_WARNING = 0.1
"""Above this precision value, a warning says that a latency is imprecise."""


UNDER_LOAD = "latency under load"


DRIFT_WARNING = 0.2
"""If medians of rounds differ by more than this fraction, a warning says that speed changed."""


LOAD_WARNING = 0.2
"""If other work keeps more cores busy than this, a warning says so."""


THREADS_WARNING = 0.1
"""If other threads do more than this fraction of the work, a warning says so."""


WAITED_WARNING = 0.1
"""If a call waits for the processor for more than this fraction of time, a warning says so."""


@dataclass(frozen=True, kw_only=True)
class CallTimes:
    """Statistics of the duration (latency) of many equal calls.

    Attributes:
        median, p95: in ms.
        calls: number of calls.
        precision: half the width of the 95 % interval of the median, as a fraction of it.
        drift: largest difference between the medians of rounds, as a fraction of the median.
        waited: fraction of the time in which the calling thread was not running.
        rounds: the fields of ``records.Round`` of each round.
    """

    median: float
    p95: float
    calls: int
    precision: float
    drift: float
    waited: float
    rounds: tuple[dict[str, float], ...] = ()


@dataclass(frozen=True)
class Round:
    """One round of timing: ns of each call; wall and processor time of all calls in s."""

    durations: list[int]
    wall: float
    on_processor: float


def time_calls(calls: Mapping[Any, Call], *, limit_s: float = LIMIT_S) -> dict[Any, CallTimes]:
    """Measure the latencies of several calls, in rounds; return their statistics by name.

    In every round each call is warmed up and repeated until its median is known to PRECISION, or
    until its part of ``limit_s`` is over. The garbage collector is off meanwhile.
    """
    rounds: dict[Any, list[Round]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            rounds[name].append(_round(call, limit_s / ROUNDS))
    return {name: summary(found) for name, found in rounds.items()}


def summary(rounds: Sequence[Round]) -> CallTimes:
    """Return the latency statistics of all rounds together."""
    durations = [duration for one in rounds for duration in one.durations]
    median = float(np.median(durations))
    medians = [float(np.median(one.durations)) for one in rounds]
    return CallTimes(
        median=median / 1e6,
        p95=float(np.percentile(durations, 95)) / 1e6,
        calls=len(durations),
        precision=precision(durations),
        drift=(max(medians) - min(medians)) / median,
        waited=max(
            0.0, 1 - sum(one.on_processor for one in rounds) / sum(one.wall for one in rounds)
        ),
        rounds=tuple(
            {
                "calls": len(one.durations),
                "wall_s": one.wall,
                "cpu_s": one.on_processor,
                "median_ms": m / 1e6,
            }
            for one, m in zip(rounds, medians, strict=True)
        ),
    )


def _round(call: Call, limit_s: float) -> Round:
    _warm_up(call)
    durations: list[int] = []
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        round_start, thread_start = time.perf_counter(), time.thread_time()
        while not _is_enough(durations, time.perf_counter() - round_start, limit_s):
            call_start = time.perf_counter_ns()
            call()
            durations.append(time.perf_counter_ns() - call_start)
        wall, on_processor = time.perf_counter() - round_start, time.thread_time() - thread_start
        return Round(durations, wall, on_processor)
    finally:
        if was_enabled:
            gc.enable()


def precision(durations: Sequence[float]) -> float:
    """Return the precision of a latency: half-width of the median's 95 % interval / median.

    The interval lies between order statistics, so it assumes nothing about the distribution.
    """
    ordered, n = sorted(durations), len(durations)
    half = 0.98 * math.sqrt(n)
    low = ordered[max(0, math.floor(n / 2 - half))]
    high = ordered[min(n - 1, math.ceil(n / 2 + half))]
    return (high - low) / 2 / ordered[n // 2]


def _warm_up(call: Call) -> None:
    start, calls = time.perf_counter(), 0
    while calls < WARM_UP_CALLS or time.perf_counter() - start < WARM_UP_S:
        call()
        calls += 1


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
        others: number of cores that other processes kept busy; None if the system does not tell.
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
        return [f"{UNDER_LOAD}: {words} while latencies were measured" for words in texts]


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


def latency_warnings(latencies: Mapping[str, CallTimes], threads: int) -> list[str]:
    """Return one warning for each way in which latencies are imprecise, about the worst one."""
    texts = []
    for name, limit, words in _WARNINGS:
        # with several threads, the calling thread waits for the others
        if name == "waited" and threads > 1:
            continue
        fraction, worst = max(
            (float(getattr(timed, name)), where) for where, timed in latencies.items()
        )
        if fraction > limit:
            texts.append(f"latency: {worst} {words.format(fraction)}")
    return texts


_WARNINGS = (
    (
        "waited",
        WAITED_WARNING,
        "was off the processor {:.0%} of the time: something else was running",
    ),
    ("precision", PRECISION_WARNING, "has a median known only to {:.0%}"),
    (
        "drift",
        DRIFT_WARNING,
        "changed by {:.0%} between rounds: the processor's speed or load changed",
    ),
)
