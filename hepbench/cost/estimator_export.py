"""Write the ONNX graph that an estimator offers, and check it against the estimator's scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.cost.onnx_runtime import CHECKED, checked_difference, feeds, missing, session
from hepbench.registry.resolve import resolve
from hepbench.specs.errors import ExportError
from hepbench.specs.text import error_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from hepbench.specs.model import Estimator
    from hepbench.specs.types import Inputs


def offered(estimator: Estimator, target: str) -> Callable[[], Any] | None:
    """Return the function that makes the ONNX graph of an estimator; None if there is none.

    Args:
        estimator: fitted.
        target: ``onnx`` of its model's spec; if it is empty, a method ``onnx`` counts.
    """
    if target:
        return lambda: resolve(target)(estimator)
    method: Callable[[], Any] | None = getattr(estimator, "onnx", None)
    return method


def export(make: Callable[[], Any], estimator: Estimator, inputs: Inputs, path: Path) -> float:
    """Write an estimator's ONNX graph; return the largest difference between the scores of both.

    Args:
        make: returns the graph, an ``onnx.ModelProto``.
        estimator: whose scores are compared.
        inputs: examples by name: all are scored together, some in a batch of CHECKED, one alone.
        path: path of the file to write; a failure leaves no file.

    Raises:
        ExportError: a package is missing, no graph can be made or run, or its scores differ by more
            than TOLERANCE.
        OSError: the file cannot be written.
    """
    if missing_packages := missing():
        raise ExportError(missing_packages)
    _write(make, path)
    n = len(next(iter(inputs.values())))
    sizes = sorted({1, min(n, CHECKED), n})
    try:
        return max(_difference(estimator, _first(inputs, size), path) for size in sizes)
    except ExportError:
        path.unlink()
        raise


def _write(make: Callable[[], Any], path: Path) -> None:
    try:
        graph = make().SerializeToString()
    # a plugin may raise anything
    except Exception as error:
        msg = f"the estimator has no ONNX graph: {_one_line(error)}"
        raise ExportError(msg) from error
    path.write_bytes(graph)


def _first(inputs: Inputs, n: int) -> dict[str, Any]:
    return {name: array[:n] for name, array in inputs.items()}


def _difference(estimator: Estimator, inputs: Inputs, path: Path) -> float:
    """Return the largest difference between scores of an ONNX graph and of its estimator."""
    expected = np.asarray(estimator.scores(inputs), np.float64)
    actual = _scores_of_graph(path, inputs)
    return checked_difference(actual, expected, graph="the ONNX graph", model="the estimator")


def _scores_of_graph(path: Path, inputs: Inputs) -> NDArray[np.float64]:
    try:
        graph = session(path)
        return np.asarray(graph.run(None, feeds(graph, inputs))[0], np.float64)
    # ONNX Runtime has a dozen classes of errors and no common one
    except Exception as error:
        msg = f"the ONNX graph fails: {_one_line(error)}"
        raise ExportError(msg) from error


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(error_text(error).split()[:20])}"
