"""The record of the cost of a cell: counts, latencies, and doubts about a latency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator


RUNTIMES = {"": "onnxruntime", "_torch": "torch", "_python": "native"}
"""Runtime of a recorded latency, by the end of the name of its table column."""


STATED = ("parameters", "nonzero_parameters", "macs", "flops", "comparisons")
"""Fields of a cost that an estimator states about itself; those of networks are counted."""


PRECISION = 0.1
"""A median is in doubt if half of its 95 % interval is more than this fraction of it."""


DRIFT = 0.2
"""Rounds of a latency agree if their medians differ by at most this fraction of it."""


ROUNDS_DIFFER = f"repeated timings differ by more than {DRIFT:.0%}"


WAITING = 0.1
"""A wall time is in doubt if more than this fraction of it is no CPU time."""


class Device(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The record of the device that computed.

    Attributes:
        kind: ``cpu``, ``cuda`` or ``mps``.
        name: model of the processor.
        precision: of the computation, such as ``float32``.
        capability: its instruction set or compute capability; empty: not recorded.
    """

    kind: str = ""
    name: str = ""
    precision: str = ""
    capability: str = ""


class Round(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The record of one round of calls in a latency measurement.

    Attributes:
        calls: number of calls.
        wall_s: wall time of all calls, in s.
        cpu_s: CPU time of the calling thread, in s.
        median_ms: median wall time of a call, in ms.
        cpu_ms: median CPU time of a call, in ms; None in older records.
    """

    calls: int
    wall_s: float
    cpu_s: float
    median_ms: float
    cpu_ms: float | None = None


class Latency(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The record of a latency: the time of one call that scores a batch.

    Attributes:
        runtime: ``onnxruntime``; ``torch``; ``native``: the Python code of an estimator;
            ``torch-cuda``: torch on a GPU.
        batch: examples in the batch.
        median_ms, p95_ms: median and 95th percentile of the wall times of all calls, in ms.
        cpu_ms: CPU time of the calling thread in a call, in ms: median of the fastest round, since
            other work can only make it longer; None in older records.
        precision: half of the 95 % interval of the median, as a fraction of it.
        rounds: the measurement, round by round.
        load: cores that other processes kept busy meanwhile.
        measured_on: key of the method stage whose network or estimator was timed: perhaps of another
            cell, with a network of the same layers and sizes.
        device: where it was timed.
        reference_ms: median time of a fixed reference computation in the same process, in ms.
    """

    runtime: str
    batch: int
    median_ms: float
    p95_ms: float
    cpu_ms: float | None = None
    precision: float | None = None
    rounds: list[Round] = []
    load: float | None = None
    measured_on: str = ""
    device: Device | None = None
    reference_ms: float | None = None

    def wall_doubts(self, *, threads: int) -> Iterator[str]:
        """Yield why the recorded wall time may be wrong.

        Args:
            threads: of the measured model; with several, the calling thread waits for the others.
        """
        if self.precision is not None and self.precision > PRECISION:
            yield f"the median is known to no better than {PRECISION:.0%}"
        medians = [each.median_ms for each in self.rounds]
        if medians and max(medians) - min(medians) > DRIFT * self.median_ms:
            yield ROUNDS_DIFFER
        if threads == 1 and not self.runtime.startswith("torch-") and self._waiting() > WAITING:
            yield f"more than {WAITING:.0%} of it is no CPU time (other work, or a sleep)"

    def cpu_doubts(self) -> Iterator[str]:
        """Yield why the recorded CPU time may be wrong.

        It is that of the fastest round, so one slower round says nothing against it; two do.
        """
        if self.cpu_ms is None:
            return
        medians = [each.cpu_ms for each in self.rounds if each.cpu_ms is not None]
        far = sum(abs(each - self.cpu_ms) > DRIFT * self.cpu_ms for each in medians)
        if 2 * far > len(medians):
            yield ROUNDS_DIFFER

    def _waiting(self) -> float:
        """Return the fraction of the wall time of a call in which it did not compute."""
        known = [1 - x.cpu_ms / x.median_ms for x in self.rounds if x.cpu_ms is not None]
        if known:
            return sorted(known)[len(known) // 2]
        wall = sum(each.wall_s for each in self.rounds)
        return 1 - sum(each.cpu_s for each in self.rounds) / wall if wall else 0.0


class Cost(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The record of the cost of a cell.

    Attributes:
        parameters, nonzero_parameters: of the network that was scored, or as the estimator states.
        macs: multiply-accumulates of scoring one example.
        flops: twice the multiply-accumulates.
        theoretical_macs: ``macs`` without those of zero weights, which masking alone does not save.
        comparisons: along the paths of one example through trees, on average.
        stated: those of the fields above that an estimator states about itself; the others were
            counted.
        latencies: by runtime and batch.
        gaps: what could not be measured or counted, ``name: why``.
        train_seconds: wall time of all methods of the chain together.
        train_cpu_seconds: their CPU time: all threads, and processes that have ended.
        trained_per_second: training examples that the trainings of all methods processed, an example
            once in each epoch, / ``train_seconds``; None if an estimator fits itself.
        pretrain_cpu_seconds: CPU time of the methods of the chain that trained an encoder without
            labels, as measured when they ran: once for all cells that share them. None if there are
            no such methods.
        pretrain_examples: training examples that they processed, an example once in each epoch.
        peak_memory_mb: of scoring a large batch; of training where scoring was not measured.
    """

    parameters: int | None = None
    nonzero_parameters: int | None = None
    macs: int | None = None
    flops: int | None = None
    theoretical_macs: int | None = None
    comparisons: float | None = None
    stated: list[str] = []
    latencies: list[Latency] = []
    gaps: list[str] = []
    train_seconds: float | None = None
    train_cpu_seconds: float | None = None
    trained_per_second: float | None = None
    pretrain_cpu_seconds: float | None = None
    pretrain_examples: int | None = None
    peak_memory_mb: float | None = None

    def timed(self, column: str) -> Latency | None:
        """Return the recorded latency behind a table column: one runtime, one batch size.

        Args:
            column: one of LATENCIES.
        """
        batched = column.startswith("batch_")
        name = column.removeprefix("batch_").removeprefix("latency").removesuffix("_cpu")
        size = (self.large_batch or 0) if batched else 1
        found = (x for x in self.latencies if (x.runtime, x.batch) == (RUNTIMES[name], size))
        return next(found, None)

    def milliseconds(self, column: str) -> float | None:
        """Return the recorded median in a table column of latencies, in ms."""
        if (found := self.timed(column)) is None:
            return None
        return found.cpu_ms if column.endswith("_cpu") else found.median_ms

    @property
    def large_batch(self) -> int | None:
        """The recorded size of the large batch that was timed, None if there was none."""
        largest = max((each.batch for each in self.latencies), default=1)
        return largest if largest > 1 else None

    @property
    def load(self) -> float | None:
        """The recorded background load: most cores that other processes used during timing."""
        return max((each.load for each in self.latencies if each.load is not None), default=None)

    def reason(self, name: str) -> str:
        """Return why a value or runtime is missing in a record; empty if nothing says so."""
        found = (gap.partition(": ") for gap in self.gaps)
        return next((why for what, _, why in found if what == name), "")


LATENCIES = tuple(
    f"{batch}latency{runtime}{clock}"
    for batch in ("", "batch_")
    for runtime in RUNTIMES
    for clock in ("", "_cpu")
)
"""Table columns of latencies: ``latency`` in ONNX Runtime, ``latency_torch``, ``latency_python``,
with ``batch_`` of a large batch, with ``_cpu`` the CPU time of the calling thread."""
