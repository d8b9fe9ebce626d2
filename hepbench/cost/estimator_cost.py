"""Measure the cost of scoring with an estimator: what it states, and latency in two runtimes.

It states its operations itself. Latency is measured in its own Python code and, if it offers an ONNX
graph (``estimator_export``), in ONNX Runtime.
"""

from __future__ import annotations

import math
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hepbench.cost import onnx_runtime
from hepbench.cost.estimator_export import export
from hepbench.cost.report import batch_sizes, peak_memory, time_runtimes
from hepbench.cost.varied_inputs import VariedInputs
from hepbench.specs.errors import ExportError, PluginError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hepbench.cost.report import CostReport, TimingSettings
    from hepbench.cost.timing import Call, Calls
    from hepbench.specs.model import Estimator
    from hepbench.specs.types import Inputs

OPERATIONS = ("macs", "comparisons")

CHECKED = 4096
"""Number of examples that an ONNX graph is checked with."""


def measure_estimator(
    estimator: Estimator,
    make_graph: Callable[[], Any] | None,
    inputs: Inputs,
    *,
    settings: TimingSettings,
    folder: Path,
    report: CostReport,
) -> None:
    """Measure the cost of scoring with an estimator: see ``measure.measure``.

    Args:
        make_graph: returns its ONNX graph; None: it offers none.
    """
    _add_stated(estimator, report)
    with _native_threads(settings.threads):
        sizes = batch_sizes(lambda n: _calls(estimator, VariedInputs(inputs, n)), settings.large)
        batches = {n: VariedInputs(inputs, n) for n in sizes}
        calls = {("native", n): _calls(estimator, varied) for n, varied in batches.items()}
        report.add(peak_memory_mb=peak_memory(calls["native", max(sizes)]))
        if path := _exported(estimator, make_graph, inputs, folder=folder, report=report):
            session = onnx_runtime.session(path, threads=settings.threads)
            for n, varied in batches.items():
                calls["onnxruntime", n] = onnx_runtime.calls(session, varied)
        time_runtimes(calls, settings, report)


def _exported(
    estimator: Estimator,
    make_graph: Callable[[], Any] | None,
    inputs: Inputs,
    *,
    folder: Path,
    report: CostReport,
) -> Path | None:
    """Write the ONNX graph of an estimator; if that fails, report the reason and return None."""
    if make_graph is None:
        report.gap(f"onnxruntime: {type(estimator).__name__} offers no ONNX graph")
        return None
    path = folder / "estimator.onnx"
    checked = {name: array[:CHECKED] for name, array in inputs.items()}
    try:
        report.export_difference = export(make_graph, estimator, checked, path)
    except ExportError as error:
        report.export_failed(error)
        return None
    return path


def _add_stated(estimator: Estimator, report: CostReport) -> None:
    """Report what an estimator states about itself: parameters and operations."""
    stated = _operations(estimator)
    if not stated:
        report.gap(f"operations: {type(estimator).__name__} has no cost() that counts them")
    if (parameters := getattr(estimator, "parameters", None)) is not None:
        stated = {"parameters": int(parameters), **stated}
    report.add(**stated, stated=list(stated))


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


def _calls(estimator: Estimator, varied: VariedInputs) -> Calls:
    """Return a function that returns calls which score new inputs in Python."""

    def calls() -> Call:
        inputs = varied()
        return lambda: estimator.scores(inputs)

    return calls


@contextmanager
def _native_threads(threads: int) -> Iterator[None]:
    with ExitStack() as contexts:
        # installed with scikit-learn
        if find_spec("threadpoolctl"):
            import threadpoolctl

            contexts.enter_context(threadpoolctl.threadpool_limits(limits=threads))
        yield
