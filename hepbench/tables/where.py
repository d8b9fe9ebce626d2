"""Conditions on table rows, such as ``auc>0.8`` or ``model=conv-*``, and the order of rows. Pure."""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar

from hepbench.specs.errors import UsageError
from hepbench.tables.columns import LABELS, named

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hepbench.tables.rows import Row


COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A condition on a table row.

    Attributes:
        name: of a column or label, or one of FLAGS.
        sign: one of COMPARE.
        value: a number; of a label, a glob; of a flag, ``true`` or ``false``.
    """

    FLAGS: ClassVar[tuple[str, ...]] = ("best", "comparable")

    name: str
    sign: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition.

        Raises:
            UsageError: it has another form, or its value is of the wrong kind.
        """
        signs = "|".join(COMPARE)
        match = re.fullmatch(rf"\s*([\w.-]+)\s*({signs})=?\s*(.*?)\s*", text, re.DOTALL)
        if match is None:
            msg = (
                f"--where {text!r}: expected NAME=VALUE or NAME<NUMBER, with one of "
                f"{' '.join(COMPARE)}, such as 'auc>0.8', 'model=conv-*' or 'best=true'"
            )
            raise UsageError(msg)
        found = cls(name=named(match[1]), sign=match[2], value=match[3])
        found._check(text)
        return found

    def _check(self, text: str) -> None:
        """Raise UsageError if the value or sign does not suit the name."""
        allowed = ""
        if self._is_text and self.sign not in {"=", "!="}:
            allowed = f"{self.name} is no number; only = and != are allowed"
        elif self.name in self.FLAGS and self.value not in {"true", "false"}:
            allowed = f"{self.name} is true or false"
        elif not self._is_text and math.isnan(_number(self.value)):
            allowed = f"{self.value!r} is not a number"
        if allowed:
            msg = f"--where {text!r}: {allowed}"
            raise UsageError(msg)

    @property
    def _is_text(self) -> bool:
        return self.name in LABELS or self.name in self.FLAGS

    def holds(self, row: Row, main: str) -> bool:
        """Whether a row fulfils the condition; one without the value does not.

        ``main`` is the metric by which rows are ranked.
        """
        if self.name in self.FLAGS:
            equal = str(bool(getattr(row, self.name))).lower() == self.value
            return equal == (self.sign == "=")
        if self.name in LABELS:
            # a bracket means a bracket, not a set of characters
            glob = self.value.replace("[", "[[]")
            return fnmatchcase(getattr(row.labels, self.name), glob) == (self.sign == "=")
        found = value(row, self.name, main)
        return found is not None and COMPARE[self.sign](found, _number(self.value))


def _number(text: str) -> float:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return math.nan


def value(row: Row, name: str, main: str) -> float | None:
    """Return the unrounded number of a row in a column; a published one is that of ``main``."""
    if name == "seeds":
        return len(row.ok)
    if name == "labels_from_scratch":
        return row.labels_from_scratch.number if row.labels_from_scratch else None
    if name == "published":
        return row.published.metrics.get(main) if row.published else None
    average = row.averages.get(name)
    return average.value if average else None


def in_order(
    rows: Sequence[Row], name: str, main: str, *, reverse: bool, higher_first: bool
) -> list[Row]:
    """Return rows sorted by a column; rows without a value come last.

    Args:
        rows: in another order, which equal rows keep.
        name: of the column or label.
        main: the metric by which rows are ranked.
        reverse: whether the order is reversed.
        higher_first: whether larger numbers come first unless ``reverse``.
    """
    if name in LABELS:
        return sorted(rows, key=lambda row: getattr(row.labels, name), reverse=reverse)
    sign = -1 if higher_first != reverse else 1

    def place(row: Row) -> tuple[bool, float]:
        found = value(row, name, main)
        return (found is None, sign * (found or 0.0))

    return sorted(rows, key=place)
