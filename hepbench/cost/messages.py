"""Messages: what the stage that measures cost is given, and what it returns."""

from __future__ import annotations

import msgspec

from hepbench.storage.records import Cost
from hepbench.training.messages import MethodTask


class CostTask(msgspec.Struct, frozen=True):
    """The method whose result is measured."""

    method: MethodTask


class TimedCall(msgspec.Struct, frozen=True, kw_only=True):
    """How well a latency is known: see ``timing.Timed``."""

    runtime: str
    batch: int
    calls: int
    precision: float
    drift: float
    waited: float


class CountedMacs(msgspec.Struct, frozen=True, kw_only=True):
    """How multiply-accumulates were counted: see ``counting.Counted``."""

    by_operator: dict[str, int] = {}
    elementwise: int = 0
    cross_check: int = 0
    ratio: float | None = None


class CostResult(msgspec.Struct, frozen=True, kw_only=True):
    """What scoring costs, and how it was found.

    Attributes:
        cost: without what training cost.
        counted: None for an estimator.
        export_difference: the largest difference of an exported score from torch's; None where the
            network was not exported.
        timed: how well each latency is known.
    """

    cost: Cost
    warnings: list[str] = []
    counted: CountedMacs | None = None
    export_difference: float | None = None
    timed: list[TimedCall] = []
