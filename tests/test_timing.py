"""Latencies: their statistics and their warnings. Times are compared with wide margins."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from needs import needs_linux

from hepbench.cost import timing


def test_precision_comes_from_order_statistics():
    """For 100 calls of 1 to 100 ms the interval goes from the 41st to the 61st: 20 / 2 / 51."""
    assert timing.precision(range(1, 101)) == pytest.approx(10 / 51)
    assert timing.precision([5] * 100) == 0


@settings(deadline=None)
@given(st.lists(st.integers(1, 10**9), min_size=1), st.integers(2, 1000))
def test_precision_depends_on_neither_unit_nor_order(durations, factor):
    """Precision is a fraction of the median."""
    assert timing.precision(
        [duration * factor for duration in reversed(durations)]
    ) == timing.precision(durations)


def timed(call, limit_s):
    """Time one call."""
    return timing.time_calls({"call": call}, limit_s=limit_s)["call"]


def test_rounds_are_combined_and_drift_gives_a_warning():
    """Rounds with medians of 10, 10 and 20 ms have a median of 10 and a drift of 1."""
    rounds = [timing.Round([ms * 1_000_000] * 9, 1.0, 1.0) for ms in (10, 10, 20)]
    found = timing.summary(rounds)
    assert (found.median, found.p95, found.calls, found.drift, found.waited) == (10, 20, 27, 1, 0)
    assert "changed by 100%" in timing.latency_warnings({"torch at batch 1": found}, 1)[-1]


def test_calls_take_turns():
    """Every round times all calls, so a slow moment affects no call alone."""
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    timing.time_calls(calls, limit_s=0.0)
    turns = [name for i, name in enumerate(order) if i == 0 or order[i - 1] != name]
    assert turns == ["a", "b"] * timing.ROUNDS


def test_a_call_is_warmed_up_and_repeated():
    """A slow first call is not part of the statistics."""
    calls = []

    def call():
        calls.append(time.sleep(0.0 if calls else 0.3))

    found = timed(call, 0.1)
    assert found.calls >= timing.ROUNDS * timing.MIN_CALLS
    assert len(calls) >= found.calls + timing.ROUNDS * timing.WARM_UP_CALLS
    assert found.median <= found.p95 < 300


def test_a_slow_call_is_still_repeated():
    """The time limit applies only after the minimum number of calls."""
    assert timed(lambda: time.sleep(0.01), 0.0).calls == timing.ROUNDS * timing.MIN_CALLS


def test_time_off_the_processor_gives_a_warning():
    """A call that sleeps is off the processor."""
    found = timed(lambda: time.sleep(0.005), 0.1)
    assert found.waited > 0.5
    assert (
        "something else was running" in timing.latency_warnings({"torch at batch 1": found}, 1)[0]
    )


def test_background_load_gives_warnings():
    """Other processes and other threads give one warning each; with 2 threads only the first."""
    busy = timing.BackgroundLoad(others=1.04, threads=0.4)
    other, other_threads = busy.warnings(1)
    assert re.search(r"other work kept 1\.0 of \d+ cores busy", other)
    assert "other threads of the same process did 40% of its work" in other_threads
    assert busy.warnings(2) == [other]
    assert timing.BackgroundLoad(others=None).warnings(1) == []


def test_other_threads_are_noticed():
    """A thread that never sleeps does a large part of the work of the process."""
    stop = threading.Event()

    def work():
        while not stop.is_set():
            sum(range(10_000))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        with timing.measure_background_load() as found:
            timed(lambda: sum(range(10_000)), 0.3)
    finally:
        stop.set()
        thread.join()
    assert found.threads > timing.THREADS_WARNING
    with timing.measure_background_load() as found:
        timed(lambda: sum(range(10_000)), 0.1)
    assert found.threads < timing.THREADS_WARNING


@contextmanager
def busy_core():
    """Pin this process to one core, together with one that never sleeps."""
    before = os.sched_getaffinity(0)
    core = {min(before)}
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            os.sched_setaffinity(other.pid, core)
            os.sched_setaffinity(0, core)
            yield
        finally:
            os.sched_setaffinity(0, before)
            other.kill()


@needs_linux("os.sched_setaffinity", found=hasattr(os, "sched_setaffinity"))
def test_a_latency_on_a_busy_core_gives_a_warning():
    """The other process gets half of the time on the core."""
    with busy_core():
        found = timed(lambda: sum(range(10_000)), 1.0)
    assert found.waited > timing.WAITED_WARNING
    assert timing.latency_warnings({"torch at batch 1": found}, 1)
