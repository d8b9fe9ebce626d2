"""Freed memory is kept for the next step of a training."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from hepbench.training.networks import memory

SCRIPT = """
import resource, torch
from hepbench.training.networks import memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(16_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
before = faults()
memory.keep_freed_memory()
faults()
print(before, faults())
"""


def is_recent_glibc():
    name, version = platform.libc_ver()
    return name == "glibc" and tuple(map(int, version.split("."))) >= (2, 35)


@pytest.mark.skipif(not is_recent_glibc(), reason="needs Linux with glibc 2.35 or newer")
def test_freed_memory_is_not_asked_for_again():
    """A tensor of 64 MB is mapped page by page each time that it is made; afterwards only once."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, check=True, text=True
    )
    before, after = map(int, done.stdout.split())
    assert after < before / 10


def test_a_c_library_without_the_settings_is_left_alone(monkeypatch):
    """Such as musl's or that of macOS."""
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    memory.keep_freed_memory()


@pytest.mark.parametrize(
    ("largest", "asked"),
    [
        (2**28, [(-3, 2**28), (-1, -1)]),
        (2**25, [(-3, 2**28), (-3, 2**25), (-1, -1)]),
        (0, [(-3, 2**28), (-3, 2**25)]),
    ],
    ids=["glibc 2.35", "older", "none is taken"],
)
def test_an_older_c_library_takes_a_smaller_size(monkeypatch, largest, asked):
    """If it takes none, the end of the heap is not kept either, which alone would be slower."""
    found = []

    class Library:
        def mallopt(self, option, value):
            found.append((option, value))
            return int(value <= largest)

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: Library())
    memory.keep_freed_memory()
    assert found == asked
