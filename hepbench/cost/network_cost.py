"""Measure the cost of scoring with a network: operations, and latency in torch and ONNX Runtime.

Operations are counted (``counting``); latency is measured in eager torch and, after export
(``export``), in ONNX Runtime.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from hepbench.cost import counting, export, onnx_runtime, tracing
from hepbench.cost.messages import CountedMacs
from hepbench.cost.report import batch_sizes, peak_memory, time_runtimes
from hepbench.cost.varied_inputs import VariedInputs
from hepbench.specs.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import nn

    from hepbench.cost.counting import MacCount
    from hepbench.cost.report import CostReport, TimingSettings
    from hepbench.cost.timing import Call, Calls
    from hepbench.cost.tracing import Tensors
    from hepbench.specs.types import Inputs

MIN_ZERO_FRACTION = 0.01
"""``theoretical_macs`` is reported if more than this fraction of MACs has a zero weight."""


def measure_network(
    network: nn.Module, inputs: Inputs, settings: TimingSettings, folder: Path, report: CostReport
) -> None:
    """Measure the cost of scoring with a network: see ``measure.measure``."""
    _count(network, tracing.batch(inputs, 1), report)
    arrays = {name: np.asarray(values) for name, values in inputs.items()}
    with _torch_threads(settings.threads), tracing.eval_without_gradients(network):
        sizes = batch_sizes(
            lambda n: _torch_calls(network, VariedInputs(arrays, n)), settings.large
        )
        batches = {n: VariedInputs(arrays, n) for n in sizes}
        calls = {("torch", n): _torch_calls(network, varied) for n, varied in batches.items()}
        report.add(peak_memory_mb=peak_memory(calls["torch", max(sizes)]))
        if path := _exported(network, inputs, folder, report):
            session = onnx_runtime.session(path, threads=settings.threads)
            for n, varied in batches.items():
                calls["onnxruntime", n] = onnx_runtime.calls(session, varied)
        if settings.device != "cpu":
            calls |= _on_device(network, batches, settings.device)
        time_runtimes(calls, settings, report)


def _exported(network: nn.Module, inputs: Inputs, folder: Path, report: CostReport) -> Path | None:
    """Export a network to ONNX; if that fails, report the reason and return None."""
    path = folder / "network.onnx"
    try:
        report.export_difference = export.export(network, inputs, path)
    except ExportError as error:
        report.gap(f"onnxruntime: {error}")
        # a missing package is no fault of the network
        if not onnx_runtime.missing():
            report.warnings.append(f"export: {error}")
        return None
    return path


def _count(network: nn.Module, one: Tensors, report: CostReport) -> None:
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
    # zero is not a count if no operator could be counted
    if counted.macs is None or (not counted.macs and counted.gaps):
        return {}
    fields = {"macs": counted.macs, "flops": 2 * counted.macs}
    theoretical = counting.theoretical_macs(network, one, counted.macs)
    # a few weights may be zero by chance
    if theoretical < (1 - MIN_ZERO_FRACTION) * counted.macs:
        fields["theoretical_macs"] = theoretical
    return fields


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
