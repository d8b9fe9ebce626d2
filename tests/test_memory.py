"""Freed memory is kept for the next step of a training."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

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


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs Linux: mallopt of glibc"
)
def test_freed_memory_is_not_asked_for_again():
    """A tensor of 64 MB is mapped page by page each time that it is made; afterwards only once."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, check=True, text=True
    )
    before, after = map(int, done.stdout.split())
    assert after < before / 10


def test_a_c_library_without_the_settings_is_left_alone(monkeypatch):
    """Such as musl's or that of macOS."""
    from hepbench.training.networks import memory

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    memory.keep_freed_memory()
