"""Measure the cost of scoring with a network or estimator: operations, latency and memory.

No other stage of any run works on the machine meanwhile. For a network, operations are counted
(``counting``), and latency is measured in eager torch and, after export (``export``), in ONNX
Runtime. An estimator reports its operations itself, and its latency is measured in Python.
"""

from __future__ import annotations

import copy
import math
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from hepbench.cost.messages import CostResult, CountedMacs, TimedCall
from hepbench.cost.timing import LIMIT_S, latency_warnings, measure_background_load, time_calls
from hepbench.specs.errors import ExportError, PluginError
from hepbench.specs.model import Estimator
from hepbench.storage import machine
from hepbench.storage.records import Cost, Latency, Round

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from torch import nn

    from hepbench.cost.counting import MacCount
    from hepbench.cost.timing import Call, CallTimes
    from hepbench.cost.tracing import Tensors
    from hepbench.specs.types import Inputs

LARGE = 256
"""The batch size at which latency is measured, besides batch size 1."""

CALL_LIMIT_S = 1.0
"""Time limit in seconds of a call that scores the large batch; a slower batch is halved."""

SPEED_UP = 4
"""Largest expected speed-up per example from a large batch."""

MIN_ZERO_FRACTION = 0.01
"""``theoretical_macs`` is reported if more than this fraction of MACs has a zero weight."""

OPERATIONS = ("macs", "comparisons")


@dataclass(frozen=True, kw_only=True)
class TimingSettings:
    """Settings of a latency measurement: threads, large batch, time limit per latency, device."""

    threads: int
    large: int
    limit_s: float
    device: str = "cpu"


@dataclass
class _CostReport:
    """Collects the results and warnings of a cost measurement."""

    cost: Cost = field(default_factory=Cost)
    warnings: list[str] = field(default_factory=list)
    counted: CountedMacs | None = None
    export_difference: float | None = None
    timed: list[TimedCall] = field(default_factory=list)

    def add(self, **fields: Any) -> None:
        """Set fields of the measured cost."""
        self.cost = msgspec.structs.replace(self.cost, **fields)

    def gap(self, text: str) -> None:
        """Add a line about a value that could not be measured."""
        self.add(gaps=[*self.cost.gaps, text])

    def result(self) -> CostResult:
        """Return the measured cost as a message."""
        return CostResult(
            cost=self.cost,
            warnings=self.warnings,
            counted=self.counted,
            export_difference=self.export_difference,
            timed=self.timed,
        )


def measure(
    scored: nn.Module | Estimator,
    inputs: Inputs,
    *,
    folder: Path,
    threads: int = 1,
    large: int = LARGE,
    limit_s: float = LIMIT_S,
    device: str = "cpu",
) -> CostResult:
    """Measure the cost of scoring with a network or estimator.

    Args:
        scored: a network on the CPU, called with a dict of named inputs; or an estimator.
        inputs: examples by name, the batch on the first axis. They come from the dataset, because
            the work may depend on values. If there are fewer than ``large``, they are repeated.
        folder: where the exported graph, ``network.onnx``, is written.
        threads: number of threads of torch, ONNX Runtime, OpenMP and BLAS.
        large: batch size, besides 1; halved until a call takes less than CALL_LIMIT_S.
        limit_s: time limit of each latency, in seconds.
        device: torch's name of a GPU, on which a network is timed too.
    """
    settings = TimingSettings(threads=threads, large=large, limit_s=limit_s, device=device)
    report = _CostReport()
    if isinstance(scored, Estimator):
        _measure_estimator(scored, inputs, settings, report)
    else:
        _measure_network(scored, inputs, settings, folder, report)
    return report.result()


# --- networks


def _measure_network(
    network: nn.Module, inputs: Inputs, settings: TimingSettings, folder: Path, report: _CostReport
) -> None:
    from hepbench.cost import export, tracing

    _count(network, tracing.batch(inputs, 1), report)
    with _torch_threads(settings.threads), tracing.eval_without_gradients(network):
        sizes = _batch_sizes(
            lambda n: _torch_call(network, tracing.batch(inputs, n)), settings.large
        )
        batches = {n: tracing.batch(inputs, n) for n in sizes}
        calls = {("torch", n): _torch_call(network, tensors) for n, tensors in batches.items()}
        report.add(peak_memory_mb=_peak_memory(calls["torch", max(sizes)]))
        if path := _exported(network, inputs, folder, report):
            session = export.session(path, threads=settings.threads)
            for n, tensors in batches.items():
                calls["onnxruntime", n] = _onnx_call(session, export.feeds(session, tensors))
        if settings.device != "cpu":
            calls |= _on_device(network, batches, settings.device)
        _time_runtimes(calls, settings, report)


def _exported(network: nn.Module, inputs: Inputs, folder: Path, report: _CostReport) -> Path | None:
    """Export a network to ONNX; if that fails, report the reason and return None."""
    from hepbench.cost import export

    path = folder / "network.onnx"
    try:
        report.export_difference = export.export(network, inputs, path)
    except ExportError as error:
        report.gap(f"onnxruntime: {error}")
        # a missing package is no fault of the network
        if not export.missing():
            report.warnings.append(f"export: {error}")
        return None
    return path


def _count(network: nn.Module, one: Tensors, report: _CostReport) -> None:
    from hepbench.cost import counting

    counted = counting.count(network, one)
    report.counted = CountedMacs(
        by_operator=dict(counted.by_operator),
        elementwise=counted.elementwise,
        cross_check=counted.cross_check,
        ratio=counted.ratio,
    )
    report.warnings += counted.warnings
    report.add(
        parameters=counting.parameters(network),
        nonzero_parameters=counting.nonzero_parameters(network),
        gaps=[f"macs: {gap}" for gap in counted.gaps],
        **_macs(network, one, counted),
    )


def _macs(network: nn.Module, one: Tensors, counted: MacCount) -> dict[str, int]:
    from hepbench.cost import counting

    # zero is not a count if no operator could be counted
    if counted.macs is None or (not counted.macs and counted.gaps):
        return {}
    fields = {"macs": counted.macs, "flops": 2 * counted.macs}
    theoretical = counting.theoretical_macs(network, one, counted.macs)
    # a few weights may be zero by chance
    if theoretical < (1 - MIN_ZERO_FRACTION) * counted.macs:
        fields["theoretical_macs"] = theoretical
    return fields


def _torch_call(network: nn.Module, tensors: Tensors) -> Call:
    import torch

    def call() -> object:
        with torch.inference_mode():
            return network(tensors)

    return call


def _on_device(
    network: nn.Module, batches: Mapping[int, Tensors], device: str
) -> dict[tuple[str, int], Call]:
    """Return functions that score on a GPU, by runtime name (such as ``torch-cuda``) and batch."""
    copied = copy.deepcopy(network).to(device)
    on_device = {
        n: {name: tensor.to(device) for name, tensor in tensors.items()}
        for n, tensors in batches.items()
    }
    runtime = f"torch-{device.partition(':')[0]}"
    return {
        (runtime, n): _synchronised(_torch_call(copied, t), device) for n, t in on_device.items()
    }


def _synchronised(call: Call, device: str) -> Call:
    """Return a function that calls another and waits until the GPU has finished."""
    import torch

    def finished() -> object:
        result = call()
        getattr(torch, device.partition(":")[0]).synchronize()
        return result

    return finished


def _onnx_call(session: Any, feeds: Mapping[str, Any]) -> Call:
    return lambda: session.run(None, feeds)


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# --- estimators


def _measure_estimator(
    estimator: Estimator, inputs: Inputs, settings: TimingSettings, report: _CostReport
) -> None:
    if (parameters := getattr(estimator, "parameters", None)) is not None:
        report.add(parameters=int(parameters))
    operations = _operations(estimator)
    report.add(**operations)
    if not operations:
        name = type(estimator).__name__
        report.gap(f"operations: {name} has no cost() that counts them")
    with _native_threads(settings.threads):
        sizes = _batch_sizes(lambda n: _estimator_call(estimator, _rows(inputs, n)), settings.large)
        calls = {("native", n): _estimator_call(estimator, _rows(inputs, n)) for n in sizes}
        report.add(peak_memory_mb=_peak_memory(calls["native", max(sizes)]))
        _time_runtimes(calls, settings, report)


def _operations(estimator: Estimator) -> dict[str, Any]:
    """Return the operations per example that an estimator reports for scoring.

    Raises:
        PluginError: the report names other operations than OPERATIONS, or a number is not finite.
    """
    cost_function = getattr(estimator, "cost", None)
    if cost_function is None:
        return {}
    name, reported = type(estimator).__name__, dict(cost_function())
    for kind, value in reported.items():
        if kind not in OPERATIONS or not (math.isfinite(value) and value >= 0):
            msg = (
                f"{name}.cost() returns {kind!r}: {value!r}; finite numbers, at least 0, of "
                f"{' and '.join(OPERATIONS)} are expected"
            )
            raise PluginError(msg)
    if "macs" in reported:
        reported["macs"] = round(reported["macs"])
        reported["flops"] = 2 * reported["macs"]
    return reported


def _estimator_call(estimator: Estimator, rows: Inputs) -> Call:
    return lambda: estimator.scores(rows)


def _rows(inputs: Inputs, n: int) -> Inputs:
    return {name: np.array(values[np.arange(n) % len(values)]) for name, values in inputs.items()}


@contextmanager
def _native_threads(threads: int) -> Iterator[None]:
    with ExitStack() as contexts:
        # installed with scikit-learn
        if find_spec("threadpoolctl"):
            import threadpoolctl

            contexts.enter_context(threadpoolctl.threadpool_limits(limits=threads))
        yield


# --- both


def _batch_sizes(call_of: Callable[[int], Call], large: int) -> tuple[int, ...]:
    """Return the batch sizes to time: 1, and the largest up to ``large`` that is fast enough."""
    one = call_of(1)
    # the first call also sets things up
    one()
    seconds, n = _seconds(one), large
    while n > 1 and n * seconds > SPEED_UP * CALL_LIMIT_S:
        n //= 2
    # where a call is certainly short, it is not made: it would add to the peak memory
    while n > 1 and n * seconds > CALL_LIMIT_S / 2 and _seconds(call_of(n)) > CALL_LIMIT_S:
        n //= 2
    return (1, n) if n > 1 else (1,)


def _seconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _peak_memory(call: Call) -> float:
    """Return the peak memory of this process in MB while it scores for the first time.

    Libraries are included, as in the peak memory of training.
    """
    machine.forget_peak_memory()
    call()
    return machine.peak_memory_mb()


def _time_runtimes(
    calls: Mapping[tuple[str, int], Call], settings: TimingSettings, report: _CostReport
) -> None:
    """Measure the latency of each runtime and batch size; add warnings to the report."""
    with measure_background_load() as load:
        timed = time_calls(calls, limit_s=settings.limit_s)
    report.add(latencies=[_latency(r, n, times, load.others) for (r, n), times in timed.items()])
    report.timed = [_timed_call(runtime, n, times) for (runtime, n), times in timed.items()]
    named = {f"{runtime} at batch {n}": times for (runtime, n), times in timed.items()}
    report.warnings += [
        *latency_warnings(named, settings.threads),
        *load.warnings(settings.threads),
    ]


def _latency(runtime: str, n: int, times: CallTimes, load: float | None) -> Latency:
    return Latency(
        runtime=runtime,
        batch=n,
        median_ms=times.median,
        p95_ms=times.p95,
        rounds=msgspec.convert(times.rounds, list[Round]),
        load=load,
    )


def _timed_call(runtime: str, n: int, timed: CallTimes) -> TimedCall:
    return TimedCall(
        runtime=runtime,
        batch=n,
        calls=timed.calls,
        precision=timed.precision,
        drift=timed.drift,
        waited=timed.waited,
    )
