"""hepbench: benchmarks for machine learning in high-energy physics.

``from hepbench import ...`` is all that a plugin needs; names are stable across minor versions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepbench._version import __version__ as __version__
from hepbench.registry.hooks import hookimpl
from hepbench.specs.dataset import (
    SIMULATED,
    Dataset,
    File,
    Input,
    Original,
    Sample,
    Split,
    View,
)
from hepbench.specs.errors import (
    DataError,
    DataWarning,
    EmptyClassError,
    HepbenchError,
    PluginError,
    ProtocolError,
    UndefinedMetricError,
    UsageError,
)
from hepbench.specs.method import Context, Method, Network, Objective
from hepbench.specs.metric import Measured, Metric, Predictions
from hepbench.specs.model import Encoder, Estimator, Model, Step
from hepbench.specs.parameters import Param, Range
from hepbench.specs.renamed import new_word
from hepbench.specs.suite import Suite
from hepbench.specs.training_data import Examples, TrainingData
from hepbench.specs.training_settings import TRAINING, training_params
from hepbench.specs.types import Array, Inputs, Params, Role

if TYPE_CHECKING:
    from hepbench.data.finding import original_files
    from hepbench.evaluation import metrics
    from hepbench.specs.sparse_images import SparseImages
    from hepbench.training.objectives import classification, pretraining


__all__ = [
    "SIMULATED",
    "TRAINING",
    "Array",
    "Context",
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
    "Original",
    "Param",
    "Params",
    "PluginError",
    "Predictions",
    "ProtocolError",
    "Range",
    "Role",
    "Sample",
    "SparseImages",
    "Split",
    "Step",
    "Suite",
    "TrainingData",
    "UndefinedMetricError",
    "UsageError",
    "View",
    "classification",
    "hookimpl",
    "metrics",
    "original_files",
    "pretraining",
    "training_params",
]


def __getattr__(name: str) -> Any:
    # torch takes two seconds to import, numpy a tenth of one: only who uses these pays
    if name in {"classification", "pretraining"}:
        from hepbench.training import objectives

        return getattr(objectives, name)
    if name == "SparseImages":
        from hepbench.specs.sparse_images import SparseImages

        return SparseImages
    if name == "original_files":
        from hepbench.data.finding import original_files

        return original_files
    if name == "metrics":
        from hepbench.evaluation import metrics

        return metrics
    if word := new_word("hepbench", name):
        # 'from hepbench import Work' would replace the text of an AttributeError
        raise ImportError(word)
    msg = f"module 'hepbench' has no attribute '{name}'"
    raise AttributeError(msg)
