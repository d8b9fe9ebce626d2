"""Round averages over seeds to the digits that their errors allow, and write them as text."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, NamedTuple

from hepbench.specs.text import DASH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hepbench.evaluation.seed_averages import SeedAverage


MOST_PLACES = 6


SMALL = 1e-4
"""Values below it are written with a power of ten where MOST_PLACES would cut their digits."""


def places(average: SeedAverage) -> int:
    """Return the decimals for two digits of the larger error, or three of a value without one."""
    error = max(average.stderr or 0.0, average.spread or 0.0) or abs(average.value or 0.0) / 10
    return 1 - int(f"{error:.1e}".partition("e")[2]) if error else 3


def column_places(averages: Iterable[SeedAverage]) -> int:
    """Return the decimals of a table column: two digits of the smallest error in it.

    Values with a power of ten have decimals of their own.
    """
    needed = (places(a) for a in averages if a.value is not None and not _exponent(a))
    return min(MOST_PLACES, max(needed, default=3))


def row_places(average: SeedAverage, column: int) -> int:
    """Return the decimals of one value: those of its column, at most three digits of its error."""
    return min(column, places(average) + 1)


def with_errors(average: SeedAverage, decimals: int) -> str:
    """Return ``0.7762 ±0.0086 ±0.0012``: value, error of the test sample, spread over seeds."""
    if average.value is None or average.limit:
        return compact(average, decimals)
    if exponent := _exponent(average):
        return f"({with_errors(*_scaled(average, exponent))})e{exponent:03d}"
    width = max(decimals, 0) + 3
    errors = (
        f"{DASH if error is None else f'±{_fixed(error, decimals)}':>{width}}"
        for error in (average.stderr, average.spread)
    )
    return " ".join([_fixed(average.value, decimals), *errors])


def compact(average: SeedAverage, decimals: int) -> str:
    """Return ``0.7762(86)(12)``: value and both errors, in units of the last digit."""
    if average.value is None:
        return DASH
    if exponent := _exponent(average):
        return f"{compact(*_scaled(average, exponent))}e{exponent:03d}"
    if average.limit:
        return f"≥{_floor(average.value, decimals)}"
    value, errors = _fixed(average.value, decimals), (average.stderr, average.spread)
    if errors == (None, None):
        return value
    return f"{value}({_digits(errors[0], decimals)})({_digits(errors[1], decimals)})"


def value_only(average: SeedAverage, decimals: int) -> str:
    """Return a value as tables show it, without its errors."""
    if exponent := _exponent(average):
        return f"{value_only(*_scaled(average, exponent))}e{exponent:03d}"
    return DASH if average.value is None else _fixed(average.value, decimals)


def _exponent(average: SeedAverage) -> int:
    """Return the power of ten that a small value and its errors are written with; 0: none."""
    size = max(abs(average.value or 0.0), average.stderr or 0.0, average.spread or 0.0)
    if not average.value or size >= SMALL or places(average) <= MOST_PLACES:
        return 0
    return int(f"{size:e}".partition("e")[2])


def _scaled(average: SeedAverage, exponent: int) -> tuple[SeedAverage, int]:
    """Return a value and its errors divided by a power of ten, and the decimals to write."""
    value, stderr, spread = (
        None if x is None else float(Decimal(repr(x)).scaleb(-exponent))
        for x in (average.value, average.stderr, average.spread)
    )
    found = replace(average, value=value, stderr=stderr, spread=spread)
    return found, column_places([found])


class Spelt(NamedTuple):
    """A table cell of the form ``0.843(13)(4)``, and its value and errors as separate texts."""

    cell: str
    value: str
    of_test: str
    over_seeds: str


def spelt_out(cell: str) -> Spelt | None:
    """Take a table cell of the form ``0.843(13)(4)`` apart; return None for other cells."""
    form = rf"(\d+\.(\d+))\((\d+)\)\((\d+|{DASH})\)(e-\d+|)"
    if not (match := re.fullmatch(form, cell)):
        return None
    value, after, *errors, power = match.groups()
    size = len(after)
    spelt = (DASH if e == DASH else f"±{int(e) / 10**size:.{size}f}{power}" for e in errors)
    return Spelt(cell, f"{value}{power}", *spelt)


PREFIXES = ((1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"))


def number(value: float | None) -> str:
    """Return a count or a rate as text: three digits, whole numbers below 10,000 in full."""
    if value is None:
        return DASH
    if value >= 10_000:
        # the last one, if the number is larger than all of them
        size, prefix = next((p for p in PREFIXES if value < 999.5 * p[0]), PREFIXES[-1])
        return f"{value / size:#.3g}".rstrip(".") + f" {prefix}"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _fixed(value: float, decimals: int) -> str:
    if value == 0:
        return "0"
    if decimals < 0:
        value, decimals = round(value, decimals), 0
    # z: a value that rounds to zero has no sign
    return f"{value:z.{decimals}f}"


def _floor(value: float, decimals: int) -> str:
    # a lower limit is rounded down: rounded up it would be too strong
    step = Decimal(1).scaleb(-decimals)
    return f"{Decimal(repr(value)).quantize(step, ROUND_FLOOR):f}"


def _digits(error: float | None, decimals: int) -> str:
    """Return an error in units of the last digit; an error above 1 keeps its decimal point."""
    if error is None:
        return DASH
    text = _fixed(error, decimals)
    return text if error >= 1 else text.replace(".", "").lstrip("0") or "0"
