"""The conformance kit on networks: each planted fault is caught by the claim that it breaks."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
import torch

from hepbench import Model, testing
from hepbench.conformance import checks as conformance_checks
from hepbench.conformance import network_trials, networks, trained_networks, trials
from hepbench.registry import plugins
from hepbench.registry.plugins import Entry, Plugin, Registry

BUILDS = "it can be built, with each preset too, and encodes"
OFFERS = "it has all that it offers"
CODES = "codes are (examples, D), float32 and finite"
SCORES = "scores of two classes and of three are finite and add to 1"
INPUTS = "it leaves its inputs as they were"
TERMS = "its own terms are finite, one for each example"
TERM_WEIGHTS = "weights of its terms are finite and at least 0"
RECONSTRUCTS = "what it reconstructs is shaped like its inputs"
SEED = "the same seed builds the same, bit by bit, another seed another"
TRAINING = "the same seed trains it to the same, bit by bit"
REACHED = "every parameter is trained by one of its losses"
EVAL = "in eval mode nothing is random, and nothing changes"
SHUFFLED = "shuffled examples have shuffled scores"
ALONE = "alone or in other company an example scores the same"
TERMS_ALONE = "in eval mode its own terms do not cross the batch"
PARTICLES = "permuted particles score the same"
PADDING = "more padding changes no score"
DEVICE = "on another device it scores the same"
STORED = "saved and loaded it scores the same, bit by bit"
TRIMMED = "without what scoring does not use it scores the same"
COUNTED = "both counters of its operations agree, or name what they miss"
EXPORTED = "its ONNX graph scores the same, at another batch size"
ELSEWHERE = "in another process, loaded or trained anew, it scores the same"
LIGHT = "importing it imports no reader or plotter, and leaves torch as it was"

MODEL_FAULTS = [
    ("builds-nothing", BUILDS, "NoneType; an nn.Module with encode(inputs) is expected"),
    ("paper-cannot-be-built", BUILDS, "preset 'paper': a width of 12 is not allowed"),
    ("codes-of-one-axis", BUILDS, "(2,) for 2 examples; (2, D) is expected"),
    ("halves-too-often", BUILDS, "Kernel size can't be greater"),
    ("boasts-of-pretraining", OFFERS, "offers 'pretrain'; Image has no pretraining_terms()"),
    ("codes-double", CODES, "float64; float32 is expected"),
    ("codes-not-finite", CODES, "not finite"),
    ("always-two-classes", SCORES, "(40, 2); (examples, classes) = (40, 3) is expected"),
    ("writes-inputs", INPUTS, "writes into 'table'"),
    ("adds-inputs", INPUTS, "adds or removes 'squares'"),
    ("term-of-batch", TERMS, "() for 32 examples; (32,) is expected"),
    ("term-not-finite", TERMS, "'reconstruction' holds a value that is not finite"),
    ("weighs-strangers", TERM_WEIGHTS, "it weighs 'kl'; its terms are reconstruction"),
    ("weighs-negatively", TERM_WEIGHTS, "at progress 0 it weighs reconstruction: -0.5"),
    ("weighs-nothing-at-last", TERM_WEIGHTS, "every term weighs nothing"),
    ("weighs-by-counting", TERM_WEIGHTS, "otherwise when it is asked again"),
    ("reconstructs-too-much", RECONSTRUCTS, "(32, 10); (32, 5) is expected"),
    ("reconstructs-strangers", RECONSTRUCTS, "'tables'; its inputs are table"),
    ("seeds-itself", SEED, "two seeds are the same"),
    ("draws-by-the-clock", SEED, "from one seed differ in encoder.decoder.bias"),
    ("draws-in-training", TRAINING, "two trainings from one seed differ"),
    ("parameter-in-vain", REACHED, "own terms reaches encoder.spare.weight, encoder.spare.bias"),
    ("places-in-vain", REACHED, "no gradient of the labels reaches encoder.places"),
    ("stays-in-training", EVAL, "random"),
    ("term-random", EVAL, "term 'reconstruction' is random"),
    ("remembers-calls", EVAL, "what was scored before plays a part"),
    ("counts-calls", EVAL, "it changes encoder.seen"),
    ("counts-rows", SHUFFLED, "scores change by up to"),
    ("centres-batch", ALONE, "alone, scores change by up to"),
    ("term-across-batch", TERMS_ALONE, "depends on which others are in its batch"),
    ("knows-places", PARTICLES, "particles in another order, scores change"),
    ("counts-padding", PADDING, "five more empty places, scores change"),
    ("tensor-left-behind", DEVICE, "stays on the processor"),
    ("keeps-an-attribute", STORED, "must be parameters and buffers"),
    ("borrows-from-decoder", TRIMMED, "no attribute 'decoder' (faulty_networks.py:"),
    ("skips-when-traced", COUNTED, "fvcore counts 56, torch's counter 120"),
    ("cut-when-traced", EXPORTED, "differ from torch's by"),
    ("batch-baked-in", EXPORTED, "traced with 2 examples, fails with 7"),
]

TURNS = "it turns a network into a classifier"

METHOD_FAULTS = [
    ("no-head", TURNS, "a network without a head"),
    ("no-network", TURNS, "returned Tiny; a Network is expected"),
    ("needs-a-moon", TURNS, "no installed model offers encode, moon"),
    ("labels-though-blind", f"{TURNS}, without labels", "classification needs labels"),
    ("writes-batches", "the batches that it is lent stay as they were", "'table' of the train"),
    ("draws-for-itself", "the same seed gives the same network, bit by bit", "head.weight"),
    ("keeps-elsewhere", "its network is stored and put back without pickle", "parameters and"),
    ("nudges-encoder", "encoder comes out bit-identical", "encoder.blocks.0.weight"),
    ("frees-pruned", "weights pruned before stay zero, or it says why not", "are trained again"),
    (
        "swaps-columns",
        "the column of a class is its own in the network's scores: no AUC far below .5",
        "are columns swapped?",
    ),
    ("refuses-paper", "it trains a network with each preset", "preset 'paper': a rate above .1"),
]


@pytest.fixture
def faulty(monkeypatch):
    """Install the plugin ``faulty_networks``, and nothing else."""
    plugin = plugins.load(EntryPoint("faults", "faulty_networks", "hepbench"))
    assert not plugin.error
    monkeypatch.setattr(conformance_checks, "installed", lambda: Registry([plugin]))
    return plugin


def first_broken(name, *, quick=True):
    """Return the first claim that fails, and why; the others are not tried."""
    for check in testing.checks(name, quick=quick):
        result = testing.attempt(check)
        if result.error:
            return result.claim, result.error
    return None, ""


@pytest.mark.parametrize(("name", "claim", "words"), MODEL_FAULTS + METHOD_FAULTS)
def test_a_fault_breaks_the_claim_about_it(faulty, name, claim, words):
    """It is the first that fails, and says in one line what is wrong."""
    found, error = first_broken(name)
    assert found == claim, error
    assert words in error
    assert "\n" not in error


def test_what_another_process_does_not_see_is_caught(faulty):
    """Nothing that is tried in this process finds it."""
    assert first_broken("keeps-it-elsewhere") == (None, "")
    claim, error = first_broken("keeps-it-elsewhere", quick=False)
    assert claim == ELSEWHERE
    assert error.startswith("loaded in another process")


@pytest.mark.parametrize(
    "name",
    [
        *("sound-net", "sound-cloud", "sound-image", "strided-image"),
        *("sound-training", "sound-pretraining", "sound-probe", "sound-follower"),
        "refuses-masks",
    ],
)
def test_what_is_sound_passes(faulty, name):
    """Whatever it encodes, at whatever size, and whatever it follows."""
    results = testing.check(name)
    assert not [result for result in results if result.error]
    skipped = [result.claim for result in results if result.skipped]
    assert skipped == ([DEVICE] if DEVICE in {r.claim for r in results} and alone() else [])


def alone():
    return not torch.cuda.is_available() and not torch.backends.mps.is_available()


@pytest.mark.parametrize(
    ("name", "shape"), [("sound-image", (2, 16, 16)), ("strided-image", (1, 64, 64))]
)
def test_shapes_are_the_kits_unless_the_model_cannot_take_them(faulty, name, shape):
    """A large dataset is only made up where nothing smaller will do."""
    registry = Registry([faulty])
    entry = registry.entry("model", name)
    tried = network_trials.ModelUnderTest(
        entry.spec, lambda: trials.example_shapes(entry, registry)
    )
    assert tried.trial.shapes == {"image": shape}


def test_a_check_that_cannot_be_tried_is_skipped_by_pytest(bench):
    """With its word: unittest's exception is pytest's too."""
    bench.write(
        "test_skip.py",
        "from hepbench.conformance.claims import skip\n\n"
        "def test_claim():\n    skip('no second device')\n",
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rs",
        "-p",
        "no:cacheprovider",
        "test_skip.py",
    ]
    done = subprocess.run(command, cwd=bench.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 skipped" in done.stdout
    assert "no second device" in done.stdout


def test_a_model_whose_import_plots_and_seeds_is_caught(faulty, monkeypatch, tmp_path):
    """In a process of its own, so that this one stays clean."""
    (tmp_path / "uproot.py").write_text("")
    (tmp_path / "hasty.py").write_text(
        "import torch, uproot\ntorch.manual_seed(1)\nfrom faulty_networks import Net"
    )
    monkeypatch.syspath_prepend(tmp_path)
    spec = Model(name="hasty", summary="hasty", inputs=("table",), build="hasty:Net")
    plugin = Plugin("h", "hasty", "hasty", "1", specs=(spec,))
    claims = {c.text: c for c in networks.network_claims(Entry(spec, plugin), Registry([plugin]))}
    with pytest.raises(testing.HepbenchError, match="importing hasty imports uproot"):
        claims[LIGHT].run()
    (tmp_path / "uproot.py").unlink()
    (tmp_path / "hasty.py").write_text("import torch\ntorch.manual_seed(1)")
    with pytest.raises(testing.HepbenchError, match="importing hasty changes torch's generator"):
        claims[LIGHT].run()


def test_trying_a_network_leaves_torch_as_it_was(faulty):
    """Threads, modes and generators; a plugin author's other tests run in the same process."""
    before = {name: read() for name, read in networks.TORCH_SETTINGS.items()}
    assert first_broken("sound-net") == (None, "")
    assert first_broken("sound-training") == (None, "")
    assert {name: read() for name, read in networks.TORCH_SETTINGS.items()} == before


def test_without_the_extra_the_export_is_skipped(faulty, monkeypatch):
    """And the word says what to install."""
    monkeypatch.setattr(
        trained_networks.export, "missing", lambda: "onnxruntime not installed: pip ..."
    )
    checks = {check.claim.text: check for check in testing.checks("sound-net")}
    assert testing.attempt(checks[EXPORTED]).skipped == "onnxruntime not installed: pip ..."
