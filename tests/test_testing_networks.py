"""Conformance tests of networks: each planted fault fails the claim that it breaks."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
import torch

from hepbench import HepbenchError, Model, testing
from hepbench.conformance import checks as conformance_checks
from hepbench.conformance import network_trials, networks, trained_networks, trials
from hepbench.registry import plugins
from hepbench.registry.plugins import Entry, Plugin, Registry

BUILDS = "can be built and encodes, also with each preset"
FITS = "'fits' is right: inputs of every shape that it allows are encoded"
OFFERS = "has a function for everything it offers"
LATENTS = "latents have shape (examples, D), are float32 and finite"
SCORES = "scores of two and of three classes are finite and add to 1"
INPUTS = "leaves its inputs unchanged"
TERMS = "pretraining terms are finite, one value per example"
TERM_WEIGHTS = "weights of pretraining terms are finite and at least 0"
RECONSTRUCTS = "reconstructions have the shapes of the inputs"
SEED = "the same seed builds a bit-identical network, another seed a different one"
TRAINING = "training with the same seed gives bit-identical parameters"
REACHED = "every parameter gets a gradient from a loss"
EVAL = "in eval mode nothing is random and nothing changes"
SHUFFLED = "shuffling the examples only shuffles the scores"
ALONE = "the score of an example does not depend on the other examples in its batch"
TERMS_ALONE = "in eval mode pretraining terms do not depend on other examples in the batch"
PARTICLES = "permuting particles does not change scores"
PADDING = "more padding does not change scores"
BOOSTED = "momenta boosted along the beam give the same scores, if its encoder claims so"
DEVICE = "scores are the same on another device"
STORED = "scores are bit-identical after saving and loading"
TRIMMED = "scores are bit-identical without the modules that scoring does not use"
COUNTED = "both counters of operations agree, or name what they do not count"
EXPORTED = "the ONNX graph gives the same scores, at another batch size"
FRESH_PROCESS = "loaded or trained again in a fresh process, scores are the same"
LIGHT = "importing its module loads no reader or plotter and keeps torch's settings"

MODEL_FAULTS = [
    ("builds-nothing", BUILDS, "NoneType; an nn.Module with encode(inputs) is expected"),
    ("paper-cannot-be-built", BUILDS, "preset 'paper': a width of 12 is not allowed"),
    ("latents-one-axis", BUILDS, "(2,) for 2 examples; (2, D) is expected"),
    ("too-many-halvings", BUILDS, "Kernel size can't be greater"),
    ("fits-in-two-lines", BUILDS, "returns 'too\\nsmall'; one line of text, or '', is expected"),
    (
        "fits-fails",
        BUILDS,
        "model fits-fails: its function faulty_networks:fails fails: KeyError: 'cloud'",
    ),
    (
        "fits-wrongly",
        FITS,
        "'fits' allows {'image': (1, 9, 5)}, but building fails: RuntimeError: Calculated",
    ),
    (
        "offers-missing-pretraining",
        OFFERS,
        "offers 'pretrain', but Image has no pretraining_terms()",
    ),
    ("latents-float64", LATENTS, "float64; float32 is expected"),
    ("latents-not-finite", LATENTS, "not finite"),
    ("always-two-classes", SCORES, "(40, 2); (examples, classes) = (40, 3) is expected"),
    ("writes-inputs", INPUTS, "writes into input 'table'"),
    ("adds-inputs", INPUTS, "adds or removes input 'squares'"),
    ("term-of-batch", TERMS, "() for 32 examples; (32,) is expected"),
    ("term-not-finite", TERMS, "'reconstruction' has a value that is not finite"),
    (
        "weights-unknown-term",
        TERM_WEIGHTS,
        "term_weights returns 'kl'; the terms are reconstruction",
    ),
    (
        "weights-negative",
        TERM_WEIGHTS,
        "at progress 0 the weight of a term is not allowed: reconstruction: -0.5",
    ),
    ("weights-end-at-zero", TERM_WEIGHTS, "returns only weights of 0"),
    ("weights-count-calls", TERM_WEIGHTS, "returns other weights when called again"),
    ("reconstructs-too-wide", RECONSTRUCTS, "(32, 10); (32, 5) is expected"),
    ("reconstructs-unknown-input", RECONSTRUCTS, "'tables'; the inputs are table"),
    ("seeds-itself", SEED, "two seeds are identical"),
    ("seeds-from-clock", SEED, "from one seed differ in encoder.decoder.bias"),
    ("unseeded-training", TRAINING, "two trainings with one seed differ"),
    (
        "unused-parameter",
        REACHED,
        "gives no gradient for encoder.spare.weight, encoder.spare.bias",
    ),
    (
        "unused-positions",
        REACHED,
        "the loss from the labels gives no gradient for encoder.positions",
    ),
    ("stays-in-training", EVAL, "random"),
    ("term-random", EVAL, "term 'reconstruction' is random"),
    ("remembers-calls", EVAL, "changed by earlier calls"),
    ("counts-calls", EVAL, "eval mode changes encoder.seen"),
    ("counts-rows", SHUFFLED, "scores change by up to"),
    ("centres-batch", ALONE, "alone, scores change by up to"),
    ("term-across-batch", TERMS_ALONE, "depends on the other examples in its batch"),
    ("depends-on-particle-order", PARTICLES, "particles in another order, scores change"),
    ("counts-padding", PADDING, "five more padded particles, scores change"),
    ("sees-energy", BOOSTED, "with boosted momenta, scores change by up to"),
    ("unknown-symmetry", BOOSTED, "symmetry 'boosts' is unknown; known: boosts-along-beam"),
    ("tensor-left-behind", DEVICE, "stays on the CPU"),
    ("keeps-an-attribute", STORED, "must be parameters or buffers"),
    ("uses-decoder", TRIMMED, "no attribute 'decoder' (faulty_networks.py:"),
    ("skips-when-traced", COUNTED, "fvcore counts 56, torch's counter 120"),
    ("cut-when-traced", EXPORTED, "differ from torch's by"),
    ("batch-baked-in", EXPORTED, "traced with 2 examples, fails with 7 examples"),
]

MAKES = "makes a classifier from a network"

METHOD_FAULTS = [
    ("no-head", MAKES, "a network without a head"),
    ("no-network", MAKES, "returned TinyAutoencoder; a Network is expected"),
    ("needs-unknown-feature", MAKES, "no installed model offers encode, unknown-feature"),
    ("uses-hidden-labels", f"{MAKES}, without using labels", "classification needs labels"),
    ("writes-batches", "leaves its batches unchanged", "'table' of the train"),
    ("unseeded-method", "the same seed gives a bit-identical network", "head.weight"),
    ("keeps-state-in-hook", "the network can be saved and loaded without pickle", "parameters or"),
    ("changes-encoder", "frozen parts stay bit-identical: encoder", "encoder.blocks.0.weight"),
    (
        "drops-masks",
        "pruned weights stay zero, or pruned networks are refused with a reason",
        "are no longer zero",
    ),
    (
        "swaps-columns",
        "score columns of the network are in the order of the classes: no AUC far below 0.5",
        "are score columns swapped?",
    ),
    (
        "paper-preset-fails",
        "trains a network with each preset",
        "preset 'paper': a learning rate above .1",
    ),
]


@pytest.fixture
def faulty(monkeypatch):
    """Install the plugin ``faulty_networks``, and nothing else."""
    plugin = plugins.load(EntryPoint("faults", "faulty_networks", "hepbench"))
    assert not plugin.error
    monkeypatch.setattr(conformance_checks, "installed", lambda: Registry([plugin]))
    return plugin


def first_failed_claim(name, *, quick=True):
    """Return the first claim that fails, and its error; later claims are not tested."""
    for check in testing.checks(name, quick=quick):
        result = testing.attempt(check)
        if result.error:
            return result.claim, result.error
    return None, ""


@pytest.mark.parametrize(("name", "claim", "words"), MODEL_FAULTS + METHOD_FAULTS)
def test_a_fault_fails_the_claim_about_it(faulty, name, claim, words):
    """The claim about this fault fails first, and its error is one line."""
    found, error = first_failed_claim(name)
    assert found == claim, error
    assert words in error
    assert "\n" not in error


def test_state_that_a_fresh_process_lacks_is_found(faulty):
    """All claims tested in this process hold."""
    assert first_failed_claim("keeps-state-in-module") == (None, "")
    claim, error = first_failed_claim("keeps-state-in-module", quick=False)
    assert claim == FRESH_PROCESS
    assert error.startswith("scores differ if the model is loaded in a fresh process")


@pytest.mark.parametrize(
    "name",
    [
        *("sound-net", "sound-cloud", "sound-momenta"),
        *("sound-image", "strided-image", "fits-large"),
        *("sound-training", "sound-pretraining", "sound-probe", "sound-follower"),
        "refuses-masks",
    ],
)
def test_a_sound_plugin_passes(faulty, name):
    """Tables, clouds and images of any size pass, and methods after any start."""
    results = testing.check(name)
    assert not [result for result in results if result.error]
    skipped = [result.claim for result in results if result.skipped]
    assert skipped == (
        [DEVICE] if DEVICE in {r.claim for r in results} and has_one_device() else []
    )


def test_a_symmetry_that_is_not_claimed_is_not_checked(faulty):
    """A network may use energies; the check says that it was left out."""
    results = {result.claim: result for result in testing.check("no-symmetry")}
    assert results[BOOSTED].skipped
    assert not [result for result in results.values() if result.error]


def has_one_device():
    return not torch.cuda.is_available() and not torch.backends.mps.is_available()


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("sound-image", (2, 16, 16)),
        ("strided-image", (1, 64, 64)),
        ("fits-large", (1, 64, 64)),
    ],
)
def test_made_up_examples_are_small_unless_the_model_needs_large_ones(faulty, name, shape):
    """The shapes of a large dataset are used only if the model rejects smaller ones."""
    registry = Registry([faulty])
    entry = registry.entry("model", name)
    model = network_trials.ModelUnderTest(
        entry.spec, lambda: trials.example_shapes(entry, registry)
    )
    assert model.trial.shapes == {"image": shape}


def test_pytest_shows_a_skipped_claim_as_a_skipped_test(bench):
    """pytest understands unittest's exception and prints the reason."""
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


def test_imports_of_readers_and_changes_of_torch_are_found(faulty, monkeypatch, tmp_path):
    """The import runs in a fresh process."""
    (tmp_path / "uproot.py").write_text("")
    (tmp_path / "hasty.py").write_text(
        "import torch, uproot\ntorch.manual_seed(1)\nfrom faulty_networks import Net"
    )
    monkeypatch.syspath_prepend(tmp_path)
    spec = Model(name="hasty", summary="hasty", inputs=("table",), build="hasty:Net")
    plugin = Plugin("h", "hasty", "hasty", "1", specs=(spec,))
    claims = {c.text: c for c in networks.network_claims(Entry(spec, plugin), Registry([plugin]))}
    with pytest.raises(HepbenchError, match="importing hasty imports uproot"):
        claims[LIGHT].run()
    (tmp_path / "uproot.py").unlink()
    (tmp_path / "hasty.py").write_text("import torch\ntorch.manual_seed(1)")
    with pytest.raises(HepbenchError, match="importing hasty changes torch's generator"):
        claims[LIGHT].run()


def test_checks_restore_torchs_settings(faulty):
    """A plugin author's other tests run in the same process."""
    before = {name: read() for name, read in networks.TORCH_SETTINGS.items()}
    assert first_failed_claim("sound-net") == (None, "")
    assert first_failed_claim("sound-training") == (None, "")
    assert {name: read() for name, read in networks.TORCH_SETTINGS.items()} == before


def test_without_onnxruntime_the_export_is_skipped(faulty, monkeypatch):
    """The reason says what to install."""
    monkeypatch.setattr(
        trained_networks.onnx_runtime, "missing", lambda: "onnxruntime not installed: pip ..."
    )
    checks = {check.claim.text: check for check in testing.checks("sound-net")}
    assert testing.attempt(checks[EXPORTED]).skipped == "onnxruntime not installed: pip ..."
