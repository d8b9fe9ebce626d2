"""Conformance tests: each planted fault fails the claim that it breaks."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from hepbench import Method, PluginError, Suite, testing
from hepbench.cli import verbs
from hepbench.conformance import checks as conformance_checks
from hepbench.conformance import trials
from hepbench.conformance.estimator_methods import NEAREST_NEIGHBOUR
from hepbench.conformance.fresh_process import run_in_fresh_process
from hepbench.registry import plugins
from hepbench.registry.plugins import Entry, Plugin, Registry
from hepbench.specs.errors import UsageError

PLUGINS = Path(__file__).parent / "plugins"

DATA_FAULTS = [
    ("no-source", "has a sample or a reader", "neither"),
    ("no-function", "every function and file named in the spec exists", "no 'simple'"),
    ("no-summary", "the summary is one line and all parameters are JSON values", "one line"),
    (
        "params-tuple",
        "the summary is one line and all parameters are JSON values",
        "JSON has no tuple",
    ),
    ("reads-no-file", "missing files give a one-line error", "no labelled file"),
    ("missing-wrong-error", "missing files give a one-line error", "FileNotFoundError"),
    ("missing-two-lines", "missing files give a one-line error", "2 lines"),
    ("damaged-unnoticed", "a damaged jets.csv gives a one-line error", "read without an error"),
    ("no-role", "the sample can be read", "(role, Examples) is expected"),
    ("unlabelled-only", "the sample can be read", "no labelled example"),
    ("miscounted", "the sample can be read", "Sample.examples is 7"),
    ("units-too-few", "view 'table' keeps rows, order and shapes", "2 names and 1 units"),
    ("too-wide", "inputs are as declared: names, shapes, finite numbers", "(3,); (2,) is"),
    ("not-finite", "inputs are as declared: names, shapes, finite numbers", "not finite"),
    ("names-too-few", "inputs are as declared: names, shapes, finite numbers", "1 different"),
    ("ids-repeated", "ids are int64 and unique", "such as [8]"),
    ("ids-float", "ids are int64 and unique", "float64"),
    (
        "label-out-of-range",
        "labels are int64 and in range, with every class present",
        "0 to 2; 0 to 1",
    ),
    ("label-missing", "labels are int64 and in range, with every class present", "background"),
    (
        "weight-negative",
        "weights are finite, and their sums positive",
        "'signal' add up to -200",
    ),
    ("label-among-inputs", "no input column equals the label", "column 1 of input 'table'"),
    ("official-rows", "the official test set is (N,) bool, or None", "int64 (100,)"),
    ("view-drops", "view 'table' keeps rows, order and shapes", "for 400"),
    (
        "view-sorts",
        "view 'table' keeps rows, order and shapes",
        "differs when the view gets only these",
    ),
    (
        "view-centres",
        "view 'table' keeps rows, order and shapes",
        "differs when the view gets only these",
    ),
    ("view-widens", "view 'table' keeps rows, order and shapes", "(3,); (2,) is declared"),
    (
        "view-renames",
        "view 'table' keeps rows, order and shapes",
        "the view returns tables, but not 'table'",
    ),
    ("view-writes", "view 'table' keeps rows, order and shapes", "read-only"),
    ("augmented-twice", "augmentation 'doubles' keeps rows and shapes", "(128, 2); (64, 2)"),
    (
        "augmented-as-numpy",
        "augmentation 'as-numpy' keeps rows and shapes",
        "as something other than a tensor",
    ),
    ("ids-from-clock", "another process reads the same sample", "labelled 'ids' differ"),
    ("label-rare", "can be prepared as in a run, with every class in each part", "'signal'"),
]
MODEL_FAULTS = [
    (
        "imports-missing-module",
        "every function and file named in the spec exists",
        "no_such_module",
    ),
    (
        "files-missing",
        "every function and file named in the spec exists",
        "model files-missing: the declared file 'faulty:no_such_table.h5' is missing",
    ),
    (
        "presets-not-json",
        "the summary is one line and all parameters are JSON values",
        "JSON has no tuple",
    ),
    ("builds-nothing", "can be built, also with each preset", "NoneType, not an Estimator"),
    ("offers-too-much", "has a method or attribute for everything it offers", "'temperature'"),
    (
        "writes-inputs",
        "fits two classes, and fits three or refuses three with a reason",
        "read-only",
    ),
    (
        "not-for-three",
        "fits two classes, and fits three or refuses three with a reason",
        "IndexError",
    ),
    ("not-normalised", "scores have shape (examples, classes) and add to 1", "add to 1"),
    (
        "columns-swapped",
        "score columns are in the order of the classes: no AUC far below 0.5",
        "swapped?",
    ),
    ("noisy", "shuffling the examples only shuffles the scores", "scores change by up to"),
    ("counts-rows", "shuffling the examples only shuffles the scores", "scores change by up to"),
    (
        "centres-batch",
        "examples scored by themselves get the same scores as among others",
        "scores change by up to",
    ),
    ("first-columns", "inputs of another width are refused", "without an error"),
    ("says-nothing", "parameters, best_epoch and history can be recorded", "best_epoch is None"),
    ("unseeded", "the same seed gives bit-identical scores", "score differently"),
    ("not-storable", "can be saved and loaded without pickle", "lambda"),
    ("trusts-anything", "can be saved and loaded without pickle", "'os.system'"),
]
SLOW_MODEL_FAULTS = [
    (
        "keeps-state-outside",
        "loaded or fitted again in a fresh process, scores are the same",
        "KeyError",
    ),
    (
        "trains-on-validation",
        "learns nothing from random labels",
        "is validation used for training?",
    ),
]
METHOD_FAULTS = [
    ("returns-none", "returns an estimator of the same type", "the method returns a NoneType"),
    ("writes-data", "returns an estimator of the same type", "read-only"),
    ("needs-unknown-feature", "returns an estimator of the same type", "no installed model offers"),
    (
        "uses-hidden-labels",
        "returns an estimator of the same type, without using labels",
        "which needs labels",
    ),
    (
        "wraps",
        "returns an estimator of the same type",
        "returns a Wrapped; a NearestNeighbour is expected",
    ),
    (
        "unseeded-method",
        "the same seed gives a bit-identical result",
        "two runs of the method with one seed",
    ),
    ("paper-fails", "runs with each preset", "learning rate is above 1 (faulty.py:"),
    ("fits-validation", "learns nothing from random labels", "is validation used for training?"),
]
METRIC_FAULTS = [
    (
        "returns-array",
        "returns a finite float or Measured, or UndefinedMetricError with a reason",
        "ndarray",
    ),
    (
        "says-nothing",
        "returns a finite float or Measured, or UndefinedMetricError with a reason",
        "without a reason",
    ),
    ("blind-to-ties", "passes the audit: order of rows, ties, chance level", "order of rows"),
    ("best-accuracy", "passes the audit: order of rows, ties, chance level", "labels it scores"),
    (
        "fails-for-one-class",
        "one class alone gives a finite value, or UndefinedMetricError with a reason",
        "class 1 only: the metric raised ZeroDivisionError",
    ),
    (
        "ignores-weights",
        "an example of weight 2 counts like two examples",
        "with repeated examples",
    ),
    ("wrong-direction", "better scores do not give a worse value", "higher_is_better is True"),
]
RUN = """
[[run]]
datasets = ["sound-data"]
models = ["sound-model"]
methods = ["sound-method"]
"""
SUITES = {
    "misspelt": (
        "[[run]]\ndataset = []",
        "the file can be read as a suite",
        "Did you mean 'datasets'?",
    ),
    "strange": (
        RUN.replace("sound-model", "sound-modell"),
        "all names are installed, and at least one cell can run",
        "Did you mean 'sound-model'?",
    ),
    "boastful": (
        f'{RUN}[[published]]\ncell = "higgs/gbdt/scratch"\nmetrics = {{ auc = 0.9 }}\nsource = ""',
        "every published value belongs to a cell",
        "'higgs/gbdt/scratch' belongs to no cell",
    ),
}


@pytest.fixture
def faulty(monkeypatch):
    """Install the plugin ``faulty``, and nothing else."""
    monkeypatch.syspath_prepend(PLUGINS)
    plugin = plugins.load(EntryPoint("faults", "faulty", "hepbench"))
    monkeypatch.setattr(conformance_checks, "installed", lambda: Registry([plugin]))
    return plugin


def failed_claims(name, kind, *, quick=False):
    """Return {claim: error} of the failed claims, in order."""
    results = [r for r in testing.check(name, quick=quick) if r.subject == f"{kind} {name}"]
    assert results
    return {result.claim: result.error for result in results if result.error}


def assert_caught(found, claim, words):
    assert next(iter(found), None) == claim, found
    assert words in found[claim], found[claim]
    assert "\n" not in found[claim]


@pytest.mark.parametrize(("name", "claim", "words"), DATA_FAULTS)
def test_a_faulty_dataset_breaks_the_claim(faulty, name, claim, words):
    """The claim about this fault fails first, and its error is one line."""
    assert_caught(failed_claims(name, "dataset"), claim, words)


@pytest.mark.parametrize(("name", "claim", "words"), MODEL_FAULTS)
def test_a_faulty_model_breaks_the_claim(faulty, name, claim, words):
    """Quick claims are enough to find these faults."""
    assert_caught(failed_claims(name, "model", quick=True), claim, words)


@pytest.mark.parametrize(("name", "claim", "words"), SLOW_MODEL_FAULTS)
def test_a_fault_that_only_slow_claims_find(faulty, name, claim, words):
    """All quick claims hold for these models."""
    assert not failed_claims(name, "model", quick=True)
    assert_caught(failed_claims(name, "model"), claim, words)


@pytest.mark.parametrize(("name", "claim", "words"), METHOD_FAULTS)
def test_a_faulty_method_breaks_the_claim(faulty, name, claim, words):
    """The method is tested on an estimator that memorises its training examples."""
    assert_caught(failed_claims(name, "method"), claim, words)


@pytest.mark.parametrize(("name", "claim", "words"), METRIC_FAULTS)
def test_a_faulty_metric_breaks_the_claim(faulty, name, claim, words):
    """The metric is tested on made-up predictions."""
    assert_caught(failed_claims(name, "metric"), claim, words)


def test_a_metric_that_is_undefined_on_made_up_predictions_is_not_called_sound(faulty):
    """Each check that needs a value is skipped, with the reason that the metric gives."""
    results = [r for r in testing.check("barrel-accuracy") if r.subject.startswith("metric")]
    assert not [result.error for result in results if result.error]
    skipped = [result for result in results if result.skipped]
    assert len(skipped) == 4
    assert all("needs the spectator 'eta'" in result.skipped for result in skipped)


@pytest.mark.parametrize("name", SUITES)
def test_a_faulty_suite_breaks_the_claim(faulty, monkeypatch, tmp_path, name):
    """The faults: an unknown name, a published value without a cell, an unreadable file."""
    text, claim, words = SUITES[name]
    (tmp_path / "shipped.py").write_text("")
    (tmp_path / "suite.toml").write_text(f'name = "{name}"\n{text}')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "shipped", raising=False)
    shipped = Plugin(
        "s", "shipped", "shipped", "1", specs=(Suite(name=name, path="shipped:suite.toml"),)
    )
    monkeypatch.setattr(conformance_checks, "installed", lambda: Registry([faulty, shipped]))
    assert_caught(failed_claims(name, "suite"), claim, words)


@pytest.mark.parametrize(
    "name", ["sound-data", "sound-model", "refuses-three", "sound-method", "sound-second"]
)
def test_a_sound_plugin_passes(faulty, name):
    """A model may refuse three classes with a reason; a method may follow another method."""
    assert all(result.error is None for result in testing.check(name))


def test_a_hook_module_that_imports_numpy_is_caught(faulty):
    """Listing plugins must be fast; this module also returns new specs at each call."""
    checks = {c.claim.text: c for c in testing.checks("faults") if c.subject.startswith("plugin")}
    checks["the plugin loads"]()
    with pytest.raises(PluginError, match="importing faulty imports numpy; import it where"):
        checks["the module with the hooks imports no heavy library"]()
    with pytest.raises(PluginError, match=r"hepbench_suites\(\) returns other specs"):
        checks["hooks return the same specs each time"]()


def test_a_plugin_that_cannot_be_loaded_fails_in_one_claim(faulty, monkeypatch):
    """The claims that depend on it are left out, and the error says how many."""
    broken_one = Plugin("b", "b", "broken", "1", error="cannot be imported: ImportError: no b")
    monkeypatch.setattr(conformance_checks, "installed", lambda: Registry([faulty, broken_one]))
    (result,) = testing.check("broken")
    assert result.subject == "plugin broken:b"
    assert result.error.startswith(
        "cannot be imported: ImportError: no b; 3 other claims could not be tested because of this"
    )


def test_two_plugins_with_the_same_names_are_reported(faulty, monkeypatch):
    """The error names both distributions."""
    other = Plugin("o", "faulty", "other", "1", specs=faulty.specs[:1])
    monkeypatch.setattr(conformance_checks, "installed", lambda: Registry([faulty, other]))
    checks = {str(c): c for c in testing.checks("other")}
    with pytest.raises(UsageError, match="comes from unknown distribution  and other 1"):
        checks["plugin other:o: no other plugin uses the same names"]()


def test_checks_are_chosen_by_distribution_entry_point_or_name(faulty, monkeypatch):
    """Case and dashes of a distribution's name do not matter; no check runs."""
    plugin = Plugin("p", "faulty", "My-Plugin", "1", specs=faulty.specs)
    monkeypatch.setattr(conformance_checks, "installed", lambda: Registry([plugin]))
    everything = list(map(str, testing.checks("my_plugin")))
    assert everything == list(map(str, testing.checks("p")))
    some = [str(check) for check in testing.checks("sound-model")]
    assert some == [text for text in everything if text.startswith("model sound-model: ")]
    # a model and a metric have this name
    assert {check.subject for check in testing.checks("says-nothing")} == {
        "model says-nothing",
        "metric says-nothing",
    }


def test_quick_leaves_out_slow_checks(faulty):
    """Only slow checks are left out."""
    slow = {str(c) for c in testing.checks("sound-model") if c.claim.slow}
    quick = {str(c) for c in testing.checks("sound-model", quick=True)}
    assert slow
    assert {str(c) for c in testing.checks("sound-model")} == quick | slow


def test_an_unknown_name_is_a_usage_error(faulty):
    """The error lists the known names and suggests the nearest."""
    with pytest.raises(UsageError, match=r"named 'sound-dat'\. Did you mean 'sound-data'"):
        testing.checks("sound-dat")


def test_a_failed_check_raises_its_reason(faulty):
    """A plugin author's pytest shows the reason."""
    checks = {str(check): check for check in testing.checks("ids-repeated")}
    checks["dataset ids-repeated: weights are finite, and their sums positive"]()
    with pytest.raises(PluginError, match="ids belong to several examples"):
        checks["dataset ids-repeated: ids are int64 and unique"]()


def test_check_prints_failures_and_exits_1(bench):
    """Each claim is one line, with one more for a reason; an unknown name exits 2."""
    bench.plugin(PLUGINS / "faulty.py")
    done = bench("check", "ids-repeated")
    assert done.code == 1
    assert "FAIL  dataset ids-repeated: ids are int64 and unique\n      1 ids" in done.out
    assert "ok    dataset ids-repeated: weights are finite, and their sums positive" in done.out
    sound = bench("check", "sound-method", "--quick")
    assert sound.code == 0, sound.out
    assert "5 checks of sound-method, 0 failed" in sound.out
    unknown = bench("check", "sound-modell")
    assert unknown.code == 2
    assert "Did you mean 'sound-model'?" in unknown.err


def test_a_skipped_check_is_printed_with_its_reason(monkeypatch, capsys):
    """Skipped checks are counted, but not as failures."""
    results = [
        testing.Result("model net", "it scores the same", skipped="no second device is here"),
        testing.Result("model net", "it can be built"),
    ]
    monkeypatch.setattr(testing, "check", lambda name, quick: results)
    assert verbs.check("net", quick=False) == 0
    assert capsys.readouterr().out == (
        "skip  model net: it scores the same\n      no second device is here\n"
        "ok    model net: it can be built\n2 checks of net, 0 failed, 1 skipped\n"
    )


def test_a_fresh_process_shares_no_state(capfd):
    """The hash seed and the process differ at each call; printed text is not taken for a result."""
    hashes = {run_in_fresh_process("builtins:hash", "a word") for _ in range(2)}
    assert len(hashes) == 1
    assert hash("a word") not in hashes
    assert run_in_fresh_process("builtins:print", "words") is None
    assert run_in_fresh_process("os:getpid") != run_in_fresh_process("os:getpid")
    assert not capfd.readouterr().out


@pytest.mark.parametrize(
    ("target", "argument", "words"),
    [
        ("os:_exit", 3, "in a fresh process: exit code 3"),
        ("sys:exit", 3, "in a fresh process: SystemExit: 3"),
        ("json:loads", "{", "in a fresh process: JSONDecodeError: Expecting property name"),
    ],
)
def test_an_error_in_a_fresh_process_is_one_line(target, argument, words):
    """This holds however the process ends, and the next call works."""
    with pytest.raises(PluginError, match=words) as caught:
        run_in_fresh_process(target, argument)
    assert "\n" not in str(caught.value)
    assert run_in_fresh_process("builtins:abs", -1) == 1


def test_a_method_is_tested_on_a_model_with_all_it_needs():
    """The default model is preferred to installed ones; without any, the error is one line."""
    installed = plugins.installed()

    def chosen(*needs):
        method = Method(name="m", summary="m", run="m:m", needs=frozenset(needs))
        entry = Entry(method, Plugin("m", "m", "m", "1"))
        return trials.model_for_method(NEAREST_NEIGHBOUR, "estimate", entry, installed)

    assert chosen() is NEAREST_NEIGHBOUR
    with pytest.raises(
        PluginError, match="no installed model offers telepathy, so the method cannot be tested"
    ):
        chosen("telepathy")


def test_importing_hepbench_testing_imports_no_fitting_library():
    """A plugin author's tests are collected without scikit-learn."""
    code = (
        "import sys, hepbench.testing;"
        "print([m for m in ('sklearn', 'scipy', 'torch', 'skops') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("check", testing.checks("hepbench"), ids=str)
def test_the_core_plugin_conforms(check):
    """The metrics of the core hold all claims."""
    check()


@pytest.mark.slow
@pytest.mark.parametrize("check", testing.checks("hepbench-plugins"), ids=str)
def test_the_bundled_plugins_conform(check):
    """All their datasets, models, methods and suites hold all claims."""
    check()
