"""Facts about the machine, read only here: time, hardware, processes, versions and git."""

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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

COMPUTING = ("numpy", "scikit-learn", "torch")
"""Distributions whose versions are part of the key of a method; torch only for networks."""


def now() -> str:
    """Return the machine's current time in UTC, in ISO 8601 format."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


MEASURING = ("fvcore", "onnx", "onnxruntime")
"""Distributions whose versions are part of the key of a cost."""


@cache
def libraries() -> dict[str, str]:
    """Return the installed versions of Python and of the libraries that compute."""
    found = {name: _version_or_absent(name) for name in COMPUTING}
    return {"python": ".".join(platform.python_version_tuple()[:2]), **found}


@cache
def cost_facts() -> dict[str, str]:
    """Return the machine facts in a cost's key: host, processor, versions that matter."""
    about = {name: str(description()[name]) for name in ("host", "processor")}
    return about | {name: _version_or_absent(name) for name in MEASURING}


def _version_or_absent(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def cores() -> int:
    """Return how many cores of the machine this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """Return the machine's memory in bytes, or the container's limit if that is less."""
    # not from psutil: importing it would slow down every plan
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):
        return total
    return min(total, limit)


def peak_memory_mb() -> float:
    """Return this process's peak memory so far, in MB."""
    # not from psutil, which has no peak of memory on Linux and macOS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def cpu_seconds() -> float:
    """Return this process's CPU time so far in s: all its threads, and children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def children() -> list[int]:
    """Return the ids of this process's child processes that may be killed.

    Children that ignore SIGTERM, such as Python's resource tracker, are left out: they end by
    themselves.
    """
    if not _has_children():
        return []
    import psutil

    found = psutil.Process().children()
    return [child.pid for child in found if is_running(child.pid) and not _ignores_sigterm(child)]


def _has_children() -> bool:
    # much faster than to look through all processes; before Python 3.13 macOS has no waitid
    if not hasattr(os, "waitid"):
        return True
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _ignores_sigterm(process: psutil.Process) -> bool:
    import psutil

    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        # macOS does not list ignored signals
        with suppress(psutil.Error):
            return "multiprocessing.resource_tracker" in " ".join(process.cmdline())
        return False
    ignored = next(line.partition(":")[2] for line in lines if line.startswith("SigIgn"))
    return bool(int(ignored, 16) >> (signal.SIGTERM - 1) & 1)


def is_running(pid: int) -> bool:
    """Whether a process is still running; a zombie is not."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def worked_seconds() -> float | None:
    """Return the machine's total CPU time since it started, over all cores; None if unknown.

    Time that the hypervisor took for other virtual machines counts as work.
    """
    import psutil

    try:
        times = psutil.cpu_times()._asdict()
    except OSError:
        return None
    # Linux counts guests in user and nice too
    idle = {"idle", "iowait", "guest", "guest_nice"}
    return float(sum(seconds for name, seconds in times.items() if name not in idle))


def forget_peak_memory() -> None:
    """Reset ``peak_memory_mb`` of this process to the memory in use now (Linux only)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


@cache
def description() -> dict[str, str | float]:
    """Return host, processor, cores, memory and operating system of this machine."""
    return {
        "host": platform.node(),
        "processor": _processor_model(),
        "cores": cores(),
        "memory_gb": round(memory() / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
    }


def _processor_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@cache
def git() -> str:
    """Return the git commit of the working directory, with ``+`` if files were edited."""
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip()
