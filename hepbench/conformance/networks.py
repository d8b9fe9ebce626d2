"""Checks of network plugins (models that encode), with newly built networks.

``trained_networks`` holds the claims that need a trained network.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hepbench.conformance import trained_networks, trials
from hepbench.conformance.claims import Claim, need
from hepbench.conformance.fresh_process import run_in_fresh_process
from hepbench.conformance.network_trials import (
    SIZES,
    ModelUnderTest,
    differing_tensors,
    score_network,
)
from hepbench.conformance.trials import SEED
from hepbench.planning.input_shapes import why_unfit
from hepbench.planning.stages import NETWORK_IMPORTS
from hepbench.specs.errors import PluginError
from hepbench.specs.model import Model
from hepbench.specs.parameters import defaults, preset_names
from hepbench.training import network_runs, objectives
from hepbench.training.networks import determinism, stored_networks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hepbench.registry.plugins import Entry, Registry


OTHER_SHAPES: tuple[Mapping[str, tuple[int, ...]], ...] = (
    *({"image": image} for image in ((1, 9, 5), (3, 24, 12), (2, 1, 1))),
    *({"cloud": (n, 4), "mask": (n,), "neighbours": (n, 2), "momenta": (n, 4)} for n in (1, 3)),
    {"table": (1,)},
    {"scalars": (1,)},
)
"""Shapes of unusual examples, for models that say which shapes they take."""


PROGRESS = tuple(np.linspace(0, 1, 11).tolist())


UNRELATED_LIBRARIES = (
    *("matplotlib", "pandas", "polars", "pyarrow", "h5py", "tables", "uproot", "awkward"),
    *("fastjet", "pythia8mc", "tensorflow", "jax"),
)
"""Libraries that read, plot or simulate: a training worker must not wait for their import."""


TORCH_SETTINGS: Mapping[str, Callable[[], Any]] = {
    "default dtype": torch.get_default_dtype,
    "default device": torch.get_default_device,
    "number of threads": torch.get_num_threads,
    "gradient mode": torch.is_grad_enabled,
    "deterministic mode": torch.get_deterministic_debug_mode,
    "precision of products": torch.get_float32_matmul_precision,
    "generator": lambda: torch.random.get_rng_state().tolist(),
}


def network_claims(entry: Entry, registry: Registry) -> list[Claim]:
    """Return the claims to check about a network plugin."""
    model = ModelUnderTest(entry.spec, partial(trials.example_shapes, entry, registry))
    return [
        *_untrained_claims(model),
        *trained_networks.trained_claims(model),
        Claim("importing its module loads no reader or plotter and keeps torch's settings",
              partial(_check_imports, model), slow=True),
        Claim("loaded or trained again in a fresh process, scores are the same",
              partial(_check_fresh_process, model), slow=True),
    ]  # fmt: skip


def _untrained_claims(model: ModelUnderTest) -> list[Claim]:
    claims = [
        model.claim("can be built and encodes, also with each preset", _check_builds, first=True),
        model.claim("has a function for everything it offers", _check_offers, first=True),
        model.claim(
            "latents have shape (examples, D), are float32 and finite", _check_encodes, first=True
        ),
        model.claim(
            "scores of two and of three classes are finite and add to 1", _check_scores, first=True
        ),
        model.claim("leaves its inputs unchanged", _check_leaves_inputs_unchanged, first=True),
    ]
    if model.spec.fits:
        text = "'fits' is right: inputs of every shape that it allows are encoded"
        claims.append(model.claim(text, _check_accepts_what_fits))
    if model.pretrains:
        claims += [
            model.claim(
                "pretraining terms are finite, one value per example",
                _check_pretraining_terms,
                first=True,
            ),
            model.claim(
                "weights of pretraining terms are finite and at least 0",
                _check_term_weights,
                first=True,
            ),
        ]
    if "reconstruct" in model.spec.offers:
        claims.append(
            model.claim("reconstructions have the shapes of the inputs", _check_reconstructs)
        )
    text = "the same seed builds a bit-identical network, another seed a different one"
    return [*claims, model.claim(text, _check_builds_from_seed)]


def _check_builds(model: ModelUnderTest) -> None:
    all_params = model.spec.all_params
    for name in ("", *preset_names(all_params)):
        try:
            assert model.build(model.trial, **defaults(all_params, name)).width
        except PluginError as error:
            msg = f"{name and f'preset {name!r}: '}{error}"
            raise PluginError(msg) from error


def _check_accepts_what_fits(model: ModelUnderTest) -> None:
    for other in OTHER_SHAPES:
        usual = model.trial.shapes
        shapes = {name: other.get(name, shape) for name, shape in usual.items()}
        if shapes == usual or why_unfit(model.spec, shapes, model.params):
            continue
        try:
            assert model.build(trials.made_up_trial(shapes, 2, sizes=SIZES)).width
        except Exception as error:
            msg = f"'fits' allows {shapes}, but building fails: {type(error).__name__}: {error}"
            raise PluginError(" ".join(msg.split())) from error


def _check_offers(model: ModelUnderTest) -> None:
    encoder = model.build(model.trial).encoder
    functions = {"pretrain": "pretraining_terms"}
    for name in sorted(model.spec.offers):
        function = functions.get(name, name.replace("-", "_"))
        has = callable(getattr(encoder, function, None))
        need(has, f"the spec offers '{name}', but {type(encoder).__name__} has no {function}()")


def _check_encodes(model: ModelUnderTest) -> None:
    network = model.build(model.trial)
    batch = model.batch(network)
    for mode in (True, False):
        network.train(mode)
        with torch.no_grad():
            latents = network.encoder.encode(batch.inputs)
        when = "in training" if mode else "in eval mode"
        # building checks that two examples give (2, D)
        shape = tuple(latents.shape)
        need(
            latents.ndim == 2 and len(latents) == len(batch),
            f"{when} latents of 32 examples have shape {shape}",
        )
        need(
            latents.dtype == torch.float32,
            f"{when} latents are {latents.dtype}; float32 is expected",
        )
        need(latents.isfinite().all(), f"{when} latents hold values that are not finite")


def _check_scores(model: ModelUnderTest) -> None:
    for classes in (2, 3):
        trial = trials.made_up_trial(model.trial.shapes, classes, sizes=SIZES)
        score_network(model.classifier(trial), trial.inputs)


def _check_leaves_inputs_unchanged(model: ModelUnderTest) -> None:
    network = model.classifier()
    batch = model.batch(network)
    before = {name: tensor.clone() for name, tensor in batch.inputs.items()}
    for mode in (True, False):
        network.train(mode)
        with torch.no_grad():
            model.all_terms(network, batch)
        same = [name for name, tensor in before.items() if torch.equal(tensor, batch.inputs[name])]
        changed = sorted({*before} - {*same})
        need(
            not changed,
            f"the model writes into input '{''.join(changed[:1])}', which other steps use too",
        )
        added_or_removed = sorted({*before} ^ {*batch.inputs})
        need(
            not added_or_removed,
            f"the model adds or removes input '{''.join(added_or_removed[:1])}'",
        )


def _check_pretraining_terms(model: ModelUnderTest) -> None:
    network = model.build(model.trial)
    batch = model.batch(network)
    for mode in (True, False):
        network.train(mode)
        with torch.no_grad():
            terms = model.pretraining_terms(network, batch)
        objectives.check(terms, len(batch))
        for name, term in terms.items():
            need(term.isfinite().all(), f"term '{name}' has a value that is not finite")


def _check_term_weights(model: ModelUnderTest) -> None:
    network = model.build(model.trial)
    weigh = getattr(network.encoder, "term_weights", None)
    if weigh is None:
        return
    with torch.no_grad():
        terms = {*model.pretraining_terms(network, model.batch(network))}
    for progress in (*PROGRESS, *PROGRESS):
        found = weigh(progress)
        if extra := sorted({*found} - terms):
            msg = f"term_weights returns '{extra[0]}'; the terms are {', '.join(sorted(terms))}"
            raise PluginError(msg)
        wrong = [f"{name}: {w!r}" for name, w in found.items() if not 0 <= w < float("inf")]
        need(
            not wrong,
            f"at progress {progress:g} the weight of a term is not allowed: {''.join(wrong[:1])}",
        )
        same = found == weigh(progress)
        need(same, f"term_weights({progress:g}) returns other weights when called again")
    final = [weigh(1.0).get(name, 1.0) for name in terms]
    need(any(final), "term_weights(1), which validation uses, returns only weights of 0")


def _check_reconstructs(model: ModelUnderTest) -> None:
    network = model.build(model.trial)
    batch = model.batch(network)
    with determinism.eval_mode(network), torch.no_grad():
        found = network.encoder.reconstruct(batch.inputs)
    need(found, "reconstructs none of the inputs")
    for name, made in found.items():
        shapes = {n: tuple(t.shape) for n, t in batch.inputs.items()}
        need(name in shapes, f"the model reconstructs '{name}'; the inputs are {', '.join(shapes)}")
        shape = tuple(made.shape)
        need(
            shape == shapes[name],
            f"the reconstruction of '{name}' has shape {shape}; {shapes[name]} is expected",
        )
        need(
            made.isfinite().all(),
            f"the reconstruction of '{name}' has a value that is not finite",
        )


def _check_builds_from_seed(model: ModelUnderTest) -> None:
    first, second, other = (model.build(model.trial, seed=SEED + i // 2) for i in range(3))
    found = differing_tensors(first, second)
    need(not found, f"two networks built from one seed differ in {', '.join(found[:3])}")
    need(
        differing_tensors(first, other),
        "networks built from two seeds are identical; the weights must depend on the seed",
    )


def _check_imports(model: ModelUnderTest) -> None:
    module = model.spec.build.partition(":")[0]
    found = run_in_fresh_process(f"{__name__}:import_effects", module, libraries=PRELOADED)
    need(not found["imports"], f"importing {module} imports {', '.join(found['imports'])}")
    need(not found["changes"], f"importing {module} changes torch's {', '.join(found['changes'])}")


PRELOADED = (*NETWORK_IMPORTS, __name__)


def import_effects(module: str) -> dict[str, list[str]]:
    """Return which libraries a plugin's module imports and which settings it changes."""
    import sys
    from importlib import import_module

    loaded = {*sys.modules}
    before = {name: read() for name, read in TORCH_SETTINGS.items()}
    import_module(module)
    return {
        "imports": [name for name in UNRELATED_LIBRARIES if name in {*sys.modules} - loaded],
        "changes": [name for name, read in TORCH_SETTINGS.items() if read() != before[name]],
    }


def _check_fresh_process(model: ModelUnderTest) -> None:
    with TemporaryDirectory() as folder:
        stored_networks.save(model.trained, Path(folder))
        arguments = (_spec_as_json(model.spec), model.trial.shapes, folder)
        run_in_fresh_process(f"{__name__}:score_again", *arguments, libraries=PRELOADED)
        for name in ("loaded", "trained"):
            same = np.array_equal(np.load(Path(folder) / f"{name}.npy"), model.expected)
            need(same, f"scores differ if the model is {name} in a fresh process")


def _spec_as_json(spec: Model) -> dict[str, Any]:
    """Return the spec of a model under test as JSON, with the parameters of ``quick``."""
    values = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
    params = defaults(spec.all_params, "quick")
    preprocess = params.pop("preprocess")
    return {**values, "offers": sorted(spec.offers), "params": params, "preprocess": preprocess}


def score_again(spec: Mapping[str, Any], shapes: Mapping[str, list[int]], folder: str) -> None:
    """Save scores of the network under test, loaded from a folder and trained again."""
    fixed = {name: tuple(shape) for name, shape in shapes.items()}
    # JSON has neither sets nor tuples
    types = {"offers": frozenset(spec["offers"]), "files": tuple(spec["files"])}
    model = ModelUnderTest(Model(**{**spec, **types}), lambda: [fixed])
    trusted = network_runs.trusted_code(model.task({}))
    # scored before any training in this process, so that state outside of the network is missing
    loaded = model.scores(stored_networks.load(Path(folder), trusted))
    for name, found in (("loaded", loaded), ("trained", model.expected)):
        np.save(Path(folder) / f"{name}.npy", found)
