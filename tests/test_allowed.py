"""What parameters may be: ranges and choices, and that they hold before anything runs."""

from __future__ import annotations

import math
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepbench import Dataset, Input, Method, Model, Param, PluginError, Range
from hepbench.cli import listing
from hepbench.specs.parameters import refused
from hepbench.specs.training_settings import TRAINING_ALLOWED
from hepbench.training import optimisation

SHARE = Range(least=0, below=1)


@pytest.mark.parametrize(
    ("given", "inside", "outside", "words"),
    [
        (SHARE, [0, 0.0, 0.999], [-1e-9, 1, 1.5], "a number of at least 0 and below 1"),
        (Range(above=0), [1e-9, 10**6], [0, 0.0, -1], "a number above 0"),
        (Range(above=0, most=1), [1, 0.5], [0, 1.01], "a number above 0 and of at most 1"),
        (Range(least=1, whole=True), [1, 10**6], [0, 1.0], "a whole number of at least 1"),
        (Range(), [-5, 0.1], [], "a number"),
    ],
)
def test_a_range_holds_its_ends_or_not_as_it_says(given, inside, outside, words):
    """And is called so."""
    assert all(value in given for value in inside)
    assert not any(value in given for value in outside)
    assert str(given) == words


@given(value=st.none() | st.booleans() | st.text() | st.sampled_from([math.nan, math.inf]))
def test_what_is_no_finite_number_is_in_no_range(value):
    """True and false neither, which are numbers of Python's."""
    assert value not in Range()
    assert value not in Range(whole=True)


@given(values=st.lists(st.floats(-2, 2)))
def test_of_a_list_every_entry_must_be_allowed(values):
    """One that is not is enough to refuse it."""
    assert (not list(refused({"C": values}, {"C": SHARE}))) == all(0 <= v < 1 for v in values)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, ""),
        ({"name": "SGD", "momentum": 0.9}, ""),
        ({"name": "SDG"}, "is 'SDG'; one of Adam, SGD is expected"),
        ({"momentum": 0.9}, "is None; one of Adam, SGD is expected"),
        ("SGD", "is 'SGD'; a table with 'name', one of Adam, SGD, is expected"),
    ],
)
def test_an_entry_of_a_table_may_be_chosen_from(value, why):
    """What is no table is refused, and no table at all is another matter."""
    found = dict(refused({"optimizer": value}, {"optimizer.name": ("Adam", "SGD")}))
    assert "".join(found.values()) == why


def spec(kind, **more):
    """Return a spec of a kind with one parameter."""
    known = {"name": "x", "summary": "x", "params": {"ratio": 0.5}, **more}
    if kind is Dataset:
        return Dataset(classes=("a", "b"), inputs={"table": Input(shape=(1,))}, **known)
    return (
        kind(inputs=("table",), build="x:x", **known) if kind is Model else kind(run="x:x", **known)
    )


def test_a_default_that_is_not_allowed_is_a_fault_of_the_dataset():
    """The message names the parameter and what is expected."""
    assert spec(Dataset, params={"ratio": Param(0.5, SHARE)})
    with pytest.raises(PluginError, match=r"x: params: 'ratio' is 0\.5; one of 1, 2 is expected"):
        spec(Dataset, params={"ratio": Param(0.5, (1, 2))})


@pytest.mark.parametrize("kind", [Model, Method])
def test_a_default_that_is_not_allowed_is_a_fault_of_the_plugin(kind):
    """As is a range of no parameter."""
    assert spec(kind, allowed={"ratio": SHARE})
    with pytest.raises(PluginError, match=r"x: params: 'ratio' is 0\.5; one of 1, 2 is expected"):
        spec(kind, allowed={"ratio": (1, 2)})
    with pytest.raises(PluginError, match="x: 'allowed' names 'ratoi', which is not in params"):
        spec(kind, allowed={"ratoi": SHARE})


@pytest.mark.parametrize("kind", [Model, Method])
def test_what_a_preset_says_must_be_allowed(kind):
    """A range holds whichever preset is chosen."""
    with pytest.raises(PluginError, match=r"x: preset 'paper': 'ratio' is 1\.5; a number"):
        spec(kind, allowed={"ratio": SHARE}, presets={"paper": {"ratio": 1.5}})


CHOICES = [
    ("hepbench_methods.pruning:SCOPES", "hepbench_methods:PRUNE_UNSTRUCTURED", "scope"),
    ("hepbench_methods.pruning:SCOPES", "hepbench_methods:PRUNE_ITERATIVE", "scope"),
    ("hepbench_methods.prune_structured:AFTER", "hepbench_methods:PRUNE_STRUCTURED", "after"),
    ("hepbench_methods.svm:SCALES", "hepbench_methods:SVM", "scale"),
    ("hepbench_models.mlp:ACTIVATIONS", "hepbench_models:MLP", "activation"),
    ("hepbench_models.convolutions:OUTPUTS", "hepbench_models:CONV_VAE", "output"),
    ("hepbench_models.convolutions:OUTPUTS", "hepbench_models:SPARSE_AE", "output"),
    ("hepbench_datasets.higgs:VIEWS", "hepbench_datasets:HIGGS", "features"),
]


def named(target):
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


@pytest.mark.parametrize(("known", "of", "name"), CHOICES, ids=lambda text: text.split(":")[-1])
def test_the_choices_of_a_spec_are_those_of_the_code(known, of, name):
    """They stand twice, so that nothing heavy is imported to list them."""
    stated = named(of)
    dataset = isinstance(stated, Dataset)
    allowed = stated.params[name].allowed if dataset else stated.allowed[name]
    assert set(allowed) == set(named(known))


def test_the_choices_of_a_training_are_those_of_the_core():
    """For the same reason."""
    assert set(TRAINING_ALLOWED["optimizer.name"]) == set(optimisation.OPTIMIZERS)
    assert set(TRAINING_ALLOWED["schedule.name"]) == set(optimisation.SCHEDULES)


def test_what_is_allowed_is_shown():
    """In the words of the refusal."""
    shown = listing.shown("method", "prune-unstructured").splitlines()
    assert "  ratio = a number of at least 0 and below 1" in shown
    assert "  scope = global, layer" in shown
