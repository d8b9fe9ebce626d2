"""Export a network to ONNX, and check the graph against torch at another batch size."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hepbench.cost.operators import one_line
from hepbench.cost.tracing import Positional, batch, eval_without_gradients, traceable
from hepbench.specs.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from hepbench.cost.tracing import Tensors


OPSET = 17
"""The first opset with an operator for layer norm."""


TRACED = 2
"""Batch size of the trace."""


CHECKED = 7
"""Batch size of the check: not a multiple of that of the trace."""


TOLERANCE = 1e-5
"""Largest allowed difference between a score of the graph (a float32 probability) and torch's."""


def missing() -> str:
    """Return an error if packages needed for export are not installed, or an empty string."""
    missing_packages = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if not missing_packages:
        return ""
    return f"{' and '.join(missing_packages)} not installed: pip install 'hepbench[onnx]'"


def export(network: nn.Module, inputs: Mapping[str, Any], path: Path) -> float:
    """Export a network to an ONNX graph for any batch size, and check its scores against torch.

    The graph takes the named inputs, masks as booleans, and returns ``logits``. If the check fails
    the file is removed.

    Args:
        network: takes a dict of named inputs, returns (N, classes) logits.
        inputs: examples by name, with the batch on the first axis.
        path: path of the file to write.

    Returns:
        The largest difference between a score of the graph and torch's.

    Raises:
        ExportError: a package is missing (see ``missing``); the network cannot be exported; the
            graph fails at another batch size; or scores differ by more than TOLERANCE.
    """
    if missing_packages := missing():
        raise ExportError(missing_packages)
    write(network, inputs, path)
    try:
        return check(network, inputs, path)
    except ExportError:
        path.unlink()
        raise


def write(network: nn.Module, inputs: Mapping[str, Any], path: Path) -> None:
    """Export a network to an ONNX graph, without a check.

    Raises:
        ExportError: the exporter fails.
        OSError: the file cannot be written.
    """
    tensors = batch(inputs, TRACED)
    axes = {name: {0: "batch"} for name in (*tensors, "logits")}
    try:
        with traceable(network):
            torch.onnx.export(
                Positional(network, tuple(tensors)),
                tuple(tensors.values()),
                path,
                # the dynamo exporter needs onnxscript and five times as long, for the same graph
                dynamo=False,
                opset_version=OPSET,
                input_names=list(tensors),
                output_names=["logits"],
                dynamic_axes=axes,
            )
    # a full disk says nothing about the network
    except OSError:
        raise
    # any error of the exporter is an error about this network
    except Exception as error:
        path.unlink(missing_ok=True)
        msg = f"the network cannot be exported to ONNX: {one_line(error)}"
        raise ExportError(msg) from error


def check(network: nn.Module, inputs: Mapping[str, Any], path: Path) -> float:
    """Return the largest difference between a score of a graph and torch's.

    Raises:
        ExportError: the graph fails, or scores differ by more than TOLERANCE.
    """
    tensors = batch(inputs, CHECKED)
    with eval_without_gradients(network):
        expected = _scores(network(tensors).numpy())
    try:
        graph = session(path)
        actual = _scores(graph.run(None, feeds(graph, tensors))[0])
    # ONNX Runtime has a dozen classes of errors and no common one
    except Exception as error:
        msg = f"the ONNX graph, traced with {TRACED} examples, fails with {CHECKED}: "
        raise ExportError(msg + one_line(error)) from error
    if actual.shape != expected.shape:
        msg = (
            f"the ONNX graph, traced with {TRACED} examples, returns {actual.shape} for {CHECKED}; "
            f"torch returns {expected.shape}"
        )
        raise ExportError(msg)
    difference = float(abs(actual - expected).max())
    # this way round, a NaN fails
    if not difference <= TOLERANCE:
        msg = (
            f"scores of the ONNX graph, traced with {TRACED} examples, differ from torch's by "
            f"{difference:.2g} with {CHECKED}; at most {TOLERANCE:g} is allowed"
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


def feeds(session: Any, tensors: Tensors) -> dict[str, NDArray[Any]]:
    """Return the inputs of a session. Inputs that the network ignores are not part of the graph."""
    return {
        graph_input.name: _array(tensors[graph_input.name]) for graph_input in session.get_inputs()
    }


def _array(tensor: Tensor) -> NDArray[Any]:
    return np.ascontiguousarray(tensor.numpy(force=True))


def _scores(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return the softmax of logits."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    scores: NDArray[np.float64] = shifted / shifted.sum(1, keepdims=True)
    return scores
