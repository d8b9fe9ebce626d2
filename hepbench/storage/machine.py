"""The machine: time, hardware, versions and git are read here and nowhere else."""

from __future__ import annotations

import os
import platform
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

COMPUTING = ("numpy", "scikit-learn", "torch")
"""Distributions whose version is part of a method's key; torch's where the model is a network."""


def now() -> str:
    """Return the time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


MEASURING = ("fvcore", "onnx", "onnxruntime")
"""Distributions whose version is part of the key of a cost."""


@cache
def libraries() -> dict[str, str]:
    """Return the versions of the libraries that compute, and of Python."""
    found = {name: _version(name) for name in COMPUTING}
    return {"python": ".".join(platform.python_version_tuple()[:2]), **found}


@cache
def cost_facts() -> dict[str, str]:
    """Return what a latency depends on beside the stage: host, processor, and what counts."""
    about = {name: str(description()[name]) for name in ("host", "processor")}
    return about | {name: _version(name) for name in MEASURING}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """Return the machine's memory in bytes, or the container's where that is less."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):
        return whole
    return min(whole, limit)


def peak_memory_mb() -> float:
    """Return the most memory that this process has held, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def children() -> list[int]:
    """Return the children of this process that run and may be ended (Linux; elsewhere none is known).

    What ignores SIGTERM, as Python's tracker of shared memory does, ends by itself.
    """
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return []
    found = []
    for path in Path("/proc").glob("[0-9]*/status"):
        # it may be gone by now
        with suppress(OSError):
            said = dict(line.partition(":\t")[::2] for line in path.read_text().splitlines())
            ignores = int(said["SigIgn"], 16) >> (signal.SIGTERM - 1) & 1
            if said["PPid"] == str(os.getpid()) and said["State"][0] != "Z" and not ignores:
                found.append(int(said["Pid"]))
    return found


def worked_seconds() -> float | None:
    """Return for how long the machine's cores have worked since it started, all of them together.

    What another machine on the same hardware took of them is work too. None where the system does
    not say (it does on Linux).
    """
    try:
        words = Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
        user, nice, system, _idle, _waiting, interrupts, soft, stolen = map(int, words)
    except (OSError, ValueError):
        return None
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


def forget_peak_memory() -> None:
    """Have ``peak_memory_mb`` begin at what is held now, where the system can (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


@cache
def description() -> dict[str, str | float]:
    """Return what a figure of cost depends on: host, processor, cores, memory, system."""
    return {
        "host": platform.node(),
        "processor": _processor(),
        "cores": cores(),
        "memory_gb": round(memory() / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@cache
def git() -> str:
    """Return the commit of the folder that the run was started in, ``+`` where it was edited."""
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
