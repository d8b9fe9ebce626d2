"""hepbench: benchmarks for machine learning in high-energy physics.

``from hepbench import ...`` is all that a plugin needs; names are stable across minor versions.
"""

from __future__ import annotations

from hepbench.errors import (
    DataError,
    EmptyClassError,
    HepbenchError,
    PluginError,
    ProtocolError,
    UndefinedMetricError,
)
from hepbench.examples import Examples, TrainingData
from hepbench.hookspecs import hookimpl
from hepbench.specs import (
    Array,
    Dataset,
    Estimator,
    File,
    Input,
    Inputs,
    Measured,
    Method,
    Metric,
    Model,
    Params,
    Predictions,
    Role,
    Split,
    Suite,
    Work,
)

__version__ = "0.1.0"

__all__ = [
    "Array",
    "DataError",
    "Dataset",
    "EmptyClassError",
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
    "Params",
    "PluginError",
    "Predictions",
    "ProtocolError",
    "Role",
    "Split",
    "Suite",
    "TrainingData",
    "UndefinedMetricError",
    "Work",
    "hookimpl",
]
