"""Latencies: what they are made of, and what is told of them. Margins are wide."""

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


def test_a_median_is_as_precise_as_its_order_statistics():
    """Of 100 calls that take 1 to 100 ms the 41st and the 61st: half of 20 over 51."""
    assert timing.precision(range(1, 101)) == pytest.approx(10 / 51)
    assert timing.precision([5] * 100) == 0


@settings(deadline=None)
@given(st.lists(st.integers(1, 10**9), min_size=1), st.integers(2, 1000))
def test_precision_depends_on_neither_unit_nor_order(laps, factor):
    """It is a share."""
    assert timing.precision([lap * factor for lap in reversed(laps)]) == timing.precision(laps)


def timed(call, limit_s):
    """Time one call."""
    return timing.time_calls({"it": call}, limit_s=limit_s)["it"]


def test_rounds_are_one_figure_and_their_drift_is_told():
    """Medians of 10, 10 and 20 ms: one of 10, a drift of one whole."""
    rounds = [timing.Round([ms * 1_000_000] * 9, 1.0, 1.0) for ms in (10, 10, 20)]
    found = timing.summary(rounds)
    assert (found.median, found.p95, found.calls, found.drift, found.waited) == (10, 20, 27, 1, 0)
    assert "changed by 100%" in timing.latency_warnings({"torch at batch 1": found}, 1)[-1]


def test_calls_take_turns():
    """In rounds, so that a slow moment of the machine is nobody's alone."""
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    timing.time_calls(calls, limit_s=0.0)
    turns = [name for i, name in enumerate(order) if i == 0 or order[i - 1] != name]
    assert turns == ["a", "b"] * timing.ROUNDS


def test_a_call_is_warmed_up_and_repeated():
    """A first call that is slow is not in the figures."""
    calls = []

    def call():
        calls.append(time.sleep(0.0 if calls else 0.3))

    found = timed(call, 0.1)
    assert found.calls >= timing.ROUNDS * timing.MIN_CALLS
    assert len(calls) >= found.calls + timing.ROUNDS * timing.WARM_UP_CALLS
    assert found.median <= found.p95 < 300


def test_a_slow_call_is_still_made_a_few_times():
    """The limit holds once there are enough for a median."""
    assert timed(lambda: time.sleep(0.01), 0.0).calls == timing.ROUNDS * timing.MIN_CALLS


def test_time_off_the_processor_is_told():
    """A call that sleeps does not run; the record says so."""
    found = timed(lambda: time.sleep(0.005), 0.1)
    assert found.waited > 0.5
    assert (
        "something else was running" in timing.latency_warnings({"torch at batch 1": found}, 1)[0]
    )


def test_the_company_of_a_latency_is_told_in_cores_and_shares():
    """What others did and what stray threads did are two lines; with more threads only the first."""
    busy = timing.BackgroundLoad(others=1.04, threads=0.4)
    other, stray = busy.warnings(1)
    assert re.search(r"other work kept 1\.0 of \d+ cores busy", other)
    assert "other threads of the same process did 40% of its work" in stray
    assert busy.warnings(2) == [other]
    assert timing.BackgroundLoad(others=None).warnings(1) == []


def test_threads_that_work_meanwhile_are_seen():
    """One that never rests does a good part of what the process does."""
    over = threading.Event()

    def work():
        while not over.is_set():
            sum(range(10_000))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        with timing.measure_background_load() as found:
            timed(lambda: sum(range(10_000)), 0.3)
    finally:
        over.set()
        thread.join()
    assert found.threads > timing.THREADS_WARNING
    with timing.measure_background_load() as found:
        timed(lambda: sum(range(10_000)), 0.1)
    assert found.threads < timing.THREADS_WARNING


@contextmanager
def crowded():
    """Keep this process on one core, with another that never rests."""
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
def test_a_latency_measured_while_others_work_is_told():
    """Half of the time on one core is the other's."""
    with crowded():
        found = timed(lambda: sum(range(10_000)), 1.0)
    assert found.waited > timing.WAITED_WARNING
    assert timing.latency_warnings({"torch at batch 1": found}, 1)
