"""A scored network as an ONNX graph, held to torch's scores at another batch size than traced."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hepbench.cost.operators import in_short
from hepbench.cost.tracing import Positional, batch, scoring, traceable
from hepbench.specs.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from hepbench.cost.tracing import Tensors


OPSET = 17
"""The first one with layer norm as an operator of its own."""


TRACED = 2
"""Examples that a network is traced with."""


CHECKED = 7
"""Examples that the graph is checked with: another number, and no multiple of the one traced."""


TOLERANCE = 1e-5
"""How far a score of the graph, a probability in float32, may be from torch's."""


def missing() -> str:
    """Return what must be installed before a network can be exported and checked, or ''."""
    absent = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if not absent:
        return ""
    return f"{' and '.join(absent)} not installed: pip install 'hepbench[onnx]'"


def export(network: nn.Module, inputs: Mapping[str, Any], path: Path) -> float:
    """Write a network as an ONNX graph of any batch size, and hold it to torch's scores.

    The graph takes the named inputs, masks as booleans, and returns ``logits``. It is removed
    where it does not agree.

    Args:
        network: called with a dict of named inputs; (N, classes) logits.
        inputs: some examples by name, the first axis of each the batch.
        path: of the file to write.

    Returns:
        The largest difference between a score of the graph and torch's.

    Raises:
        ExportError: see ``missing``; the network cannot be exported; the graph fails at another
            batch size, as one whose batch size was baked in does, or scores differ by more than
            TOLERANCE.
    """
    if absent := missing():
        raise ExportError(absent)
    write(network, inputs, path)
    try:
        return check(network, inputs, path)
    except ExportError:
        path.unlink()
        raise


def write(network: nn.Module, inputs: Mapping[str, Any], path: Path) -> None:
    """Write a network as an ONNX graph, unchecked.

    Raises:
        ExportError: the exporter refused it.
    """
    tensors = batch(inputs, TRACED)
    axes = {name: {0: "batch"} for name in (*tensors, "logits")}
    try:
        with traceable(network):
            torch.onnx.export(
                Positional(network, tuple(tensors)),
                tuple(tensors.values()),
                path,
                # needs onnxscript and five times as long otherwise, for the same graph
                dynamo=False,
                opset_version=OPSET,
                input_names=list(tensors),
                output_names=["logits"],
                dynamic_axes=axes,
            )
    # whatever an exporter raises, it is of this network
    except Exception as error:
        path.unlink(missing_ok=True)
        msg = f"no ONNX graph can be made of the network: {in_short(error)}"
        raise ExportError(msg) from error


def check(network: nn.Module, inputs: Mapping[str, Any], path: Path) -> float:
    """Return the largest difference between a score of a graph and torch's.

    Raises:
        ExportError: the graph fails, or differs by more than TOLERANCE.
    """
    tensors = batch(inputs, CHECKED)
    with scoring(network):
        expected = _scores(network(tensors).numpy())
    try:
        graph = session(path)
        found = _scores(graph.run(None, feeds(graph, tensors))[0])
    # ONNX Runtime has a dozen classes of errors and no common one
    except Exception as error:
        msg = f"the ONNX graph, traced with {TRACED} examples, fails with {CHECKED}: "
        raise ExportError(msg + in_short(error)) from error
    if found.shape != expected.shape:
        msg = (
            f"the ONNX graph, traced with {TRACED} examples, returns {found.shape} for {CHECKED}; "
            f"torch returns {expected.shape}"
        )
        raise ExportError(msg)
    difference = float(abs(found - expected).max())
    # written so that a NaN is refused
    if not difference <= TOLERANCE:
        msg = (
            f"scores of the ONNX graph, traced with {TRACED} examples, differ from torch's by "
            f"{difference:.2g} with {CHECKED}; at most {TOLERANCE:g} is allowed"
        )
        raise ExportError(msg)
    return difference


def session(path: str | os.PathLike[str], *, threads: int = 1) -> Any:
    """Return an ONNX Runtime session of a graph, on the processor with so many threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # 4: fatal; what is less is raised as well
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        os.fspath(path), sess_options=options, providers=["CPUExecutionProvider"]
    )


def feeds(session: Any, tensors: Tensors) -> dict[str, NDArray[Any]]:
    """Return what a session takes: an input that the network ignores is none of the graph's."""
    return {taken.name: _array(tensors[taken.name]) for taken in session.get_inputs()}


def _array(tensor: Tensor) -> NDArray[Any]:
    return np.ascontiguousarray(tensor.numpy(force=True))


def _scores(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return the softmax of logits."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    scores: NDArray[np.float64] = shifted / shifted.sum(1, keepdims=True)
    return scores
