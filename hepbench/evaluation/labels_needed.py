"""A number of labels with its interval, where it may lie outside of the numbers that were tried. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hepbench.specs.text import DASH


@dataclass(frozen=True)
class LabelsNeeded:
    """How many labels a training from scratch needs to reach the value of another row.

    0 stands for fewer labels than ``least``, infinity for more than ``most``: a curve is never
    continued beyond the numbers of labels that were tried.

    Attributes:
        number: of labels.
        low, high: 68 % interval; None: an error, or a spread over seeds, is not known.
        least, most: numbers of labels that were tried.
    """

    number: float
    low: float | None
    high: float | None
    least: int
    most: int

    @property
    def text(self) -> str:
        """The number with its interval: ``2,100 (1,500 to >3,000)``, or a dash without one."""
        if self.low is None or self.high is None:
            return f"{self._text_of(self.number)} ({DASH})"
        low, high = self._text_of(self.low), self._text_of(self.high)
        return self._text_of(self.number) + ("" if low == high else f" ({low} to {high})")

    def clipped(self, number: float | None) -> float | None:
        """Return a number of labels, or the nearest one that was tried."""
        return None if number is None else min(max(number, self.least), self.most)

    def _text_of(self, number: float) -> str:
        if number < self.least:
            return f"<{self.least:,}"
        if number > self.most:
            return f">{self.most:,}"
        return f"{float(f'{number:.2g}') if number >= 10 else round(number):,.0f}"

    @property
    def bound(self) -> str:
        """``<`` or ``>`` where the number is only a bound, else empty."""
        return "<" if self.number < self.least else ">" if math.isinf(self.number) else ""
