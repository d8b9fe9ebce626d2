"""Figures: numbers over seeds with both their errors, rounded to them. Pure."""

from __future__ import annotations

import re
from decimal import ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING

from hepbench.specs.text import DASH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hepbench.evaluation.seed_averages import SeedAverage


MOST_PLACES = 6


def places(figure: SeedAverage) -> int:
    """Return the decimals that show two digits of the larger error; of none, three of the value."""
    error = max(figure.stderr or 0.0, figure.spread or 0.0) or abs(figure.value or 0.0) / 10
    return 1 - int(f"{error:.1e}".partition("e")[2]) if error else 3


def column_places(figures: Iterable[SeedAverage]) -> int:
    """Return the decimals of a column: two digits of the smallest of its rows' errors."""
    return min(MOST_PLACES, max((places(f) for f in figures if f.value is not None), default=3))


def row_places(figure: SeedAverage, column: int) -> int:
    """Return the decimals of one row: the column's, but at most three digits of its own error."""
    return min(column, places(figure) + 1)


def with_errors(figure: SeedAverage, decimals: int) -> str:
    """Return a figure as ``0.7762 ±0.0086 ±0.0012``: test sample, seeds."""
    if figure.value is None or figure.limit:
        return compact(figure, decimals)
    width = max(decimals, 0) + 3
    errors = (
        f"{DASH if error is None else f'±{_fixed(error, decimals)}':>{width}}"
        for error in (figure.stderr, figure.spread)
    )
    return " ".join([_fixed(figure.value, decimals), *errors])


def compact(figure: SeedAverage, decimals: int) -> str:
    """Return a figure as ``0.7762(86)(12)``: test sample, seeds, in units of the last digit."""
    if figure.value is None:
        return DASH
    if figure.limit:
        return f"≥{_floor(figure.value, decimals)}"
    value, errors = _fixed(figure.value, decimals), (figure.stderr, figure.spread)
    if errors == (None, None):
        return value
    return f"{value}({_digits(errors[0], decimals)})({_digits(errors[1], decimals)})"


def value_only(figure: SeedAverage, decimals: int) -> str:
    """Return the value of a figure without its errors."""
    return DASH if figure.value is None else _fixed(figure.value, decimals)


def spelt_out(cell: str) -> str:
    """Return a figure in brackets with its errors written out, or nothing if it is not one."""
    if not (match := re.fullmatch(rf"(\d+\.(\d+))\((\d+)\)\((\d+|{DASH})\)", cell)):
        return ""
    value, after, *errors = match.groups()
    size = len(after)
    spelt = (DASH if e == DASH else f"±{int(e) / 10**size:.{size}f}" for e in errors)
    return f"{cell} is {value} {' '.join(spelt)}"


def number(value: float | None) -> str:
    """Return a count or a rate: whole from 100 on, below that three digits."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _fixed(value: float, decimals: int) -> str:
    if value == 0:
        return "0"
    if decimals < 0:
        value, decimals = round(value, decimals), 0
    # z: what rounds to zero has no sign
    return f"{value:z.{decimals}f}"


def _floor(value: float, decimals: int) -> str:
    # a lower limit is rounded down, or it would say more than was found
    step = Decimal(1).scaleb(-decimals)
    return f"{Decimal(repr(value)).quantize(step, ROUND_FLOOR):f}"


def _digits(error: float | None, decimals: int) -> str:
    """Return an error in units of the last digit; above 1 with its decimal point, as the PDG."""
    if error is None:
        return DASH
    text = _fixed(error, decimals)
    return text if error >= 1 else text.replace(".", "").lstrip("0") or "0"
