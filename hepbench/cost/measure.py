"""Measure the cost of scoring with a network or estimator: operations, latency and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepbench.cost.report import CostReport, TimingSettings, unshared
from hepbench.cost.timing import LIMIT_S
from hepbench.specs.model import Estimator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import nn

    from hepbench.cost.messages import CostResult
    from hepbench.cost.report import Share
    from hepbench.specs.types import Inputs

LARGE = 256
"""The batch size at which latency is measured, besides batch size 1."""


def measure(
    scored: nn.Module | Estimator,
    inputs: Inputs,
    *,
    folder: Path,
    threads: int = 1,
    large: int = LARGE,
    limit_s: float = LIMIT_S,
    device: str = "cpu",
    make_graph: Callable[[], Any] | None = None,
    share: Share = unshared,
) -> CostResult:
    """Measure the cost of scoring with a network or estimator.

    Args:
        scored: a network on the CPU, called with a dict of named inputs; or an estimator.
        inputs: examples by name, the batch on the first axis. They come from the dataset, because
            the work may depend on values; ``varied_inputs`` makes batches from them.
        folder: where the exported graph, ``network.onnx`` or ``estimator.onnx``, is written.
        threads: number of threads of torch, ONNX Runtime, OpenMP and BLAS.
        large: batch size, besides 1; halved until a call takes less than CALL_LIMIT_S.
        limit_s: time limit of each latency, in seconds.
        device: torch's name of a GPU, on which a network is timed too.
        make_graph: returns the ONNX graph of an estimator; None: it offers none.
        share: finds counts and latencies of networks that were measured before.
    """
    settings = TimingSettings(threads=threads, large=large, limit_s=limit_s, device=device)
    report = CostReport()
    if isinstance(scored, Estimator):
        from hepbench.cost.estimator_cost import measure_estimator

        measure_estimator(
            scored, make_graph, inputs, settings=settings, folder=folder, report=report
        )
    else:
        # it imports torch, which estimators do without
        from hepbench.cost.network_cost import measure_network

        measure_network(scored, inputs, settings, folder=folder, report=report, share=share)
    return report.result()
