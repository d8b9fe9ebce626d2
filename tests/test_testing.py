"""The conformance kit: each planted fault is caught by the claim that it breaks."""

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
    ("no-source", "it has a sample or a reader", "neither"),
    ("no-function", "every function that it names exists", "no 'simple'"),
    ("no-summary", "it has a summary, and parameters of JSON's types", "one line"),
    ("params-tuple", "it has a summary, and parameters of JSON's types", "JSON has no tuple"),
    ("read-in-vain", "missing files are an error of one line", "no labelled file"),
    ("missing-in-python", "missing files are an error of one line", "FileNotFoundError"),
    ("missing-at-length", "missing files are an error of one line", "2 lines"),
    ("damaged-unnoticed", "a damaged jets.csv is an error of one line", "read without an error"),
    ("no-role", "its sample can be read", "(role, Examples) is expected"),
    ("unlabelled-only", "its sample can be read", "no labelled example"),
    ("miscounted", "its sample can be read", "sample_examples says 7"),
    ("units-too-few", "view 'table' keeps rows, order and shapes", "2 names and 1 units"),
    ("too-wide", "inputs are as declared: names, shapes, finite numbers", "(3,); (2,) is"),
    ("not-finite", "inputs are as declared: names, shapes, finite numbers", "not finite"),
    ("names-too-few", "inputs are as declared: names, shapes, finite numbers", "1 different"),
    ("ids-repeated", "ids are int64, each of one example", "such as [8]"),
    ("ids-float", "ids are int64, each of one example", "float64"),
    ("labels-of-three", "labels are int64 and in range; every class is there", "0 to 2; 0 to 1"),
    ("label-missing", "labels are int64 and in range; every class is there", "background"),
    ("weight-negative", "weights are positive and finite", "-1.0 to 1.0"),
    ("label-among-inputs", "no input is the label", "column 1 of 'table'"),
    ("official-rows", "the official test set is (N,) bool, or None", "int64 (100,)"),
    ("view-drops", "view 'table' keeps rows, order and shapes", "from 400"),
    ("view-sorts", "view 'table' keeps rows, order and shapes", "not those rows"),
    ("view-centres", "view 'table' keeps rows, order and shapes", "not those rows"),
    ("view-widens", "view 'table' keeps rows, order and shapes", "(3,); (2,) is declared"),
    ("view-renames", "view 'table' keeps rows, order and shapes", "makes tables and no 'table'"),
    ("view-writes", "view 'table' keeps rows, order and shapes", "read-only"),
    ("augmented-twice", "augmentation 'doubles' keeps rows and shapes", "(128, 2); (64, 2)"),
    ("augmented-as-numpy", "augmentation 'as-numpy' keeps rows and shapes", "is no tensor"),
    ("ids-of-the-clock", "another process reads the same", "labelled 'ids' differ"),
    ("label-rare", "it is prepared as in a run; each part has every class", "'signal'"),
]
MODEL_FAULTS = [
    ("imports-nothing", "every function that it names exists", "no_such_module"),
    ("presets-in-vain", "it has a summary, and parameters of JSON's types", "JSON has no tuple"),
    ("builds-nothing", "it can be built, with each preset too", "NoneType, not an Estimator"),
    ("boasts", "it has all that it offers", "'temperature'"),
    ("writes-inputs", "it fits two classes, and three or says why not", "read-only"),
    ("not-for-three", "it fits two classes, and three or says why not", "IndexError"),
    ("not-normalised", "scores are (examples, classes) and add to 1", "add to 1"),
    ("columns-swapped", "the column of a class is its own: no AUC far below .5", "swapped?"),
    ("noisy", "shuffled examples have shuffled scores", "scores change by up to"),
    ("counts-rows", "shuffled examples have shuffled scores", "scores change by up to"),
    ("centres-batch", "some examples score as among all", "scores change by up to"),
    ("first-columns", "inputs of another width are refused", "without an error"),
    ("says-nothing", "what it says of itself can be recorded", "best_epoch is None"),
    ("unseeded", "the same seed gives the same scores, bit by bit", "score differently"),
    ("not-storable", "it is stored and put back without pickle", "lambda"),
    ("trusts-anything", "it is stored and put back without pickle", "'os.system'"),
]
SLOW_MODEL_FAULTS = [
    (
        "keeps-state-elsewhere",
        "in another process, put back or fitted anew, it scores the same",
        "KeyError",
    ),
    ("trains-on-validation", "it learns nothing from random labels", "is it trained on them?"),
]
METHOD_FAULTS = [
    ("forgets", "it turns an estimator into one", "returns NoneType"),
    ("writes-data", "it turns an estimator into one", "read-only"),
    ("needs-the-moon", "it turns an estimator into one", "no installed model offers"),
    ("labels-in-secret", "it turns an estimator into one, without labels", "have no labels"),
    ("wraps", "it turns an estimator into one", "returns Wrapped; Neighbours is expected"),
    ("draws", "the same seed gives the same result, bit by bit", "two runs with one seed"),
    ("runs-paper", "it runs with each preset", "rate is above 1 (faulty.py:"),
    ("peeks", "it learns nothing from random labels", "is it trained on them?"),
]
METRIC_FAULTS = [
    ("returns-array", "it returns a finite float or Measured, or says why not", "ndarray"),
    ("says-nothing", "it returns a finite float or Measured, or says why not", "says nothing"),
    ("blind-to-ties", "nothing about it is odd: order, ties, chance", "order of rows"),
    ("best-accuracy", "nothing about it is odd: order, ties, chance", "labels it scores"),
    (
        "of-one-class",
        "of a single class it has a finite value, or says why not",
        "class 1 alone: ZeroDivisionError",
    ),
    ("ignores-weights", "an example of weight 2 counts like two", "with so many copies"),
    ("squares", "better scores do not make it worse", "higher_is_better is True"),
]
RUN = """
[[run]]
datasets = ["sound-data"]
models = ["sound-model"]
methods = ["sound-method"]
"""
SUITES = {
    "misspelt": ("[[run]]\ndataset = []", "its file is a suite", "Did you mean 'datasets'?"),
    "strange": (
        RUN.replace("sound-model", "sound-modell"),
        "all that it names is installed, and something fits",
        "Did you mean 'sound-model'?",
    ),
    "boastful": (
        f'{RUN}[[published]]\ncell = "higgs/gbdt/scratch"\nmetrics = {{ auc = 0.9 }}\nsource = ""',
        "each published figure stands beside a cell",
        "'higgs/gbdt/scratch' is no cell",
    ),
}


@pytest.fixture
def faulty(monkeypatch):
    """Install the plugin ``faulty``, and nothing else."""
    monkeypatch.syspath_prepend(PLUGINS)
    plugin = plugins.load(EntryPoint("faults", "faulty", "hepbench"))
    monkeypatch.setattr(conformance_checks, "installed", lambda: Registry([plugin]))
    return plugin


def broken(name, kind, *, quick=False):
    """Return {claim: error} of what fails, in order."""
    results = [r for r in testing.check(name, quick=quick) if r.subject == f"{kind} {name}"]
    assert results
    return {result.claim: result.error for result in results if result.error}


def assert_caught(found, claim, words):
    assert next(iter(found), None) == claim, found
    assert words in found[claim], found[claim]
    assert "\n" not in found[claim]


@pytest.mark.parametrize(("name", "claim", "words"), DATA_FAULTS)
def test_a_faulty_dataset_breaks_the_claim(faulty, name, claim, words):
    """The first that fails is the one about this fault, and says in one line what is wrong."""
    assert_caught(broken(name, "dataset"), claim, words)


@pytest.mark.parametrize(("name", "claim", "words"), MODEL_FAULTS)
def test_a_faulty_model_breaks_the_claim(faulty, name, claim, words):
    """Quickly: what takes seconds is not needed."""
    assert_caught(broken(name, "model", quick=True), claim, words)


@pytest.mark.parametrize(("name", "claim", "words"), SLOW_MODEL_FAULTS)
def test_a_model_that_only_seems_sound_breaks_the_claim(faulty, name, claim, words):
    """Nothing that is quick finds these."""
    assert not broken(name, "model", quick=True)
    assert_caught(broken(name, "model"), claim, words)


@pytest.mark.parametrize(("name", "claim", "words"), METHOD_FAULTS)
def test_a_faulty_method_breaks_the_claim(faulty, name, claim, words):
    """It is tried on an estimator that remembers whatever it is trained on."""
    assert_caught(broken(name, "method"), claim, words)


@pytest.mark.parametrize(("name", "claim", "words"), METRIC_FAULTS)
def test_a_faulty_metric_breaks_the_claim(faulty, name, claim, words):
    """On made-up predictions."""
    assert_caught(broken(name, "metric"), claim, words)


@pytest.mark.parametrize("name", SUITES)
def test_a_faulty_suite_breaks_the_claim(faulty, monkeypatch, tmp_path, name):
    """A name nobody has, a figure beside no cell, a file that is no suite."""
    text, claim, words = SUITES[name]
    (tmp_path / "shipped.py").write_text("")
    (tmp_path / "suite.toml").write_text(f'name = "{name}"\n{text}')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "shipped", raising=False)
    shipped = Plugin(
        "s", "shipped", "shipped", "1", specs=(Suite(name=name, path="shipped:suite.toml"),)
    )
    monkeypatch.setattr(conformance_checks, "installed", lambda: Registry([faulty, shipped]))
    assert_caught(broken(name, "suite"), claim, words)


@pytest.mark.parametrize(
    "name", ["sound-data", "sound-model", "refuses-three", "sound-method", "sound-second"]
)
def test_what_is_sound_passes(faulty, name):
    """Also what refuses three classes with a reason, and what follows another method."""
    assert all(result.error is None for result in testing.check(name))


def test_a_hook_module_that_imports_numpy_is_caught(faulty):
    """Listing plugins must not wait for it; the same module returns new specs at each call."""
    checks = {c.claim.text: c for c in testing.checks("faults") if c.subject.startswith("plugin")}
    checks["it is loaded"]()
    with pytest.raises(PluginError, match="importing faulty imports numpy; import it where"):
        checks["listing what it brings imports nothing heavy"]()
    with pytest.raises(PluginError, match="hepbench_suites returns other specs"):
        checks["its hooks return the same specs each time"]()


def test_a_plugin_that_cannot_be_loaded_fails_in_one_claim(faulty, monkeypatch):
    """What stands on it is left out, and counted."""
    broken_one = Plugin("b", "b", "broken", "1", error="cannot be imported: ImportError: no b")
    monkeypatch.setattr(conformance_checks, "installed", lambda: Registry([faulty, broken_one]))
    (result,) = testing.check("broken")
    assert result.subject == "plugin broken:b"
    assert result.error.startswith("cannot be imported: ImportError: no b; 3 other claims stand")


def test_two_plugins_with_one_name_are_named(faulty, monkeypatch):
    """Both distributions are."""
    other = Plugin("o", "faulty", "other", "1", specs=faulty.specs[:1])
    monkeypatch.setattr(conformance_checks, "installed", lambda: Registry([faulty, other]))
    checks = {str(c): c for c in testing.checks("other")}
    with pytest.raises(UsageError, match="comes from unknown distribution  and other 1"):
        checks["plugin other:o: nobody else has its names"]()


def test_checks_are_chosen_by_distribution_entry_point_or_name(faulty, monkeypatch):
    """Case and dashes of a distribution's name do not matter; nothing is run yet."""
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


def test_quick_leaves_out_what_is_slow(faulty):
    """And nothing else."""
    slow = {str(c) for c in testing.checks("sound-model") if c.claim.slow}
    quick = {str(c) for c in testing.checks("sound-model", quick=True)}
    assert slow
    assert {str(c) for c in testing.checks("sound-model")} == quick | slow


def test_an_unknown_name_is_a_usage_error(faulty):
    """What is known is listed, and what is near suggested."""
    with pytest.raises(UsageError, match=r"named 'sound-dat'\. Did you mean 'sound-data'"):
        testing.checks("sound-dat")


def test_a_check_in_pytest_raises_what_speaks_against_it(faulty):
    """So that the documented one-liner fails with the reason."""
    checks = {str(check): check for check in testing.checks("ids-repeated")}
    checks["dataset ids-repeated: weights are positive and finite"]()
    with pytest.raises(PluginError, match="ids are of several examples"):
        checks["dataset ids-repeated: ids are int64, each of one example"]()


def test_check_prints_what_fails_and_exits_1(bench):
    """One line a claim, one more for a reason; an unknown name exits 2."""
    bench.plugin(PLUGINS / "faulty.py")
    done = bench("check", "ids-repeated")
    assert done.code == 1
    assert "FAIL  dataset ids-repeated: ids are int64, each of one example\n      1 ids" in done.out
    assert "ok    dataset ids-repeated: weights are positive and finite" in done.out
    sound = bench("check", "sound-method", "--quick")
    assert sound.code == 0, sound.out
    assert "5 checks of sound-method, 0 failed" in sound.out
    unknown = bench("check", "sound-modell")
    assert unknown.code == 2
    assert "Did you mean 'sound-model'?" in unknown.err


def test_what_is_skipped_is_printed_with_its_word(monkeypatch, capsys):
    """And counted, as no failure."""
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


def test_what_is_called_afresh_shares_nothing(capfd):
    """Not the hash seed, not what an earlier call left; what it prints is no answer."""
    hashes = {run_in_fresh_process("builtins:hash", "a word") for _ in range(2)}
    assert len(hashes) == 1
    assert hash("a word") not in hashes
    assert run_in_fresh_process("builtins:print", "words") is None
    assert run_in_fresh_process("os:getpid") != run_in_fresh_process("os:getpid")
    assert not capfd.readouterr().out


@pytest.mark.parametrize(
    ("target", "argument", "words"),
    [
        ("os:_exit", 3, "in a new process: exit code 3"),
        ("sys:exit", 3, "in a new process: SystemExit: 3"),
        ("json:loads", "{", "in a new process: JSONDecodeError: Expecting property name"),
    ],
)
def test_what_fails_afresh_is_told_in_one_line(target, argument, words):
    """However it ends, and the next call is answered."""
    with pytest.raises(PluginError, match=words) as caught:
        run_in_fresh_process(target, argument)
    assert "\n" not in str(caught.value)
    assert run_in_fresh_process("builtins:abs", -1) == 1


def test_a_method_is_tried_on_a_model_that_offers_what_it_needs():
    """The kit's own where that will do, else an installed one; none is said in one line."""
    installed = plugins.installed()

    def chosen(*needs):
        method = Method(name="m", summary="m", run="m:m", needs=frozenset(needs))
        entry = Entry(method, Plugin("m", "m", "m", "1"))
        return trials.model_for_method(NEAREST_NEIGHBOUR, "estimate", entry, installed)

    assert chosen() is NEAREST_NEIGHBOUR
    with pytest.raises(
        PluginError, match="no installed model offers telepathy; it cannot be tried"
    ):
        chosen("telepathy")


def test_importing_the_kit_imports_nothing_that_only_fits_need():
    """A plugin author's tests are collected without scikit-learn."""
    code = (
        "import sys, hepbench.testing;"
        "print([m for m in ('sklearn', 'scipy', 'torch', 'skops') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("check", testing.checks("hepbench"), ids=str)
def test_the_cores_own_plugin_conforms(check):
    """Its metrics keep what they ask of others."""
    check()


@pytest.mark.slow
@pytest.mark.parametrize("check", testing.checks("hepbench-plugins"), ids=str)
def test_the_plugins_that_come_with_hepbench_conform(check):
    """Whatever is there: datasets, models, methods and suites."""
    check()
