"""Run an ONNX graph: the session whose latency is measured, its inputs, and what must be installed.

This module imports no torch: estimators are measured without it.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

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
