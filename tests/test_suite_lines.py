"""Lines of a suite file that error messages are about."""

from __future__ import annotations

import pytest

from hepbench.planning import suite_file, suite_lines
from hepbench.specs.errors import SuiteError

SUITE = """\
name = "two"
seeds = 2

[[run]]
datasets = ["toy"]
models = ["line"]
methods = ["fit"]

[[run]]  # another
datasets = ["toy", "other"]
models = [
  "line",
]
methods = ["fit"]

[presets.paper.fit]
epochs = 3
"""


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("$", None),
        ("$.seeds", 2),
        ("$.run[0].datasets", 5),
        ("$.run[1]", 9),
        ("$.run[1].models[0]", 11),
        ("$.run[1].nothing", 9),
        ("$.run[7].models", None),
        ("$.presets.paper.fit", 16),
        ("$.presets.paper.fit.epochs", 17),
    ],
)
def test_a_place_is_found_in_its_own_table(place, line):
    """Keys of equal names stand in several tables."""
    assert suite_lines.line_of_place(SUITE, place) == line


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (("seeds = 2", 'seeds = "2"'), "s.toml:2: $.seeds: a whole number or a list is expected, not a text in quotes"),
        (("seeds = 2", "seeds = 0"), "s.toml:2: seeds at $.seeds must be a number above 0"),
        (('["toy", "other"]', '"toy"'), "s.toml:10: $.run[1].datasets: a list is expected, not a text"),
        (("seeds = 2", "sedes = 2"), "s.toml:2: $: no key named 'sedes'. Did you mean 'seeds'?"),
        (('["line"]\n', '["line"]\nmodle = 3\n'), "s.toml:7: $.run[0]: no key named 'modle'"),
        (('["toy"]', "[]"), "s.toml:5: datasets at $.run[0] is empty"),
        (("seeds = 2", "seeds = 2 2"), "s.toml:2: "),
    ],
)  # fmt: skip
def test_a_mistake_in_a_suite_is_named_with_its_line(changed, said):
    """File, line, what was found, what is allowed."""
    with pytest.raises(SuiteError) as found:
        suite_file.parse(SUITE.replace(*changed).encode(), "s.toml")
    assert str(found.value).startswith(said)


def test_a_name_is_found_where_it_stands_in_quotes():
    """Not in a comment, and not as part of another name."""
    assert suite_lines.line_of_name(SUITE, "no dataset named 'other'.") == 10
    assert suite_lines.line_of_name(SUITE, "no method named 'another'.") is None
    assert suite_lines.line_of_name(SUITE, "no quotes") is None


def test_a_name_that_is_not_known_is_named_with_the_line_of_the_suite(toys):
    """One from the command line is not."""
    toys.write("two.toml", SUITE)
    told = toys("plan", "two.toml").err
    assert told.startswith("hepbench: two.toml:10: no dataset named 'other'.")
    toys.write("two.toml", SUITE.replace('"toy", "other"', '"toy"'))
    assert toys("plan", "two.toml", "-m", "lime").err.startswith(
        "hepbench: 'lime' matches no model"
    )
