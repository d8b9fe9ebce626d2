"""Messages: the task and the result of the cost stage."""

from __future__ import annotations

import msgspec

from hepbench.specs.types import Json
from hepbench.storage.costs import Cost
from hepbench.training.messages import MethodTask


class CostTask(msgspec.Struct, frozen=True):
    """The task of a cost stage: the task of the method whose trained model is measured.

    Attributes:
        onnx: ``"module:function"`` that makes the ONNX graph of an estimator; empty: its own method.
        conditions: what counts and latencies of a network depend on beside the network and its
            inputs: machine, device, threads, versions, sources.
    """

    method: MethodTask
    onnx: str = ""
    conditions: dict[str, Json] = {}


class CountedMacs(msgspec.Struct, frozen=True, kw_only=True):
    """The details of counted multiply-accumulates (MACs): see ``counting.MacCount``."""

    by_operator: dict[str, int] = {}
    elementwise: int = 0
    cross_check: int = 0
    ratio: float | None = None


class CostResult(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of scoring, and how it was measured.

    Attributes:
        cost: the cost of scoring, without that of training.
        warnings: lines for the record.
        counted: None for an estimator.
        export_difference: largest difference between a score of the ONNX graph and the model's own;
            None if it was not exported.
        graph: digest of the ONNX graph of a network without its weights; empty: not exported.
        measured_on: key of the method stage whose network was counted and timed; empty: that of
            this cell.
    """

    cost: Cost
    warnings: list[str] = []
    counted: CountedMacs | None = None
    export_difference: float | None = None
    graph: str = ""
    measured_on: str = ""
