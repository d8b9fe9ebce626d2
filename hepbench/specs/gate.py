"""Rules of a gate: how much worse a metric or a cost may get, in which cells."""

from __future__ import annotations

import math
import re
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

import msgspec

from hepbench.specs.errors import UsageError
from hepbench.specs.references import without_parameters
from hepbench.specs.text import shortened

COSTS = (
    *("parameters", "nonzero_parameters", "macs", "flops", "theoretical_macs", "comparisons"),
    *("latency", "batch_latency"),
)
"""Costs that a gate may limit: lower is better."""


TIERS = ("blocking", "warning", "informative")


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule of a suite's ``[gate]``: how much worse one metric or cost may get.

    A number is in units of the metric; ``"5%"`` is a fraction of the value in BASE.

    Attributes:
        max_loss: of a metric: a significant loss above it is worse.
        must_see: of a metric: the loss that the comparison must be able to see, else it concludes
            nothing; by default ``max_loss``, and needed where that is 0.
        max_increase: of a cost: an increase above it is worse.
        tier: ``blocking``: worse fails the gate; ``warning``: it is reported; ``informative``: it is
            listed.
        cells: glob over ``dataset/model/chain``, with or without parameters. Of several rules of one
            tier, the first whose glob matches a cell applies to it.
    """

    max_loss: float | str | None = None
    must_see: float | str | None = None
    max_increase: float | str | None = None
    tier: Literal["blocking", "warning", "informative"] = "blocking"
    cells: str = "*"

    def matches(self, cell: str) -> bool:
        """Return whether the rule applies to the cell ``dataset/model/chain``."""
        # of a name with parameters, brackets are no glob
        pattern = self.cells.replace("[", "[[]")
        return any(fnmatchcase(name, pattern) for name in (cell, without_parameters(cell)))

    @property
    def tolerance(self) -> Amount:
        """How much worse a value may get under this rule."""
        return amount(self.max_loss if self.max_increase is None else self.max_increase)

    @property
    def resolution(self) -> Amount:
        """The loss that a comparison under this rule must be able to see."""
        return self.tolerance if self.must_see is None else amount(self.must_see)


class Amount(NamedTuple):
    """A loss or increase that a rule names.

    Attributes:
        size: at least 0.
        relative: whether it is a fraction of the value in BASE.
    """

    size: float
    relative: bool

    def of(self, base: float) -> float:
        """Return the amount in units of the value ``base``."""
        return self.size * abs(base) if self.relative else self.size

    def __str__(self) -> str:
        return f"{100 * self.size:g} %" if self.relative else f"{self.size:g}"


def amount(written: float | str | None) -> Amount:
    """Return the amount that a rule gives as a number or as a percentage.

    Raises:
        ValueError: it is neither, or below 0.
    """
    text = "" if written is None else str(written).strip()
    try:
        size = float(text.removesuffix("%"))
    except ValueError:
        size = -1.0
    if not math.isfinite(size) or size < 0:
        msg = f"{shortened(text, 40)!r}: a number of at least 0 or a percentage such as '5%' is expected"
        raise ValueError(msg)
    relative = text.endswith("%")
    return Amount(size / 100 if relative else size, relative)


def problem(name: str, rule: Rule) -> str | None:
    """Return why a rule for a metric or cost is not allowed; None if it is."""
    is_cost = name in COSTS
    needed, other = ("max_increase", "max_loss") if is_cost else ("max_loss", "max_increase")
    if getattr(rule, other) is not None:
        kind = "cost" if is_cost else "metric"
        return f"{name} is a {kind}: give {needed}, not {other}"
    if getattr(rule, needed) is None:
        return f"a rule for {name} needs {needed}"
    if is_cost and rule.must_see is not None:
        return f"must_see belongs to metrics, and {name} is a cost"
    try:
        tolerance, resolution = rule.tolerance, rule.resolution
    except ValueError as error:
        return str(error)
    if not is_cost and resolution.size == 0:
        return (
            f"no comparison can see a loss of 0: give must_see, such as must_see = 0.02 for {name}"
        )
    if is_cost and not tolerance.relative:
        return f"max_increase of {name} is a percentage, such as '5%'"
    return None


_CONDITION = re.compile(
    r"(?P<name>\S+) (?P<kind>loss|increase) > (?P<amount>\S+)(?: in (?P<cells>.+))?"
)


def parse_condition(text: str) -> tuple[str, Rule]:
    """Return name and rule of a condition such as ``auc loss > 0.005 in higgs/*``.

    Raises:
        UsageError: it is not of this form, or its rule is not allowed.
    """
    found = _CONDITION.fullmatch(" ".join(text.split()))
    if found is None:
        msg = (
            f"--fail-if {shortened(text, 80)!r}: 'auc loss > 0.005', 'flops increase > 5%' or "
            "'auc loss > 0.005 in higgs/*' is expected"
        )
        raise UsageError(msg)
    size, cells = found["amount"], found["cells"] or "*"
    is_loss = found["kind"] == "loss"
    rule = Rule(max_loss=size, cells=cells) if is_loss else Rule(max_increase=size, cells=cells)
    if wrong := problem(found["name"], rule):
        msg = f"--fail-if {shortened(text, 80)!r}: {wrong}"
        raise UsageError(msg)
    return found["name"], rule
