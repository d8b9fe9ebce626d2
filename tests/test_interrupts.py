"""Signals that end a run: held back while a worker starts, and taken once."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from hepbench.running import interrupts


@pytest.fixture
def installed(monkeypatch):
    """Install the handlers for one test."""
    before = {number: signal.getsignal(number) for number in interrupts.WORDS}
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    monkeypatch.setattr(interrupts, "_last", [-interrupts.REPEAT_SECONDS])
    interrupts.install()
    yield
    signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupts.WORDS)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("installed")
def test_a_signal_waits_until_a_worker_has_started():
    """It is delivered right after the body."""
    done = []

    def start():
        with interrupts.held_back():
            signal.raise_signal(signal.SIGTERM)
            done.append("started")

    with pytest.raises(interrupts.Interrupted) as caught:
        start()
    assert done == ["started"]
    assert caught.value.number == signal.SIGTERM


@pytest.mark.usefixtures("installed")
def test_a_second_signal_does_not_disturb_the_end(monkeypatch):
    """``timeout`` sends one to the process and one to its group; a late one counts again."""
    with pytest.raises(interrupts.Interrupted):
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    late = time.monotonic() + interrupts.REPEAT_SECONDS
    monkeypatch.setattr(interrupts.time, "monotonic", lambda: late)
    with pytest.raises(interrupts.Interrupted):
        signal.raise_signal(signal.SIGTERM)


def test_what_is_ignored_stays_ignored():
    """nohup starts a program that ignores SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        interrupts.install()
        with interrupts.held_back():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("installed")
def test_a_forked_process_ends_at_a_signal_without_a_word():
    """Pools of processes end theirs with SIGTERM."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, b"!")
        time.sleep(60)
        os._exit(0)
    os.read(read, 1)
    os.close(read)
    os.close(write)
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM


@pytest.mark.usefixtures("installed")
def test_a_worker_drops_a_signal_that_came_before_it_was_on_its_own():
    """It was for the main process; what comes later is received."""
    signal.pthread_sigmask(signal.SIG_BLOCK, interrupts.WORDS)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    assert signal.SIGTERM in signal.sigpending()
    interrupts.receive()
    assert signal.sigpending() == set()
    with pytest.raises(interrupts.Interrupted):
        signal.raise_signal(signal.SIGTERM)
