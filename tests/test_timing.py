"""Latencies: their statistics and their warnings. Times are compared with wide margins."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial

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
    return timing.time_calls({"call": lambda: call}, limit_s=limit_s)["call"]


def test_rounds_are_combined():
    """Rounds with medians of 10, 10 and 20 ms have a median of 10, of which 8 are CPU time."""
    rounds = [timing.Round([ms * 1_000_000] * 9, [8_000_000] * 9) for ms in (10, 10, 20)]
    found = timing.summary(rounds)
    assert (found.median, found.p95, found.cpu) == (10, 20, 8)
    assert found.waited == pytest.approx(0.2)
    assert [each["calls"] for each in found.rounds] == [9, 9, 9]
    assert [each["median_ms"] for each in found.rounds] == [10, 10, 20]


def test_calls_take_turns():
    """Every round times all calls, so a slow moment affects no call alone."""
    order = []
    calls = {name: lambda name=name: partial(order.append, name) for name in "ab"}
    timing.time_calls(calls, limit_s=0.0)
    turns = [name for i, name in enumerate(order) if i == 0 or order[i - 1] != name]
    assert turns == ["a", "b"] * timing.ROUNDS


def test_a_call_is_warmed_up_and_repeated():
    """A slow first call is not part of the statistics."""
    calls = []

    def call():
        calls.append(time.sleep(0.0 if calls else 0.3))

    found = timed(call, 0.1)
    timed_calls = sum(each["calls"] for each in found.rounds)
    assert timed_calls >= timing.ROUNDS * timing.MIN_CALLS
    assert len(calls) >= timed_calls + timing.ROUNDS * timing.WARM_UP_CALLS
    assert found.median <= found.p95 < 300


def test_a_slow_call_is_still_repeated():
    """The time limit applies only after the minimum number of calls."""
    rounds = timed(lambda: time.sleep(0.01), 0.0).rounds
    assert [each["calls"] for each in rounds] == [timing.MIN_CALLS] * timing.ROUNDS


def test_a_call_that_sleeps_on_an_idle_machine_gives_a_warning():
    """On a busy machine it may have waited for the processor."""
    found = {"torch at batch 1": timed(lambda: time.sleep(0.005), 0.1)}
    assert found["torch at batch 1"].waited > 0.5
    idle, busy = timing.BackgroundLoad(others=0.1), timing.BackgroundLoad(others=1.0)
    (warning,) = timing.idle_warnings(found, idle)
    assert re.match(
        r"waits: a call in torch at batch 1 computes for only \d+% of its time", warning
    )
    assert timing.idle_warnings(found, busy) == []


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
def test_the_cpu_time_of_a_call_leaves_out_the_time_of_others():
    """The other process gets half of the time on the core, so calls of 20 ms take twice as long."""
    with busy_core():
        found = timed(lambda: sum(range(1_000_000)), 1.0)
    assert found.waited > 0.2


def test_inputs_are_made_outside_of_the_time_of_a_call():
    """Making them takes 5 ms, which a call does not."""
    made = []

    def calls():
        made.append(time.sleep(0.005))
        return lambda: None

    found = timing.time_calls({"call": calls}, limit_s=0.1)["call"]
    assert found.median < 1
    assert len(made) > sum(each["calls"] for each in found.rounds)
