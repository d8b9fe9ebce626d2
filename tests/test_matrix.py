"""The matrix: how parameters are resolved, and what is refused before anything runs."""

from __future__ import annotations

import pytest

from hepbench import Dataset, Input, Method, Model, UsageError, View
from hepbench.planning import suite_file
from hepbench.planning.matrix import Choice, expand
from hepbench.registry.plugins import Plugin, Registry, installed
from hepbench.specs.errors import HepbenchError

SUITE = """
name = "one"

[presets.quick.scratch]
epochs = 7
gradient_clip = "none"

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
    return expand(suite_file.parse(text.encode(), "one.toml"), installed(), Choice(**choice))[0]


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


def test_brackets_are_of_one_use_of_a_method_and_settings_of_every_one():
    """A chain may use a method twice."""
    twice = "scratch+prune-unstructured[ratio=0.2]+prune-unstructured[ratio=0.6]"
    (found,) = expanded(
        more=f", '{twice}'", methods=["prune*"], overrides=["prune-unstructured.scope=layer"]
    )
    first, second = found.method_params[1:]
    assert (first["ratio"], second["ratio"]) == (0.2, 0.6)
    assert first["scope"] == second["scope"] == "layer"


def test_none_is_written_where_a_training_may_do_without():
    """TOML has no word for it."""
    assert expanded()[0].method_params[0]["gradient_clip"] is None
    assert expanded(preset="paper")[0].method_params[0]["schedule"] is None
    (other,) = expanded(preset="paper", overrides=["scratch.gradient_clip=none"])
    assert other.labels[2] == "scratch[gradient_clip=none]"


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
        ("epochs = 7\n", "epochs = 'x'\n", "scratch[epochs] is 'x'; a whole number of at least 0"),
        ("paper.model", "papr.model", "no preset named 'papr'. Did you mean 'paper'?"),
        ("[presets.quick.scratch]", "[presets.quick]", "a table is expected, not a whole number"),
    ],
)
def test_what_a_suite_says_wrongly_of_a_preset_is_refused(old, new, message):
    """With what is allowed."""
    with pytest.raises(HepbenchError) as caught:
        expanded(SUITE.replace(old, new))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("prune-unstructured.ratio=1.5", "is 1.5; a number of at least 0 and below 1 is expected"),
        ("prune-unstructured.scope=all", "is 'all'; one of global, layer is expected"),
        ("dataset.features=20", "higgs[features] is 20; one of 7, 21, 28 is expected (default 28)"),
        ("dataset.n_test=0", "higgs[n_test] is 0; a whole number of at least 1 is expected"),
        ("dataset.n_test=10.5", "higgs[n_test] is 10.5; a whole number of at least 1 is expected"),
        ("dataset.label_fraction=1.5", "is 1.5; a number above 0 and of at most 1 is expected"),
        (
            "model.dropout=1.0",
            "mlp[dropout] is 1.0; a number of at least 0 and below 1 is expected",
        ),
        ("scratch.epochs=-1", "scratch[epochs] is -1; a whole number of at least 0 is expected"),
        (
            "scratch.batch_size=0",
            "scratch[batch_size] is 0; a whole number of at least 1 is expected",
        ),
        ("scratch.gradient_clip=0", "scratch[gradient_clip] is 0; a number above 0 is expected"),
        ("scratch.patience=1.5", "is 1.5; a whole number of at least 0 is expected"),
        (
            "scratch.learning_rate=nan",
            "scratch[learning_rate] is nan; a number above 0 is expected",
        ),
        (
            "scratch.optimizer={name='Adma'}",
            "scratch[optimizer.name] is 'Adma'; one of AdamW, Adam",
        ),
        (
            "scratch.schedule='StepLR'",
            "scratch[schedule] is 'StepLR'; a table whose 'name' is one of",
        ),
        ("scratch.precision=half", "scratch[precision] is 'half'; one of float32, bf16, fp16 is"),
        ("svm.scale=some", "svm[scale] is 'some'; one of each, raw is expected (default 'each')"),
        ("svm.C=[1.0,0.0]", "svm[C] is [1.0, 0.0]; a list, each a number above 0, is expected"),
    ],
)
def test_what_a_parameter_may_not_be_is_refused_before_anything_runs(setting, message):
    """Whatever it is of: a plugin says what its own may be, the core what those that it adds."""
    with pytest.raises(UsageError) as caught:
        expanded(more=", 'scratch+prune-unstructured', 'fresh+svm'", overrides=[setting])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        "set = { 'scratch.epochs' = -1 }",
        "label_fractions = [0.5, 2]",
        "[run.presets.quick.scratch]\nepochs = -1",
    ],
)
def test_a_suite_is_held_to_what_parameters_may_be(settings):
    """Wherever it sets them."""
    with pytest.raises(
        UsageError, match=r"^(scratch\[epochs\] is -1|higgs\[label_fraction\] is 2\.0);"
    ):
        expanded(settings=settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overrides": ["scratch.rate=0.1"]}, "set scratch.rate: 'rate' is now 'learning_rate'"),
        (
            {"settings": "set = {'scratch.clip' = 1}"},
            "set scratch.clip: 'clip' is now 'gradient_clip'",
        ),
        ({"more": ", 'scratch[choose=auc]'"}, "scratch[choose]: 'choose' is now 'monitor'"),
        (
            {"settings": "[run.presets.quick.scratch]\nleast_steps = 2"},
            "set scratch.least_steps: 'least_steps' is now 'min_steps'",
        ),
        ({"overrides": ["model.spreads=[0.1]"]}, "set model.spreads: 'spreads' is now 'init_std'"),
        ({"overrides": ["model.code=3"]}, "set model.code: no parameter named 'model.code'."),
    ],
)
def test_the_old_name_of_a_parameter_is_answered_with_the_new_one(changes, message):
    """In one line, wherever a suite or the command line sets it; only where the new one exists."""
    with pytest.raises(UsageError) as caught:
        expanded(**changes)
    assert str(caught.value).startswith(message)


NONE_NEEDED = "is gone: L-BFGS needs none; mlp-probe[hidden=[]] trains a linear head in steps"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overrides": ["linear-probe.epochs=3"]}, "set linear-probe.epochs: 'epochs' is now"),
        (
            {"settings": "[run.presets.quick.linear-probe]\nbatch_size = 2"},
            f"set linear-probe.batch_size: 'batch_size' {NONE_NEEDED}",
        ),
        # a name that was old before the parameter went
        (
            {"settings": "set = {'linear-probe.rate' = 1}"},
            f"set linear-probe.rate: 'rate' {NONE_NEEDED}",
        ),
        (
            {"more": ", 'fresh+linear-probe[epochs=3]'"},
            "linear-probe[epochs]: 'epochs' is now 'max_iterations', of L-BFGS",
        ),
    ],
)
def test_a_parameter_that_a_method_no_longer_has_is_answered_with_what_became_of_it(
    changes, message
):
    """As the method itself says, in one line."""
    with pytest.raises(UsageError) as caught:
        expanded(**{"more": ", 'fresh+linear-probe'", **changes})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "listed"),
    [
        ("dataset.sizes=1", ["dataset.features", "dataset.n_train"]),
        ("mlp.width=1", ["dataset.*", "model.*", "scratch.*"]),
        ("width=1", ["dataset.*", "model.*", "scratch.*"]),
    ],
)
def test_an_unknown_parameter_lists_those_of_its_owner_or_the_owners(setting, listed):
    """Not all parameters of a suite: there are hundreds."""
    with pytest.raises(UsageError) as caught:
        expanded(overrides=[setting])
    names = str(caught.value).partition("Known: ")[2].split(", ")
    assert set(listed) <= set(names)
    assert {name.partition(".")[0] for name in names} == {name.partition(".")[0] for name in listed}


OWN = """
name = "one"
[[run]]
datasets = ["higgs"]
models = ["mlp"]
methods = ["own[epochs=-7]"]
"""


def test_a_method_that_is_not_trained_as_the_core_does_is_not_held_to_its_ranges():
    """Its parameter of the same name may mean something else."""
    own = Method(name="own", summary="own", run="x:x", params={"epochs": 3})
    known = Registry([Plugin("own", "own", "own", "1", specs=(own,)), *installed().plugins])
    (found,), _ = expand(suite_file.parse(OWN.encode(), "one.toml"), known, Choice())
    assert found.method_params == ({"epochs": -7},)


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


def test_an_augmentation_that_the_dataset_lacks_is_refused_before_anything_runs():
    """With those it has; estimators do not use augmentations."""
    chosen = {"settings": "exclude = []", "more": """, "scratch[augment=['flips']]\""""}
    with pytest.raises(UsageError, match="higgs: no augmentation named 'flips'"):
        expanded(**chosen)
    trees = SUITE.replace('models = ["mlp"]', 'models = ["gbdt"]')
    trees = trees.replace("[presets.paper.model]\nwidth = 30\n", "")
    assert len(expanded(trees, **chosen)) == 2


def test_a_glob_that_excludes_nothing_is_refused():
    """Otherwise a misspelt glob would run what it was meant to leave out."""
    chosen = {"more": ", 'scratch+prune-iterative'"}
    (kept,) = expanded(settings="exclude = ['*/mlp/*+prune*']", **chosen)
    assert kept.labels[2] == "scratch"
    with pytest.raises(UsageError, match=r"exclude: '\*/mlp/prune\*' excludes nothing"):
        expanded(settings="exclude = ['*/mlp/*+prune*', '*/mlp/prune*']", **chosen)


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
    assert (
        first.method_params[0]["gradient_clip"] is second.method_params[0]["gradient_clip"] is None
    )


def test_one_name_for_two_settings_is_refused():
    """Two runs that differ in nothing but what a preset means for them."""
    with pytest.raises(
        HepbenchError, match=r"mlp/scratch is in two \[\[run\]\] tables whose presets"
    ):
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


# --- shapes


def image_suite(dataset, model, **choice):
    """Return combinations and misfits of one dataset and one model of those installed."""
    run = suite_file.Matrix(datasets=[dataset, "higgs"], models=[model, "mlp"], methods=["scratch"])
    return expand(suite_file.SuiteFile(name="s", run=[run]), installed(), Choice(**choice))


@pytest.mark.parametrize(
    ("dataset", "model", "reason"),
    [
        (
            "boosted-jets",
            "dual-cnn",
            "dual-cnn does not fit boosted-jets: its images have 8 channels; two are expected",
        ),
        (
            "electron-photon[channels=['time']]",
            "dual-cnn",
            "dual-cnn does not fit electron-photon: its images have 1 channel; two are expected",
        ),
        (
            "boosted-jets",
            "vit",
            "vit does not fit boosted-jets: patches of 4 x 4 do not divide its images of 125 x 125",
        ),
        (
            "electron-photon",
            "vit[heads=3]",
            "vit does not fit electron-photon: width 64 is no multiple of heads 3",
        ),
        (
            "electron-photon",
            "multi-input-cnn",
            (
                "multi-input-cnn needs input 'scalars'; electron-photon has cloud, image, mask, momenta, "
                "neighbours, table"
            ),
        ),
        (
            "electron-photon[channels=[]]",
            "dual-cnn",
            "electron-photon: channels is []; one or more of energy, time, each once, are allowed",
        ),
    ],
)
def test_a_model_that_does_not_fit_the_images_is_a_misfit(dataset, model, reason):
    """The reason is one line; other combinations are planned."""
    combinations, misfits = image_suite(dataset, model)
    assert {item.labels[:2] for item in combinations} == {(dataset, "mlp"), ("higgs", "mlp")}
    assert [item.reason for item in misfits if item.labels[:2] == (dataset, model)] == [reason]


@pytest.mark.parametrize(
    ("dataset", "model"),
    [
        ("electron-photon", "dual-cnn"),
        ("electron-photon[channels=['time']]", "vit"),
        ("boosted-jets[size=64]", "vit"),
        ("boosted-jets", "vit[patch=5]"),
        ("quark-gluon", "multi-input-cnn"),
    ],
)
def test_views_decide_whether_a_model_fits(dataset, model):
    """Their parameters change the size and the channels of images."""
    combinations, _ = image_suite(dataset, model)
    assert (dataset, model) in {item.labels[:2] for item in combinations}


def strange(view, fits):
    """Return the combinations of a dataset with a strange view and a model that looks at shapes."""
    dataset = Dataset(
        name="strange",
        summary="a view of its own",
        classes=("a", "b"),
        inputs={"table": Input(shape=(3,))},
        views={"table": View(view)},
    )
    model = Model(name="m", summary="m", inputs=("table",), build="", fits=fits)
    method = Method(name="x", summary="x", run="")
    registry = Registry([Plugin("p", "", "d", "1", specs=(dataset, model, method))])
    run = suite_file.Matrix(datasets=["strange"], models=["m"], methods=["x"])
    return expand(suite_file.SuiteFile(name="s", run=[run]), registry, Choice())


def fits_anything(shapes):
    return "" if shapes == {"table": (3,)} else str(shapes)


def same(inputs):
    return inputs


def no_number(shapes):
    return int(next(iter(shapes)))


def first_row(inputs):
    return {"table": inputs["table"][0]}


@pytest.mark.parametrize(
    ("view", "fits", "message"),
    [
        (
            "first_row",
            "fits_anything",
            "strange: view 'table' applied to zero examples: IndexError: index 0",
        ),
        (
            "same",
            "no_number",
            "model m: its function test_matrix:no_number fails: ValueError: invalid literal",
        ),
        ("same", "same", "m: test_matrix:same returns {'table': (3,)}; one line of text, or ''"),
    ],
)
def test_a_plugin_that_fails_while_shapes_are_found_is_named(view, fits, message):
    """Its combination is left out, for a reason of one line; with nothing wrong it is planned."""
    assert strange("test_matrix:same", "test_matrix:fits_anything")[0]
    with pytest.raises(UsageError) as caught:
        strange(f"test_matrix:{view}", f"test_matrix:{fits}")
    assert str(caught.value).startswith(f"no cell can be run: strange/m/x: {message}")
    assert "\n" not in str(caught.value)
