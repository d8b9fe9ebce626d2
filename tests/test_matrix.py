"""The matrix: how parameters are resolved, and what is refused before anything runs."""

from __future__ import annotations

import pytest

from hepbench import suite
from hepbench.errors import HepbenchError
from hepbench.matrix import Choice, expand
from hepbench.registry import installed

SUITE = """
name = "one"

[presets.quick.scratch]
epochs = 7
clip = "none"

[presets.quick.dataset]
n_train = 500

[presets.paper.scratch]
epochs = 70
schedule = "none"

[presets.paper.model]
width = 30

[[run]]
datasets = ["higgs"]
models = ["mlp"]
methods = ["scratch"{more}]
{settings}
"""


def expanded(text=SUITE, more="", settings="", **choice):
    """Return the combinations of a suite."""
    text = text.replace("{more}", more).replace("{settings}", settings)
    return expand(suite.parse(text.encode(), "one.toml"), installed(), Choice(**choice))[0]


def test_a_suite_says_what_a_preset_means():
    """Beside what models and methods say; each preset has its own settings."""
    (quick,), (paper,) = expanded(), expanded(preset="paper")
    assert [c.method_params[0]["epochs"] for c in (quick, paper)] == [7, 70]
    assert [c.model_params["width"] for c in (quick, paper)] == [96, 30]
    assert [c.dataset_params["n_train"] for c in (quick, paper)] == [500, None]
    assert paper.model_params["layers"] == 5


def test_what_belongs_to_the_preset_is_not_in_the_label_but_for_a_dataset():
    """Labels show what differs from the preset, and a dataset has none."""
    assert expanded()[0].labels == ("higgs[n_train=500]", "mlp", "scratch")
    assert expanded(preset="paper")[0].labels == ("higgs", "mlp", "scratch")
    both = expanded(more=", 'scratch[epochs=8]', 'scratch[epochs=7]'")
    assert [c.labels[2] for c in both] == ["scratch", "scratch[epochs=8]"]


def test_set_brackets_and_the_command_line_win_over_the_suites_preset():
    """In this order."""
    told = {"settings": "set = { 'scratch.epochs' = 8 }"}
    assert expanded(**told)[0].method_params[0]["epochs"] == 8
    last = expanded(more=", 'scratch[epochs=9]'", **told)[-1]
    assert last.method_params[0]["epochs"] == 9
    (over,) = expanded(**told, overrides=["scratch.epochs=10", "dataset.n_train=none"])
    assert over.method_params[0]["epochs"] == 10
    assert over.labels == ("higgs", "mlp", "scratch[epochs=10]")


def test_none_is_written_where_a_training_may_do_without():
    """TOML has no word for it."""
    assert expanded()[0].method_params[0]["clip"] is None
    assert expanded(preset="paper")[0].method_params[0]["schedule"] is None
    (other,) = expanded(preset="paper", overrides=["scratch.clip=none"])
    assert other.labels[2] == "scratch[clip=none]"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 7\n", "epoch = 7\n", "no parameter named 'scratch.epoch'. Did you mean"),
        ("quick.scratch", "quick.scratches", "no parameter named 'scratches.epochs'"),
        (
            "epochs = 7\n",
            "epochs = 'none'\n",
            "scratch[epochs] is None; a whole number is expected",
        ),
        ("epochs = 7\n", "epochs = 'x'\n", "scratch[epochs] is 'x'; a whole number is expected"),
        ("paper.model", "papr.model", "no preset named 'papr'. Did you mean 'paper'?"),
        ("[presets.quick.scratch]", "[presets.quick]", "Expected `object`, got `int`"),
    ],
)
def test_what_a_suite_says_wrongly_of_a_preset_is_refused(old, new, message):
    """With what is allowed."""
    with pytest.raises(HepbenchError) as caught:
        expanded(SUITE.replace(old, new))
    assert message in str(caught.value)


def test_preprocessing_is_shown_where_it_is_not_the_models_own():
    """The preset's own is not; the order counts."""
    steps = "['standardise','signed-log']"
    (found,) = expanded(settings=f"set = {{ 'model.preprocess' = {steps} }}")
    assert found.labels[1] == f"mlp[preprocess={steps}]"
    (back,) = expanded(overrides=[f"model.preprocess={steps}"])
    assert back.model_params["preprocess"] == ["standardise", "signed-log"]
    (own,) = expanded(overrides=["model.preprocess=['standardise']"])
    assert own.labels[1] == "mlp"


def test_a_number_that_a_step_is_told_is_part_of_the_row():
    """In brackets behind its name, inside those of the model."""
    (found,) = expanded(
        SUITE.replace('"mlp"', "\"mlp[preprocess=['zero-suppression[below=1e-3]'],width=8]\"")
    )
    assert found.labels[1] == "mlp[width=8,preprocess=['zero-suppression[below=1e-3]']]"
    assert found.model_params["preprocess"] == ["zero-suppression[below=1e-3]"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("['signed-lok']", "no preprocessing step named 'signed-lok'. Did you mean 'signed-log'?"),
        ("[3]", "no preprocessing step named '3'"),
        ("['signed-log[m=2]']", "'signed-log[m=2]'; signed-log is expected"),
        ("['zero-suppression']", "zero-suppression[below=NUMBER] is expected"),
        ("['zero-suppression[below=few]']", "zero-suppression[below=NUMBER] is expected"),
        ("['zero-suppression[below=nan]']", "zero-suppression[below=NUMBER] is expected"),
        ("['zero-suppression[above=1]']", "zero-suppression[below=NUMBER] is expected"),
        ("signed-log", "'signed-log'; a list is expected (default ['standardise'])"),
    ],
)
def test_unknown_preprocessing_is_refused(value, message):
    """With what is allowed."""
    with pytest.raises(HepbenchError) as caught:
        expanded(overrides=[f"model.preprocess={value}"])
    assert message in str(caught.value)


RUN = """
[run.presets.quick.scratch]
epochs = 3

[[run]]
datasets = ["higgs[features=21]"]
models = ["mlp"]
methods = ["scratch"]
"""


def test_a_run_says_what_a_preset_means_for_it_alone():
    """It wins over the suite, for what it names; labels do not show it."""
    first, second = expanded(settings=RUN)
    assert first.labels[2] == second.labels[2] == "scratch"
    assert [c.method_params[0]["epochs"] for c in (first, second)] == [3, 7]
    assert first.method_params[0]["clip"] is second.method_params[0]["clip"] is None


def test_one_name_for_two_settings_is_refused():
    """Two runs that differ in nothing but what a preset means for them."""
    with pytest.raises(HepbenchError, match="mlp/scratch stands for two settings"):
        expanded(settings=RUN.replace("[features=21]", ""))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 3", "epcohs = 3", "Did you mean 'scratch.epochs'"),
        ("presets.quick", "presets.qiuck", "Did you mean 'quick'"),
    ],
)
def test_what_a_run_says_wrongly_of_a_preset_is_refused(old, new, message):
    """As it is for a suite."""
    with pytest.raises(HepbenchError, match=message):
        expanded(settings=RUN.replace(old, new))
