"""The machine: which processes run, and for how long its cores have worked."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from hepbench.storage import machine

IGNORES_SIGTERM = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def start():
    """Return a function that starts Python code as a child; all children end with the test."""
    children = []

    def started(code):
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        children.append(child)
        return child

    yield started
    for child in children:
        child.kill()
        child.wait()
        child.stdout.close()


def test_running_children_are_listed(start):
    """Zombies and children that ignore SIGTERM are not."""
    running = start("import time; print('ready', flush=True); time.sleep(60)")
    stubborn, zombie = start(IGNORES_SIGTERM), start("")
    for child in (running, stubborn):
        assert child.stdout.readline() == b"ready\n"
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    found = machine.children()
    assert running.pid in found
    assert not {stubborn.pid, zombie.pid} & set(found)


def test_a_zombie_does_not_run(start):
    """Neither does a process that does not exist."""
    child = start("import time; time.sleep(60)")
    assert machine.is_running(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not machine.is_running(child.pid)
    child.wait()
    assert not machine.is_running(child.pid)


def test_work_of_this_process_is_work_of_the_machine():
    """Cores together have worked at least as long as this process in between."""
    before, here = machine.worked_seconds(), time.process_time()
    while time.process_time() - here < 0.2:
        pass
    # the system counts in ticks of 10 ms
    assert machine.worked_seconds() - before > 0.15
