"""Measure the cost of scoring with a network: operations, and latency in torch and ONNX Runtime.

Operations are counted (``counting``); latency is measured in eager torch and, after export
(``export``), in ONNX Runtime.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from hepbench.cost import counting, export, onnx_runtime, tracing
from hepbench.cost.messages import CountedMacs
from hepbench.cost.report import CostReport, batch_sizes, peak_memory, time_runtimes
from hepbench.cost.varied_inputs import VariedInputs
from hepbench.specs.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from torch import nn

    from hepbench.cost.messages import CostResult
    from hepbench.cost.report import Share, TimingSettings
    from hepbench.cost.timing import Call, Calls
    from hepbench.cost.tracing import Tensors
    from hepbench.specs.types import Inputs

MIN_ZERO_FRACTION = 0.01
"""``theoretical_macs`` is reported if more than this fraction of MACs has a zero weight."""


def measure_network(
    network: nn.Module,
    inputs: Inputs,
    settings: TimingSettings,
    *,
    folder: Path,
    report: CostReport,
    share: Share,
) -> None:
    """Measure the cost of scoring with a network: see ``measure.measure``.

    Counts and latencies are those of the first network of the same form. The export, with its check,
    and what depends on zero weights are of this network.
    """
    exported = cache(partial(_exported, network, inputs, folder=folder, report=report))
    counted_and_timed = partial(_counted_and_timed, network, inputs, settings, exported)
    with _torch_threads(settings.threads), tracing.eval_without_gradients(network):
        measured = share(None, counted_and_timed)
        # of networks that are equal layer by layer, what is computed may depend on the weights
        exported()
        if measured.graph != report.graph:
            measured = share(report.graph, partial(counted_and_timed, after_export=True))
    report.add_measured(measured)
    report.add(
        parameters=counting.parameters(network),
        nonzero_parameters=counting.nonzero_parameters(network),
        **_theoretical_macs(network, tracing.batch(inputs, 1), measured.cost.macs),
    )


def _counted_and_timed(
    network: nn.Module,
    inputs: Inputs,
    settings: TimingSettings,
    exported: Callable[[], tuple[Path | None, str]],
    *,
    after_export: bool = False,
) -> CostResult:
    """Return the counts and latencies of a network.

    Args:
        exported: exports it; returns the file of the graph, and the digest of its form.
        after_export: whether it was exported before, which leaves memory in use.
    """
    report = CostReport()
    _count(network, tracing.batch(inputs, 1), report)
    arrays = {name: np.asarray(values) for name, values in inputs.items()}
    sizes = batch_sizes(lambda n: _torch_calls(network, VariedInputs(arrays, n)), settings.large)
    batches = {n: VariedInputs(arrays, n) for n in sizes}
    calls = {("torch", n): _torch_calls(network, varied) for n, varied in batches.items()}
    if after_export:
        report.gap("memory: the export of the network came first, and leaves memory in use")
    else:
        report.add(peak_memory_mb=peak_memory(calls["torch", max(sizes)]))
    path, report.graph = exported()
    if path is not None:
        session = onnx_runtime.session(path, threads=settings.threads)
        for n, varied in batches.items():
            calls["onnxruntime", n] = onnx_runtime.calls(session, varied)
    if settings.device != "cpu":
        calls |= _on_device(network, batches, settings.device)
    time_runtimes(calls, settings, report)
    return report.result()


def _exported(
    network: nn.Module, inputs: Inputs, *, folder: Path, report: CostReport
) -> tuple[Path | None, str]:
    """Export a network to ONNX; return the file and a digest of its form.

    If that fails, report the reason and return None.
    """
    path = folder / "network.onnx"
    try:
        report.export_difference = export.export(network, inputs, path)
    except ExportError as error:
        report.export_failed(error)
        return None, ""
    report.graph = onnx_runtime.form(path)
    return path, report.graph


def _count(network: nn.Module, one: Tensors, report: CostReport) -> None:
    counted = counting.count(network, one)
    report.counted = CountedMacs(
        by_operator=dict(counted.by_operator),
        elementwise=counted.elementwise,
        cross_check=counted.cross_check,
        ratio=counted.ratio,
    )
    report.warnings += counted.warnings
    report.add(gaps=[f"macs: {gap}" for gap in counted.gaps])
    # zero is not a count if no operator could be counted
    if counted.macs or (counted.macs == 0 and not counted.gaps):
        report.add(macs=counted.macs, flops=2 * counted.macs)


def _theoretical_macs(network: nn.Module, one: Tensors, macs: int | None) -> dict[str, int]:
    """Return the field of the MACs without those of zero weights, if there are many of these."""
    if macs is None:
        return {}
    theoretical = counting.theoretical_macs(network, one, macs)
    # a few weights may be zero by chance
    return {"theoretical_macs": theoretical} if theoretical < (1 - MIN_ZERO_FRACTION) * macs else {}


def _torch_calls(network: nn.Module, varied: VariedInputs, device: str = "cpu") -> Calls:
    """Return a function that returns calls which score new inputs in torch."""

    def calls() -> Call:
        tensors = {name: torch.from_numpy(array).to(device) for name, array in varied().items()}

        def call() -> object:
            with torch.inference_mode():
                return network(tensors)

        return call

    return calls


def _on_device(
    network: nn.Module, batches: Mapping[int, VariedInputs], device: str
) -> dict[tuple[str, int], Calls]:
    """Return functions that score on a GPU, by runtime name (such as ``torch-cuda``) and batch."""
    copied = copy.deepcopy(network).to(device)
    runtime = f"torch-{device.partition(':')[0]}"
    return {
        (runtime, n): _synchronised(_torch_calls(copied, varied, device), device)
        for n, varied in batches.items()
    }


def _synchronised(calls: Calls, device: str) -> Calls:
    """Return the calls of another function, each of which waits until the GPU has finished."""
    synchronise = getattr(torch, device.partition(":")[0]).synchronize

    def synchronised_calls() -> Call:
        call = calls()
        # the inputs are on the GPU before the clock starts
        synchronise()

        def finished() -> object:
            result = call()
            synchronise()
            return result

        return finished

    return synchronised_calls


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
