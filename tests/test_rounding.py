"""Rounding: averages rounded to their errors and written with both of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepbench.evaluation.seed_averages import SeedAverage
from hepbench.specs import text
from hepbench.specs.text import DASH
from hepbench.tables import rounding


def test_both_errors_stand_beside_the_value_with_two_digits():
    """The example of the protocol: .7762 with .0086 from the test sample and .0012 over seeds."""
    average = SeedAverage(0.77624, 0.00861, 0.00123, 3)
    assert rounding.with_errors(average, rounding.places(average)) == "0.7762 ±0.0086 ±0.0012"
    assert rounding.compact(average, rounding.places(average)) == "0.7762(86)(12)"


@pytest.mark.parametrize(
    ("average", "written"),
    [
        (SeedAverage(0.5, 0.00996), f"0.500(10)({DASH})"),
        (SeedAverage(5.91, 1.24, 0.31, 3), "5.9(1.2)(3)"),
        (SeedAverage(1532.0, 46.0, 110.0, 3), "1530(50)(110)"),
        (SeedAverage(0.684, 0.0074, 0.0, 3), "0.6840(74)(0)"),
        (SeedAverage(0.684, None, 0.0012, 3), f"0.6840({DASH})(12)"),
        (SeedAverage(0.68417), "0.684"),
        (SeedAverage(0.0, 0.0, 0.0, 3), "0(0)(0)"),
        (SeedAverage(-0.00001, 0.01), f"0.000(10)({DASH})"),
        (SeedAverage(None), DASH),
    ],
)
def test_errors_in_brackets_count_in_the_last_digit(average, written):
    """As the Particle Data Group writes them; an error above 1 keeps its decimal point."""
    assert rounding.compact(average, rounding.places(average)) == written


@pytest.mark.parametrize(
    ("value", "decimals", "written"), [(1539.9, -1, "≥1530"), (0.29, 2, "≥0.29"), (5.99, 1, "≥5.9")]
)
def test_a_lower_limit_is_rounded_down(value, decimals, written):
    """Rounded up it would say more than was found."""
    assert rounding.compact(SeedAverage(value, limit=True), decimals) == written


@given(
    value=st.floats(-1e6, 1e6),
    stderr=st.floats(1e-9, 1e6),
    spread=st.none() | st.floats(0, 1e6),
)
def test_rounding_moves_no_value_by_more_than_a_twentieth_of_its_error(value, stderr, spread):
    """Two digits of the larger error: half a unit of the last is at most 1/20 of it."""
    average = SeedAverage(value, stderr, spread, 3)
    shown = float(rounding.value_only(average, rounding.places(average)))
    error = max(stderr, spread or 0.0)
    assert abs(shown - value) <= 0.0501 * error + 1e-12 * abs(value)


def test_rows_of_one_column_have_the_same_decimals():
    """The smaller error decides, and no row shows more than three digits of its own."""
    small, large, huge = SeedAverage(0.8, 0.0098), SeedAverage(0.7, 0.011), SeedAverage(0.7, 0.11)
    column = rounding.column_places([small, large, huge])
    assert [rounding.row_places(average, column) for average in (small, large, huge)] == [4, 4, 3]


@pytest.mark.parametrize(
    ("average", "written"),
    [
        (SeedAverage(4.2e-7, 4.3e-8), f"4.20(43)({DASH})e-07"),
        (SeedAverage(4.2e-7, 4.3e-8, 1.1e-9, 3), "4.20(43)(1)e-07"),
        (SeedAverage(-4.2e-7, 1.23e-6), f"-0.4(1.2)({DASH})e-06"),
        (SeedAverage(1e-300, 0.0, 0.0, 3), "1.00(0)(0)e-300"),
        (SeedAverage(4.2e-7), "4.20e-07"),
        (SeedAverage(4.29e-7, limit=True), "≥4.29e-07"),
        (SeedAverage(4.2e-7, 0.01), f"0.000(10)({DASH})"),
        (SeedAverage(0.0, 1e-9), f"0(0)({DASH})"),
    ],
)
def test_small_values_keep_their_digits_with_a_power_of_ten(average, written):
    """The significance of weights that are tiny, say; not where the error hides the value."""
    decimals = rounding.row_places(average, rounding.column_places([average]))
    assert rounding.compact(average, decimals) == written


def test_a_small_value_changes_no_decimals_of_others():
    """Its errors stand in brackets or beside it, and brackets are explained."""
    small, other = SeedAverage(4.2e-7, 4.3e-8, 1.1e-8, 3), SeedAverage(0.71, 0.011, 0.02, 3)
    assert rounding.column_places([small, other]) == rounding.column_places([other]) == 3
    assert rounding.with_errors(small, 3) == "(4.20 ±0.43 ±0.11)e-07"
    assert rounding.value_only(small, 3) == "4.20e-07"
    cell = rounding.compact(small, 3)
    assert rounding.spelt_out(cell) == (cell, "4.20e-07", "±0.43e-07", "±0.11e-07")


def test_times_have_two_digits_and_a_unit():
    """From milliseconds to hours."""
    found = [text.duration(seconds) for seconds in (0.012, 1.234, 48.3, 260, 9000, None)]
    assert found == ["12 ms", "1.2 s", "48 s", "4.3 min", "2.5 h", DASH]


def test_counts_have_three_digits_and_small_ones_all():
    """62 thousand parameters are not told apart by their last digits; CSV and JSON have them."""
    exact = [rounding.number(n) for n in (None, 0, 0.123, 29, 22.34, 100, 9999.4)]
    assert exact == [DASH, "0", "0.123", "29", "22.3", "100", "9,999"]
    written = [rounding.number(n) for n in (10_000, 61_761, 672_850, 999_499, 999_500, 11_019_738)]
    assert written == ["10.0 k", "61.8 k", "673 k", "999 k", "1.00 M", "11.0 M"]
    assert [rounding.number(n) for n in (3.2e9, 5e12, 1e18)] == ["3.20 G", "5.00 T", "1.00e+06 T"]


def test_one_is_one_and_others_are_several():
    """Thousands are set apart."""
    told = [text.several(n, "cell") for n in (0, 1, 2, 1000)]
    assert told == ["0 cells", "1 cell", "2 cells", "1,000 cells"]
