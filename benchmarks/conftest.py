"""The fixture ``paced``: rounds of a benchmark alternate with rounds of a reference kernel.

Times are CPU times of the process, its threads and the children that have ended. Their ratio to the
kernel's time next to them changes little with the load and the clock of the machine, so that ratios of
two runs can be compared (``regressions.py``). ``--benchmark-json`` has both.
"""

from __future__ import annotations

import gc
import json
import resource
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_benchmark.fixture import BenchmarkFixture

ROUNDS = 20

ROUND_S = 0.02
"""Least CPU seconds of a round; a call that takes less is repeated."""

Result = TypeVar("Result")


class Paced(Protocol):
    """Times a call in rounds, alternately with a kernel, and returns what the call returned."""

    def __call__(
        self, call: Callable[[], Result], *, kernel: str = ..., rounds: int = ...
    ) -> Result: ...


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def objects_kernel() -> None:
    """Work as planning and tables do: texts, dicts and sorting."""
    rows = [{"name": f"row {i}", "value": i * 37 % 101, "more": [i, str(i)]} for i in range(6000)]
    rows = json.loads(json.dumps(rows))
    rows.sort(key=lambda row: (row["value"], row["name"]))


def arrays_kernel() -> None:
    """Work as networks do: products of float32 matrices, and a function of each element."""
    matrix = np.full((256, 256), 0.01, np.float32)
    for _ in range(50):
        matrix = np.tanh(matrix @ matrix)


KERNELS = {"objects": objects_kernel, "arrays": arrays_kernel}


def seconds_of(call: Callable[[], object]) -> float:
    """Return the CPU seconds of a call, with the garbage collector off as in a round."""
    gc.collect()
    gc.disable()
    start = cpu_seconds()
    call()
    found = cpu_seconds() - start
    gc.enable()
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let every benchmark measure CPU time, with the garbage collector off."""
    for item in items:
        item.add_marker(pytest.mark.benchmark(timer=cpu_seconds, disable_gc=True))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep numpy's libraries and torch to one thread."""
    import torch

    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield


@pytest.fixture
def paced(benchmark: BenchmarkFixture) -> Paced:
    """Return a function that measures a call and a kernel in turn."""

    def measure(
        call: Callable[[], Any], *, kernel: str = "objects", rounds: int = ROUNDS
    ) -> object:
        result, repeats = call(), 1
        # what exists now is not searched again by each collection
        gc.freeze()
        reference: list[float] = []

        def repeated() -> None:
            for _ in range(repeats):
                call()

        while seconds_of(repeated) < ROUND_S:
            repeats *= 2
        benchmark.pedantic(
            repeated,
            setup=lambda: reference.append(seconds_of(KERNELS[kernel])),
            rounds=rounds,
            warmup_rounds=1,
        )
        # the warm-up has one too
        benchmark.extra_info |= {"calls": repeats, "reference": reference[-rounds:]}
        return result

    return measure
