"""Export a network to ONNX, and check the graph against torch at another batch size.

Two exporters are tried. The older one traces a network with two examples, and is fast; code such as
``self.token.expand(len(x), -1, -1)`` fixes the batch size of its graph. The newer one reads the code,
follows the batch size through such lines, and takes several seconds.
"""

from __future__ import annotations

import linecache
import warnings
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase as Norm

from hepbench.cost.onnx_runtime import CHECKED, checked_difference, feeds, missing, session
from hepbench.cost.operators import one_line
from hepbench.cost.tracing import Positional, batch, eval_without_gradients, traceable
from hepbench.specs.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from hepbench.cost.tracing import Tensors


OPSET = 17
"""ONNX opset of the older exporter, the first with an operator for layer norm."""


NEWER_OPSET = 18
"""ONNX opset of the newer exporter, the first that needs no conversion."""


TRACED = 2
"""Batch size with which a network is traced for export."""


LINES = 3
"""Largest number of source lines that an error message of the export names."""


def export(network: nn.Module, inputs: Mapping[str, Any], path: Path) -> float:
    """Export a network to an ONNX graph for any batch size; check its scores against torch.

    The graph takes the named inputs, masks as booleans, and returns ``logits``. If the check fails
    the file is removed.

    Args:
        network: takes a dict of named inputs, returns (N, classes) logits.
        inputs: examples by name, with the batch on the first axis.
        path: path of the file to write.

    Returns:
        The largest difference between a score of the graph and torch's.

    Raises:
        ExportError: a package is missing (see ``missing``); or with both exporters the network
            cannot be exported, the graph fails at another batch size, or scores differ by more than
            TOLERANCE. The lines of the network that fix a size are named.
        OSError: the file cannot be written.
    """
    if missing_packages := missing():
        raise ExportError(missing_packages)
    fixed_sizes: list[str] = []
    try:
        return _export_with(partial(_write, fixed_sizes=fixed_sizes), network, inputs, path)
    except ExportError as error:
        older = error
    try:
        return _export_with(_write_newer, network, inputs, path)
    except ExportError as error:
        cause = f"; likely cause: a fixed number from {'; '.join(fixed_sizes)}" * bool(fixed_sizes)
        msg = f"{older}; with the newer exporter: {error}{cause}"
        raise ExportError(msg) from older


def _export_with(
    write: Callable[[nn.Module, Tensors, Path], None],
    network: nn.Module,
    inputs: Mapping[str, Any],
    path: Path,
) -> float:
    """Export a network to ONNX with one exporter, and check the graph; a failure leaves no file."""
    try:
        with traceable(network):
            write(network, batch(inputs, TRACED), path)
        return check(network, inputs, path)
    except ExportError:
        path.unlink(missing_ok=True)
        raise
    # a full disk says nothing about the network
    except OSError:
        raise
    # any error of an exporter is an error about this network
    except Exception as error:
        path.unlink(missing_ok=True)
        msg = f"the network cannot be exported to ONNX: {one_line(error)}"
        raise ExportError(msg) from error


def _write(network: nn.Module, tensors: Tensors, path: Path, *, fixed_sizes: list[str]) -> None:
    """Export a network with the older ONNX exporter; list lines that may fix the batch size."""
    with _collect_fixed_sizes(fixed_sizes), _all_norms_weighted(network):
        torch.onnx.export(
            Positional(network, tuple(tensors)),
            tuple(tensors.values()),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(tensors),
            output_names=["logits"],
            dynamic_axes={name: {0: "batch"} for name in (*tensors, "logits")},
        )


@contextmanager
def _all_norms_weighted(network: nn.Module) -> Iterator[None]:
    """Give norms without weights weights of 1 and biases of 0 while a network is exported.

    The older exporter invents them itself, but only where it knows the number of channels.
    """
    # torch's types do not say that a norm may lose its weights
    norms: list[Any] = [m for m in network.modules() if isinstance(m, Norm) and m.weight is None]
    for norm in norms:
        norm.weight = nn.Parameter(torch.ones(norm.num_features))
        norm.bias = nn.Parameter(torch.zeros(norm.num_features))
    try:
        yield
    finally:
        for norm in norms:
            norm.weight = norm.bias = None


@contextmanager
def _collect_fixed_sizes(places: list[str]) -> Iterator[None]:
    """Collect the code lines of a network that turn a tensor's size or value into a number.

    The tracer warns of them: the number of two examples is part of its graph.
    """
    own = Path(torch.__file__).parent
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            traced = [w for w in caught if w.category.__name__ == "TracerWarning"]
            found = {(w.filename, w.lineno) for w in traced}
            places += [
                f"{Path(file).name}, line {line}: {linecache.getline(file, line).strip()}"
                for file, line in sorted(found)
                if not Path(file).is_relative_to(own)
            ][:LINES]


def _write_newer(network: nn.Module, tensors: Tensors, path: Path) -> None:
    """Export a network with the newer ONNX exporter.

    Raises:
        ExportError: onnxscript is not installed.
    """
    if find_spec("onnxscript") is None:
        msg = "the newer exporter needs onnxscript: pip install 'hepbench[onnx]'"
        raise ExportError(msg)
    sizes = {0: torch.export.Dim("batch")}
    program = torch.export.export(
        Positional(network, tuple(tensors)).eval(),
        tuple(tensors.values()),
        dynamic_shapes=((sizes,) * len(tensors),),
        # reads the code: a run with stand-ins for tensors would fix the batch size too
        strict=True,
    )
    torch.onnx.export(
        program,
        (),
        path,
        dynamo=True,
        opset_version=NEWER_OPSET,
        input_names=list(tensors),
        output_names=["logits"],
        external_data=False,
        verbose=False,
    )


def check(network: nn.Module, inputs: Mapping[str, Any], path: Path) -> float:
    """Return the largest difference between scores of an ONNX graph and of torch.

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
        msg = f"the ONNX graph, traced with {TRACED} examples, fails with {CHECKED} examples: "
        raise ExportError(msg + one_line(error)) from error
    graph_name = f"the ONNX graph, traced with {TRACED} examples,"
    return checked_difference(actual, expected, graph=graph_name, model="torch")


def _scores(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return the scores of logits, their softmax."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    scores: NDArray[np.float64] = shifted / shifted.sum(1, keepdims=True)
    return scores
