"""Latencies: calls that take turns, until their medians are known, with what is doubtful of them."""

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
"""Seconds that one latency may be measured for, once its fewest calls are made."""


ROUNDS = 3
"""Each latency is measured in so many rounds, others between: a slow moment is not its all."""


WARM_UP_S, WARM_UP_CALLS = 0.05, 3


FEWEST, ENOUGH, MOST = 3, 64, 65_536
"""Calls of a round: at least, before the median may be called known, at most."""


LEAST_S = 0.05
"""Seconds before it may: the calls of one moment agree with one another more than with the next."""


PRECISION = 0.02
"""Half the width of the median's 95 % interval, as a share, at which it is known well enough."""


ROUGH = 0.1
"""Above this a record says that a median is not well known."""


UNDER_LOAD = "latency under load"


DRIFT = 0.2
"""Above this share between the medians of rounds a record says that the machine's speed changed."""


BUSY = 0.2
"""Above so many cores that worked on something else a record says so."""


STRAY = 0.1
"""Above this share of a process's work by threads that nobody asked for a record says so."""


WAITED = 0.1
"""Above this share of time off the processor a record says that something else was running."""


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Milliseconds of a call, over many.

    Attributes:
        median, p95: in ms.
        calls: how many.
        precision: half the width of the median's 95 % interval, as a share of it.
        drift: the widest difference between the medians of rounds, as a share of the median.
        waited: share of the time in which the calling thread was not running.
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
    """Nanoseconds of each call, and seconds of them all, by the clock and on the processor."""

    laps: list[int]
    wall: float
    ran: float


def time_calls(calls: Mapping[Any, Call], *, limit_s: float = LIMIT_S) -> dict[Any, Timed]:
    """Time some calls, by name: in rounds, each after the other.

    In every round a call is warmed up and made until its median is known to PRECISION, or its share
    of ``limit_s`` is over; the garbage collector waits meanwhile.
    """
    rounds: dict[Any, list[Round]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            rounds[name].append(_round(call, limit_s / ROUNDS))
    return {name: summary(found) for name, found in rounds.items()}


def summary(rounds: Sequence[Round]) -> Timed:
    """Return the figures of all rounds together."""
    laps = [lap for one in rounds for lap in one.laps]
    median = float(np.median(laps))
    medians = [float(np.median(one.laps)) for one in rounds]
    return Timed(
        median=median / 1e6,
        p95=float(np.percentile(laps, 95)) / 1e6,
        calls=len(laps),
        precision=precision(laps),
        drift=(max(medians) - min(medians)) / median,
        waited=max(0.0, 1 - sum(one.ran for one in rounds) / sum(one.wall for one in rounds)),
        rounds=tuple(
            {"calls": len(one.laps), "wall_s": one.wall, "cpu_s": one.ran, "median_ms": m / 1e6}
            for one, m in zip(rounds, medians, strict=True)
        ),
    )


def _round(call: Call, limit_s: float) -> Round:
    _warm_up(call)
    laps: list[int] = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        began, ran = time.perf_counter(), time.thread_time()
        while not _is_enough(laps, time.perf_counter() - began, limit_s):
            start = time.perf_counter_ns()
            call()
            laps.append(time.perf_counter_ns() - start)
        return Round(laps, time.perf_counter() - began, time.thread_time() - ran)
    finally:
        if collecting:
            gc.enable()


def precision(laps: Sequence[float]) -> float:
    """Return half the width of the median's 95 % interval, as a share of the median.

    The interval is between order statistics, so it supposes nothing of the distribution.
    """
    ordered, n = sorted(laps), len(laps)
    half = 0.98 * math.sqrt(n)
    low = ordered[max(0, math.floor(n / 2 - half))]
    high = ordered[min(n - 1, math.ceil(n / 2 + half))]
    return (high - low) / 2 / ordered[n // 2]


def _warm_up(call: Call) -> None:
    began, calls = time.perf_counter(), 0
    while calls < WARM_UP_CALLS or time.perf_counter() - began < WARM_UP_S:
        call()
        calls += 1


def _is_enough(laps: Sequence[int], elapsed: float, limit_s: float) -> bool:
    n = len(laps)
    if n < FEWEST:
        return False
    if elapsed > limit_s or n >= MOST:
        return True
    # at powers of two alone: sorting is work between calls
    if n < ENOUGH or n & (n - 1) or elapsed < LEAST_S:
        return False
    return precision(laps) <= PRECISION


@dataclass
class BackgroundLoad:
    """What else worked meanwhile.

    Attributes:
        others: cores that other processes kept busy; None where the system does not say.
        threads: share of what this process worked that its other threads did.
    """

    others: float | None = None
    threads: float = 0.0

    def doubts(self, threads: int) -> list[str]:
        """Return what a record must say of latencies that were measured with so many threads."""
        told = []
        if self.others is not None and self.others > BUSY:
            told.append(f"other work kept {self.others:.1f} of {os.cpu_count()} cores busy")
        # with more threads the one that calls is helped by others
        if threads == 1 and self.threads > STRAY:
            told.append(f"other threads of the same process did {self.threads:.0%} of its work")
        return [f"{UNDER_LOAD}: {words} while latencies were measured" for words in told]


@contextmanager
def measure_background_load() -> Iterator[BackgroundLoad]:
    """Measure what else works while the body runs; known when it has ended."""
    found = BackgroundLoad()
    everywhere, here, thread = machine.worked_seconds(), time.process_time(), time.thread_time()
    began = time.perf_counter()
    yield found
    wall = time.perf_counter() - began
    worked = time.process_time() - here
    found.threads = max(0.0, 1 - (time.thread_time() - thread) / worked)
    now = machine.worked_seconds()
    if now is not None and everywhere is not None:
        found.others = max(0.0, now - everywhere - worked) / wall


def doubts(found: Mapping[str, Timed], threads: int) -> list[str]:
    """Return what a record must say of some latencies: each doubt once, of the worst."""
    told = []
    for name, limit, words in _DOUBTS:
        # with more threads the one that calls waits for the others
        if name == "waited" and threads > 1:
            continue
        share, worst = max((float(getattr(timed, name)), where) for where, timed in found.items())
        if share > limit:
            told.append(f"latency: {worst} {words.format(share)}")
    return told


_DOUBTS = (
    ("waited", WAITED, "was off the processor {:.0%} of the time: something else was running"),
    ("precision", ROUGH, "has a median known to {:.0%} only"),
    ("drift", DRIFT, "changed by {:.0%} from round to round: so did the processor's speed or load"),
)
