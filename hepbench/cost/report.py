"""Collect what a cost stage measures, and time the calls of a model: shared by all kinds of models."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np

from hepbench.cost import onnx_runtime
from hepbench.cost.messages import CostResult, CountedMacs
from hepbench.cost.timing import idle_warnings, measure_background_load, time_calls
from hepbench.storage import machine
from hepbench.storage.costs import Cost, Latency, Round

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hepbench.cost.timing import Call, Calls, CallTimes
    from hepbench.specs.errors import ExportError

CALL_LIMIT_S = 1.0
"""Time limit in seconds of a call that scores the large batch; a slower batch is halved."""

REFERENCE = ("reference", 1)
"""Stands for the reference computation among the calls that are timed."""

SPEED_UP = 4
"""Largest expected speed-up per example from a large batch."""


Share: TypeAlias = "Callable[[str | None, Callable[[], CostResult]], CostResult]"
"""Returns the counts and latencies of an earlier network of the same form, else computes them.

It takes the digest of the ONNX graph, where networks of one form have several; and a function that
computes them.
"""


def unshared(_graph: str | None, compute: Callable[[], CostResult]) -> CostResult:
    """Compute counts and latencies; see ``Share``."""
    return compute()


@dataclass(frozen=True, kw_only=True)
class TimingSettings:
    """Settings of a latency measurement: threads, large batch, time limit per latency, device."""

    threads: int
    large: int
    limit_s: float
    device: str = "cpu"


@dataclass
class CostReport:
    """Collects the results and warnings of a cost measurement."""

    cost: Cost = field(default_factory=Cost)
    warnings: list[str] = field(default_factory=list)
    counted: CountedMacs | None = None
    export_difference: float | None = None
    graph: str = ""
    measured_on: str = ""

    def add(self, **fields: Any) -> None:
        """Set fields of the measured cost."""
        self.cost = msgspec.structs.replace(self.cost, **fields)

    def gap(self, text: str) -> None:
        """Add a line about a value that could not be measured."""
        self.add(gaps=[*self.cost.gaps, text])

    def export_failed(self, error: ExportError) -> None:
        """Report that there is no ONNX graph to time, and why."""
        self.gap(f"onnxruntime: {error}")
        # a missing package is no fault of the model
        if not onnx_runtime.missing():
            self.warnings.append(f"export: {error}")

    def add_measured(self, measured: CostResult) -> None:
        """Add the counts and latencies of a network of the same form."""
        self.cost = msgspec.structs.replace(
            measured.cost, gaps=[*measured.cost.gaps, *self.cost.gaps]
        )
        self.warnings = [*measured.warnings, *self.warnings]
        self.counted, self.measured_on = measured.counted, measured.measured_on

    def result(self) -> CostResult:
        """Return the measured cost as a message."""
        return CostResult(
            cost=self.cost,
            warnings=self.warnings,
            counted=self.counted,
            export_difference=self.export_difference,
            graph=self.graph,
            measured_on=self.measured_on,
        )


def batch_sizes(calls_of: Callable[[int], Calls], large: int) -> tuple[int, ...]:
    """Return the batch sizes to time: 1, and the largest up to ``large`` that is fast enough."""
    one = calls_of(1)
    # the first call also sets things up
    one()()
    seconds, n = _seconds(one()), large
    while n > 1 and n * seconds > SPEED_UP * CALL_LIMIT_S:
        n //= 2
    # where a call is certainly short, it is not made: it would add to the peak memory
    while n > 1 and n * seconds > CALL_LIMIT_S / 2 and _seconds(calls_of(n)()) > CALL_LIMIT_S:
        n //= 2
    return (1, n) if n > 1 else (1,)


def _seconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_memory(calls: Calls) -> float:
    """Return the peak memory of this process in MB while it scores for the first time.

    Libraries are included, as in the peak memory of training.
    """
    call = calls()
    machine.forget_peak_memory()
    call()
    return machine.peak_memory_mb()


def time_runtimes(
    calls: Mapping[tuple[str, int], Calls], settings: TimingSettings, report: CostReport
) -> None:
    """Measure the latency of each runtime and batch size; add warnings to the report."""
    with measure_background_load() as load:
        timed = time_calls({**calls, REFERENCE: _reference_calls()}, limit_s=settings.limit_s)
    reference = timed.pop(REFERENCE)
    latencies = [_latency(r, n, times, load.others) for (r, n), times in timed.items()]
    report.add(
        latencies=[msgspec.structs.replace(x, reference_ms=reference.median) for x in latencies]
    )
    report.warnings += load.warnings(settings.threads)
    if settings.threads == 1:
        # while a GPU works, the calling thread waits
        on_thread = {
            f"{'Python' if runtime == 'native' else runtime} at batch {n}": times
            for (runtime, n), times in timed.items()
            if not runtime.startswith("torch-")
        }
        report.warnings += idle_warnings(on_thread, load)


def _reference_calls() -> Calls:
    """Return calls of a fixed computation, whose time shows how fast the machine is at the moment."""
    matrix = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    return lambda: partial(np.matmul, matrix, matrix)


def _latency(runtime: str, n: int, times: CallTimes, load: float | None) -> Latency:
    return Latency(
        runtime=runtime,
        batch=n,
        median_ms=times.median,
        p95_ms=times.p95,
        cpu_ms=times.cpu,
        precision=times.precision,
        rounds=msgspec.convert(times.rounds, list[Round]),
        load=load,
    )
