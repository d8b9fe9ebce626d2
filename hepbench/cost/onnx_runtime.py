"""Run an ONNX graph: the session whose latency is measured, its inputs, and what must be installed.

This module imports no torch: estimators are measured without it.
"""

from __future__ import annotations

import hashlib
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.registry.syntax import DIGEST_LENGTH
from hepbench.specs.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from hepbench.cost.timing import Call, Calls
    from hepbench.specs.types import Inputs


TOLERANCE = 1e-5
"""Largest allowed difference between a score (probability) of a graph and of its model."""


CHECKED = 7
"""Batch size with which a graph is checked, not a multiple of the one that a network is traced with."""


def missing() -> str:
    """Return an error message if packages for ONNX export are not installed, else ""."""
    missing_packages = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if not missing_packages:
        return ""
    return f"{' and '.join(missing_packages)} not installed: pip install 'hepbench[onnx]'"


def form(path: Path) -> str:
    """Return a digest of an ONNX graph without its real numbers, which are mostly weights."""
    import onnx

    model = onnx.load(path)
    real = {getattr(onnx.TensorProto, kind) for kind in ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE")}
    for tensor in _tensors(model.graph):
        if tensor.data_type in real:
            for values in ("raw_data", "float_data", "double_data"):
                tensor.ClearField(values)
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()[:DIGEST_LENGTH]


def _tensors(graph: Any) -> Iterator[Any]:
    """Yield the constant tensors of an ONNX graph and of the graphs inside of it."""
    yield from graph.initializer
    for attribute in (each for node in graph.node for each in node.attribute):
        if attribute.HasField("t"):
            yield attribute.t
        for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else ())):
            yield from _tensors(inner)


def checked_difference(
    actual: NDArray[np.float64], expected: NDArray[np.float64], *, graph: str, model: str
) -> float:
    """Return the largest difference between scores of an ONNX graph and of its model.

    Args:
        actual: (N, classes) scores of the graph.
        expected: those of the model.
        graph, model: their names in errors.

    Raises:
        ExportError: they have other shapes, or differ by more than TOLERANCE.
    """
    n = len(expected)
    if actual.shape != expected.shape:
        msg = f"{graph} returns {actual.shape} for {n} examples; {model} returns {expected.shape}"
        raise ExportError(msg)
    difference = float(abs(actual - expected).max())
    # this way round, a NaN fails
    if not difference <= TOLERANCE:
        msg = (
            f"scores of {graph} differ from {model}'s by {difference:.2g} with {n} examples; at most "
            f"{TOLERANCE:g} is allowed"
        )
        raise ExportError(msg)
    return difference


def session(path: str | os.PathLike[str], *, threads: int = 1) -> Any:
    """Return an ONNX Runtime session on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # 4: log fatal errors only; other errors are raised anyway
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        os.fspath(path), sess_options=options, providers=["CPUExecutionProvider"]
    )


def feeds(session: Any, inputs: Inputs) -> dict[str, NDArray[Any]]:
    """Return the inputs of an ONNX Runtime session, without inputs that the graph ignores.

    Raises:
        KeyError: the graph has an input of another name.
    """
    return {given.name: np.ascontiguousarray(inputs[given.name]) for given in session.get_inputs()}


def calls(session: Any, batches: Callable[[], Inputs]) -> Calls:
    """Return a function that returns calls which score the next batch in ONNX Runtime."""

    def next_call() -> Call:
        fed = feeds(session, batches())
        return lambda: session.run(None, fed)

    return next_call
