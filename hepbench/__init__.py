"""hepbench: benchmarks for machine learning in high-energy physics.

``from hepbench import ...`` is all that a plugin needs; names are stable across minor versions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepbench.allowed import Range
from hepbench.errors import (
    DataError,
    DataWarning,
    EmptyClassError,
    HepbenchError,
    PluginError,
    ProtocolError,
    UndefinedMetricError,
    UsageError,
)
from hepbench.examples import Examples, TrainingData
from hepbench.hookspecs import hookimpl
from hepbench.specs import (
    SIMULATED,
    TRAINING,
    Array,
    Dataset,
    Encoder,
    Estimator,
    File,
    Input,
    Inputs,
    Measured,
    Method,
    Metric,
    Model,
    Network,
    Objective,
    Params,
    Predictions,
    Role,
    Split,
    Step,
    Suite,
    Work,
)

if TYPE_CHECKING:
    from hepbench.data import original_files
    from hepbench.objectives import classification, pretraining
    from hepbench.sparse import SparseImages

__version__ = "0.1.0"

__all__ = [
    "SIMULATED",
    "TRAINING",
    "Array",
    "DataError",
    "DataWarning",
    "Dataset",
    "EmptyClassError",
    "Encoder",
    "Estimator",
    "Examples",
    "File",
    "HepbenchError",
    "Input",
    "Inputs",
    "Measured",
    "Method",
    "Metric",
    "Model",
    "Network",
    "Objective",
    "Params",
    "PluginError",
    "Predictions",
    "ProtocolError",
    "Range",
    "Role",
    "SparseImages",
    "Split",
    "Step",
    "Suite",
    "TrainingData",
    "UndefinedMetricError",
    "UsageError",
    "Work",
    "classification",
    "hookimpl",
    "original_files",
    "pretraining",
]


def __getattr__(name: str) -> Any:
    # torch takes two seconds to import, numpy a tenth of one: only who uses these pays
    if name in {"classification", "pretraining"}:
        from hepbench import objectives

        return getattr(objectives, name)
    if name == "SparseImages":
        from hepbench.sparse import SparseImages

        return SparseImages
    if name == "original_files":
        from hepbench.data import original_files

        return original_files
    msg = f"module 'hepbench' has no attribute '{name}'"
    raise AttributeError(msg)
