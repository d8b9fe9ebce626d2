"""Suites as written: alternatives in braces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepbench.planning.suite_file import parse
from hepbench.specs.errors import SuiteError
from hepbench.specs.references import alternatives, chain, reference, uses

words = st.text("abc.0123-", min_size=1, max_size=5)


def test_braces_stand_for_one_name_with_each_value():
    """Several multiply, the last one varying fastest, whatever spaces there are."""
    assert alternatives("a+b[ratio={0, .2},after={x,y}]") == [
        "a+b[ratio=0,after=x]",
        "a+b[ratio=0,after=y]",
        "a+b[ratio=.2,after=x]",
        "a+b[ratio=.2,after=y]",
    ]


@given(st.lists(words, min_size=2, max_size=4), st.lists(words, min_size=2, max_size=4))
def test_alternatives_are_as_many_as_their_product(one, other):
    """And hold no braces."""
    found = alternatives(f"x[a={{{','.join(one)}}},b={{{','.join(other)}}}]")
    assert found == [f"x[a={a},b={b}]" for a in one for b in other]


def test_inline_tables_are_left_alone():
    """Braces that name keys, and those of a single value, are what TOML makes of them."""
    for text in ('a[optimizer={name="SGD"}]', 'a[o={name="SGD", momentum=0.9}]', "a", "a[b={}]"):
        assert alternatives(text) == [text]


def test_a_suite_that_is_read_holds_every_alternative():
    """In datasets, models and methods, in their order."""
    text = b"""
    name = "s"
    [[run]]
    datasets = ["d[n={1,2}]", "e"]
    models = ["m"]
    methods = ["fit", "fit+prune[ratio={0.2,0.9}]"]
    """
    (matrix,) = parse(text, "s.toml").run
    assert matrix.datasets == ["d[n=1]", "d[n=2]", "e"]
    assert matrix.models == ["m"]
    assert [chain(text)[-1].params for text in matrix.methods] == [
        {},
        {"ratio": 0.2},
        {"ratio": 0.9},
    ]


def test_each_use_of_a_method_has_a_name_of_its_own():
    """The first that of the method; no method's name holds the sign that numbers the others."""
    assert uses(["pre", "tune", "prune", "tune", "tune"]) == [
        *("pre", "tune", "prune", "tune#2", "tune#3"),
    ]


def test_the_name_of_runs_without_a_suite_is_reserved():
    """Their records would share a folder."""
    text = b'name = "all-models"\n[[run]]\ndatasets = ["d"]\nmodels = ["m"]\nmethods = ["fit"]'
    with pytest.raises(SuiteError, match="stands for runs without a suite"):
        parse(text, "s.toml")


def test_a_table_in_brackets_may_have_several_entries():
    """Commas inside its braces do not end the parameter."""
    table = {"drop_rate": 0.1, "stem_width": 16}
    found = reference("net[arguments={drop_rate=0.1,stem_width=16},name=a]")
    assert found.params == {"arguments": table, "name": "a"}
    (step,) = chain("fit[arguments={drop_rate=0.1,stem_width=16}]")
    assert step.params == {"arguments": table}
