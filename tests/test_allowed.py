"""What parameters may be: ranges and choices, and that they hold before anything runs."""

from __future__ import annotations

import math
from importlib import import_module

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepbench import (
    TRAINING,
    Dataset,
    Input,
    Method,
    Model,
    Param,
    PluginError,
    Range,
    training_params,
)
from hepbench.cli import description
from hepbench.registry.plugins import installed
from hepbench.specs.method import Objective
from hepbench.specs.parameters import allowed_values, defaults, refused
from hepbench.specs.renamed import explained
from hepbench.training import optimisation
from hepbench.training.fit_settings import FitSettings, fit_settings

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
        ("SGD", "is 'SGD'; a table whose 'name' is one of Adam, SGD is expected"),
    ],
)
def test_an_entry_of_a_table_may_be_chosen_from(value, why):
    """What is no table is refused, and no table at all is another matter."""
    found = dict(refused({"optimizer": value}, {"optimizer.name": ("Adam", "SGD")}))
    assert "".join(found.values()) == why


def spec(kind, **more):
    """Return a spec of a kind with one parameter."""
    known = {"name": "x", "summary": "x", "params": {"ratio": 0.5}, **more}
    own = {
        Dataset: {"classes": ("a", "b"), "inputs": {"table": Input(shape=(1,))}},
        Model: {"inputs": ("table",), "build": "x:x"},
        Method: {"run": "x:x"},
    }
    return kind(**own[kind], **known)


@pytest.mark.parametrize("kind", [Dataset, Model, Method])
def test_a_default_that_is_not_allowed_is_an_error_of_the_plugin(kind):
    """The message names the spec and the parameter."""
    assert spec(kind, params={"ratio": Param(0.5, SHARE)})
    with pytest.raises(PluginError, match=r"x: params: 'ratio' is 0\.5; one of 1, 2 is expected"):
        spec(kind, params={"ratio": Param(0.5, (1, 2))})


@pytest.mark.parametrize("kind", [Model, Method])
def test_the_value_under_a_preset_must_be_allowed(kind):
    """The allowed values are the same under each preset."""
    with pytest.raises(PluginError, match=r"x: preset 'paper': 'ratio' is 1\.5; a number"):
        spec(kind, params={"ratio": Param(0.5, SHARE, {"paper": 1.5})})


def test_presets_may_change_the_preprocessing():
    """As that of any parameter; a plain tuple is the same under each preset."""
    steps = Param(["standardise"], presets={"paper": ["signed-log", "own:Step"]})
    changed = spec(Model, preprocess=steps)
    assert defaults(changed.all_params)["preprocess"] == ["standardise"]
    assert defaults(changed.all_params, "paper")["preprocess"] == ["signed-log", "own:Step"]
    assert changed.own_steps == {"own:Step"}
    plain = spec(Model, preprocess=("standardise",))
    assert defaults(plain.all_params, "paper")["preprocess"] == ["standardise"]


@pytest.mark.parametrize("kind", [Model, Method])
@pytest.mark.parametrize("field", ["presets", "allowed"])
def test_an_old_field_of_a_spec_is_answered_with_the_new_one(kind, field):
    """In one line that names the spec."""
    with pytest.raises(TypeError) as caught:
        spec(kind, **{field: {}})
    line = explained(caught.value)
    assert line.startswith(f"{kind.__name__}: '{field}' is now set in each parameter")


def test_the_old_field_of_an_objective_is_answered_with_the_new_one():
    """An unknown one stays a TypeError."""
    with pytest.raises(TypeError) as caught:
        Objective(terms=print, rates={"": 0.1})
    assert explained(caught.value) == "Objective: 'rates' is now learning_rates"
    with pytest.raises(TypeError, match="pace"):
        Objective(terms=print, pace={"": 0.1})


# --- training settings


def test_training_params_change_defaults_and_keep_the_allowed_values():
    """None stays a value where it is the default of TRAINING."""
    made = training_params({"epochs": 3, "gradient_clip": 1.0}, paper={"epochs": 30})
    assert allowed_values(made) == allowed_values(TRAINING)
    assert defaults(made) == {**defaults(TRAINING), "epochs": 3, "gradient_clip": 1.0}
    assert defaults(made, "paper") == {**defaults(made), "epochs": 30}
    optional = {name for name, param in made.items() if param.may_be_none}
    assert optional == {"schedule", "gradient_clip", "patience"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("epoch", "no training setting named 'epoch'. Did"),
        ("clip", "'clip' is now 'gradient_clip'"),
    ],
)
def test_a_name_that_is_no_training_setting_is_an_error_of_the_plugin(name, message):
    """Under a preset too."""
    with pytest.raises(PluginError, match=message):
        training_params({name: 1})
    with pytest.raises(PluginError, match=message):
        training_params({}, paper={name: 1})


def test_fit_settings_are_the_settings_of_training():
    """Each is explained where its type is stated, and has its default in TRAINING alone."""
    assert FitSettings.__struct_fields__ == tuple(TRAINING)
    assert not FitSettings.__struct_defaults__
    found = fit_settings({"precision": "bf16"})
    expected = {**defaults(TRAINING), "precision": "bf16"}
    assert {name: getattr(found, name) for name in TRAINING} == expected


CHOICES = [
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
    assert set(allowed_values(named(of).params)[name]) == set(named(known))


OPTIONS = {"StepLR": {"step_size": 2}, "CosineAnnealingWarmRestarts": {"T_0": 2}}


@pytest.mark.parametrize("name", TRAINING["optimizer"].allowed["name"])
def test_each_allowed_optimizer_is_one_of_torch(name):
    """With a learning rate, and no other option."""
    groups = [{"params": [torch.nn.Parameter(torch.zeros(2))], "lr": 0.1}]
    assert type(optimisation.optimizer(groups, {"name": name})).__name__ == name


@pytest.mark.parametrize("name", TRAINING["schedule"].allowed["name"])
def test_each_allowed_schedule_is_one_of_torch(name):
    """It takes a validation loss."""
    groups = [{"params": [torch.nn.Parameter(torch.zeros(2))], "lr": 0.1}]
    optimizer = optimisation.optimizer(groups, {"name": "SGD"})
    step = optimisation.schedule(optimizer, {"name": name, **OPTIONS.get(name, {})}, 3)
    optimizer.step()
    step(0.5)


def test_parameters_of_earlier_versions_are_not_shown():
    """They are for the messages about suites that still set them."""
    assert installed().entry("method", "linear-probe").spec.former
    assert "learning_rate" not in description.shown("method", "linear-probe")


def test_what_is_allowed_is_shown():
    """In the words of the refusal."""

    def shown(name):
        return [line.split() for line in description.shown("method", name).splitlines()]

    lines = shown("prune-unstructured")
    assert ["ratio", "0.5", "a", "number", "of", "at", "least", "0", "and", "below", "1"] in lines
    assert ["scope", "global", "one", "of", "global,", "layer"] in lines
    assert ["gamma", "[0.1,0.3,1.0]", "[1.0]", "a", "number", "above", "0"] in shown("svm")
    optimizer = "optimizer name: AdamW name: Adam name one of AdamW, Adam, SGD"
    assert optimizer.split() in shown("prune-iterative")
