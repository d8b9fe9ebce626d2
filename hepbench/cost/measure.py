"""What scoring costs: operations, latency, memory, of the very network or estimator that scored.

The stage runs alone on the machine: nothing else of any run works while it measures. A network is
counted (``counting``), exported (``export``) and timed in eager torch and in ONNX Runtime; an
estimator reports its operations itself, and is timed in Python.
"""

from __future__ import annotations

import copy
import math
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from hepbench.cost.messages import CostResult, CountedMacs, TimedCall
from hepbench.cost.timing import LIMIT_S, doubts, measure_background_load, time_calls
from hepbench.specs.errors import ExportError, PluginError
from hepbench.specs.model import Estimator
from hepbench.storage import machine
from hepbench.storage.records import Cost, Latency, Round

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import nn

    from hepbench.cost.counting import Counted
    from hepbench.cost.timing import Call, Timed
    from hepbench.cost.tracing import Tensors
    from hepbench.specs.types import Inputs

LARGE = 256
"""The large batch, beside batch 1."""

NOTEWORTHY = 0.01
"""Fraction of MACs with weights of zero above which ``theoretical_macs`` is reported."""

OPERATIONS = ("macs", "comparisons")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How latencies are measured: threads, batch sizes, at most so many seconds for each, device."""

    threads: int
    sizes: tuple[int, ...]
    limit_s: float
    device: str = "cpu"


@dataclass
class _Findings:
    """What is known so far of a cost."""

    cost: Cost = field(default_factory=Cost)
    warnings: list[str] = field(default_factory=list)
    counted: CountedMacs | None = None
    export_difference: float | None = None
    timed: list[TimedCall] = field(default_factory=list)

    def add(self, **known: Any) -> None:
        """Set fields of the cost."""
        self.cost = msgspec.structs.replace(self.cost, **known)

    def gap(self, text: str) -> None:
        """Add a line on what could not be measured."""
        self.add(gaps=[*self.cost.gaps, text])

    def result(self) -> CostResult:
        """Return all of it as a message."""
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
    """Return what scoring costs.

    Args:
        scored: a network, called with a dict of named inputs, on the processor; or an estimator.
        inputs: examples by name, the batch on the first axis: real ones, since work may depend on
            values. Fewer than ``large`` are repeated.
        folder: where the exported graph, ``network.onnx``, is written.
        threads: of torch, of ONNX Runtime, of OpenMP and BLAS.
        large: batch size, beside 1.
        limit_s: seconds for each latency.
        device: a GPU on which a network is timed too, as torch names it.
    """
    setting = Setting(threads=threads, sizes=(1, large), limit_s=limit_s, device=device)
    found = _Findings()
    if isinstance(scored, Estimator):
        _measure_estimator(scored, inputs, setting, found)
    else:
        _measure_network(scored, inputs, setting, folder, found)
    return found.result()


# --- networks


def _measure_network(
    network: nn.Module, inputs: Inputs, setting: Setting, folder: Path, found: _Findings
) -> None:
    from hepbench.cost import export, tracing

    _count(network, tracing.batch(inputs, 1), found)
    batches = {n: tracing.batch(inputs, n) for n in setting.sizes}
    calls = {("torch", n): _eager(network, tensors) for n, tensors in batches.items()}
    with _torch_threads(setting.threads), tracing.scoring(network):
        found.add(peak_memory_mb=_peak_memory(calls["torch", max(setting.sizes)]))
        if path := _exported(network, inputs, folder, found):
            session = export.session(path, threads=setting.threads)
            for n, tensors in batches.items():
                calls["onnxruntime", n] = _in_session(session, export.feeds(session, tensors))
        if setting.device != "cpu":
            calls |= _on_device(network, batches, setting.device)
        _time(calls, setting, found)


def _exported(network: nn.Module, inputs: Inputs, folder: Path, found: _Findings) -> Path | None:
    """Export a network; where that fails, note the reason."""
    from hepbench.cost import export

    path = folder / "network.onnx"
    try:
        found.export_difference = export.export(network, inputs, path)
    except ExportError as error:
        found.gap(f"onnxruntime: {error}")
        # a missing package is no fault of the network
        if not export.missing():
            found.warnings.append(f"export: {error}")
        return None
    return path


def _count(network: nn.Module, one: Tensors, found: _Findings) -> None:
    from hepbench.cost import counting

    counted = counting.count(network, one)
    found.counted = CountedMacs(
        by_operator=dict(counted.by_operator),
        elementwise=counted.elementwise,
        cross_check=counted.cross_check,
        ratio=counted.ratio,
    )
    found.warnings += counted.warnings
    found.add(
        parameters=counting.parameters(network),
        nonzero_parameters=counting.nonzero_parameters(network),
        gaps=[f"macs: {gap}" for gap in counted.gaps],
        **_macs(network, one, counted),
    )


def _macs(network: nn.Module, one: Tensors, counted: Counted) -> dict[str, int]:
    from hepbench.cost import counting

    # zero is no count where everything was left out
    if counted.macs is None or (not counted.macs and counted.gaps):
        return {}
    known = {"macs": counted.macs, "flops": 2 * counted.macs}
    theoretical = counting.theoretical_macs(network, one, counted.macs)
    # a few weights may be zero by chance
    if theoretical < (1 - NOTEWORTHY) * counted.macs:
        known["theoretical_macs"] = theoretical
    return known


def _eager(network: nn.Module, tensors: Tensors) -> Call:
    import torch

    def call() -> object:
        with torch.inference_mode():
            return network(tensors)

    return call


def _on_device(
    network: nn.Module, batches: Mapping[int, Tensors], device: str
) -> dict[tuple[str, int], Call]:
    """Return calls on a GPU, under a runtime's name of their own, such as ``torch-cuda``."""
    moved = copy.deepcopy(network).to(device)
    there = {
        n: {name: tensor.to(device) for name, tensor in tensors.items()}
        for n, tensors in batches.items()
    }
    runtime = f"torch-{device.partition(':')[0]}"
    return {(runtime, n): _synchronised(_eager(moved, t), device) for n, t in there.items()}


def _synchronised(call: Call, device: str) -> Call:
    """Return a call that ends when the GPU has finished, not when its work is queued."""
    import torch

    def finished() -> object:
        made = call()
        getattr(torch, device.partition(":")[0]).synchronize()
        return made

    return finished


def _in_session(session: Any, feeds: Mapping[str, Any]) -> Call:
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
    estimator: Estimator, inputs: Inputs, setting: Setting, found: _Findings
) -> None:
    if (parameters := getattr(estimator, "parameters", None)) is not None:
        found.add(parameters=int(parameters))
    operations = _operations(estimator)
    found.add(**operations)
    if not operations:
        name = type(estimator).__name__
        found.gap(f"operations: {name} has no cost() that counts them")
    batches = {n: _rows(inputs, n) for n in setting.sizes}
    calls = {("native", n): _native(estimator, rows) for n, rows in batches.items()}
    with _native_threads(setting.threads):
        found.add(peak_memory_mb=_peak_memory(calls["native", max(setting.sizes)]))
        _time(calls, setting, found)


def _operations(estimator: Estimator) -> dict[str, Any]:
    """Return how many operations an estimator says that scoring one example takes.

    Raises:
        PluginError: it names others than OPERATIONS, or no finite number of them.
    """
    report = getattr(estimator, "cost", None)
    if report is None:
        return {}
    name, reported = type(estimator).__name__, dict(report())
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


def _native(estimator: Estimator, rows: Inputs) -> Call:
    return lambda: estimator.scores(rows)


def _rows(inputs: Inputs, n: int) -> Inputs:
    return {name: np.array(values[np.arange(n) % len(values)]) for name, values in inputs.items()}


@contextmanager
def _native_threads(threads: int) -> Iterator[None]:
    with ExitStack() as held:
        # it comes with scikit-learn
        if find_spec("threadpoolctl"):
            import threadpoolctl

            held.enter_context(threadpoolctl.threadpool_limits(limits=threads))
        yield


# --- both


def _peak_memory(call: Call) -> float:
    """Return the most memory, in MB, that this process holds while a call runs for the first time.

    It is that of the whole process, libraries included, as for training.
    """
    machine.forget_peak_memory()
    call()
    return machine.peak_memory_mb()


def _time(calls: Mapping[tuple[str, int], Call], setting: Setting, found: _Findings) -> None:
    """Time each runtime and batch, and note warnings about them."""
    with measure_background_load() as load:
        timed = time_calls(calls, limit_s=setting.limit_s)
    latencies = [_latency(r, n, each, load.others) for (r, n), each in timed.items()]
    found.add(latencies=latencies)
    found.timed = [_described(runtime, n, each) for (runtime, n), each in timed.items()]
    named = {f"{runtime} at batch {n}": each for (runtime, n), each in timed.items()}
    found.warnings += [*doubts(named, setting.threads), *load.doubts(setting.threads)]


def _latency(runtime: str, n: int, timed: Timed, load: float | None) -> Latency:
    return Latency(
        runtime=runtime,
        batch=n,
        median_ms=timed.median,
        p95_ms=timed.p95,
        rounds=msgspec.convert(timed.rounds, list[Round]),
        load=load,
    )


def _described(runtime: str, n: int, timed: Timed) -> TimedCall:
    return TimedCall(
        runtime=runtime,
        batch=n,
        calls=timed.calls,
        precision=timed.precision,
        drift=timed.drift,
        waited=timed.waited,
    )
