"""Make the recorded cost of a cell from the results of its method stages and its cost stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from hepbench.storage import machine
from hepbench.storage.costs import Cost, Device, Latency

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hepbench.cost.messages import CostResult
    from hepbench.training.messages import MethodResult, Trained


def cost(
    chain: Sequence[MethodResult],
    measured: CostResult | None,
    device: Device,
    *,
    measured_on: str,
    pretraining: int = 0,
) -> Cost:
    """Return the recorded cost of training, and that of scoring if it was measured.

    Args:
        chain: results of the method stages, in their order.
        measured: result of the cost stage.
        device: what the cell was computed on.
        measured_on: key of the method stage of this cell, whose result was timed unless the cost
            stage names another.
        pretraining: number of methods, the first ones, that train an encoder without labels.
    """
    last = chain[-1]
    known = _training_times(chain) | _pretraining([r.trained for r in chain[:pretraining]])
    if measured is None:
        known["peak_memory_mb"] = max(result.peak_memory_mb for result in chain)
    # the method stage counts only parameters that a score depends on
    for name in ("parameters", "nonzero_parameters"):
        if (value := getattr(last.trained, name)) is not None:
            known[name] = value
    scoring = measured.cost if measured else Cost()
    # perhaps another network of the same form
    timed = measured_on if measured is None else measured.measured_on or measured_on
    known["latencies"] = [_latency_with_device(each, device, timed) for each in scoring.latencies]
    return msgspec.structs.replace(scoring, **known)


def _training_times(chain: Sequence[MethodResult]) -> dict[str, Any]:
    """Return wall and CPU time of a chain's methods, and how fast they processed examples."""
    trained = [result.trained for result in chain]
    seconds = sum(each.seconds for each in trained)
    processed = sum(each.processed or 0 for each in trained)
    return {
        "train_seconds": seconds,
        "train_cpu_seconds": _cpu_seconds(trained),
        "trained_per_second": processed / seconds if processed and seconds else None,
    }


def _cpu_seconds(trained: Sequence[Trained]) -> float | None:
    """Return the CPU time of methods; None if a stage of an older version did not measure it."""
    known = [each.cpu_seconds for each in trained if each.cpu_seconds is not None]
    return sum(known) if len(known) == len(trained) else None


def _pretraining(trained: Sequence[Trained]) -> dict[str, Any]:
    """Return what a chain's pretraining cost when it ran; nothing if there was none."""
    if not trained:
        return {}
    processed = [each.processed for each in trained if each.processed is not None]
    return {
        "pretrain_cpu_seconds": _cpu_seconds(trained),
        "pretrain_examples": sum(processed) if len(processed) == len(trained) else None,
    }


def _latency_with_device(latency: Latency, device: Device, measured_on: str) -> Latency:
    """Return a latency with its device: all runtimes except ``torch-cuda`` use the CPU."""
    on_gpu = latency.runtime.removeprefix("torch-") == device.kind != "cpu"
    cpu = Device(kind="cpu", name=str(machine.description()["processor"]), precision="float32")
    return msgspec.structs.replace(
        latency, device=device if on_gpu else cpu, measured_on=measured_on
    )
