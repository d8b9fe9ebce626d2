"""What a model that encodes promises, tried as it is built; what it does when trained is next door."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hepbench.conformance import networks_trained, trials
from hepbench.conformance.claims import Claim, need
from hepbench.conformance.elsewhere import afresh
from hepbench.conformance.network_trials import SIZES, Tried, differing, scored
from hepbench.conformance.trials import SEED
from hepbench.planning.stages import NETWORK_IMPORTS
from hepbench.specs.errors import PluginError
from hepbench.specs.model import Model
from hepbench.specs.parameters import defaults, preset_names
from hepbench.training import network_runs, objectives
from hepbench.training.networks import determinism, stored_networks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hepbench.registry.plugins import Entry, Registry


PROGRESS = tuple(np.linspace(0, 1, 11).tolist())


FOREIGN = (
    *("matplotlib", "pandas", "polars", "pyarrow", "h5py", "tables", "uproot", "awkward"),
    *("fastjet", "pythia8mc", "tensorflow", "jax"),
)
"""Modules that read, plot or simulate: a worker that trains must not wait for them."""


TORCH_SETTINGS: Mapping[str, Callable[[], Any]] = {
    "default dtype": torch.get_default_dtype,
    "default device": torch.get_default_device,
    "number of threads": torch.get_num_threads,
    "gradient mode": torch.is_grad_enabled,
    "deterministic mode": torch.get_deterministic_debug_mode,
    "precision of products": torch.get_float32_matmul_precision,
    "generator": lambda: torch.random.get_rng_state().tolist(),
}


def of_network(entry: Entry, registry: Registry) -> list[Claim]:
    """Return what is claimed of a model that offers ``encode``."""
    it = Tried(entry.spec, partial(trials.shapes, entry, registry))
    return [
        *_of_built(it),
        *networks_trained.of_trained(it),
        Claim("importing it imports no reader or plotter, and leaves torch as it was",
              partial(_is_light, it), slow=True),
        Claim("in another process, loaded or trained anew, it scores the same",
              partial(_moves, it), slow=True),
    ]  # fmt: skip


def _of_built(it: Tried) -> list[Claim]:
    claims = [
        it.claim("it can be built, with each preset too, and encodes", _builds, first=True),
        it.claim("it has all that it offers", _offers, first=True),
        it.claim("codes are (examples, D), float32 and finite", _encodes, first=True),
        it.claim("scores of two classes and of three are finite and add to 1", _scores, first=True),
        it.claim("it leaves its inputs as they were", _spares_inputs, first=True),
    ]
    if it.pretrains:
        claims += [
            it.claim("its own terms are finite, one for each example", _has_terms, first=True),
            it.claim("weights of its terms are finite and at least 0", _weighs_terms, first=True),
        ]
    if "reconstruct" in it.spec.offers:
        claims.append(it.claim("what it reconstructs is shaped like its inputs", _reconstructs))
    text = "the same seed builds the same, bit by bit, another seed another"
    return [*claims, it.claim(text, _is_seeded)]


def _builds(it: Tried) -> None:
    params = it.spec.all_params
    for name in ("", *preset_names(params)):
        try:
            assert it.built(it.trial, **defaults(params, name)).width
        except PluginError as error:
            msg = f"{name and f'preset {name!r}: '}{error}"
            raise PluginError(msg) from error


def _offers(it: Tried) -> None:
    encoder = it.built(it.trial).encoder
    functions = {"pretrain": "pretraining_terms"}
    for name in sorted(it.spec.offers):
        function = functions.get(name, name.replace("-", "_"))
        has = callable(getattr(encoder, function, None))
        need(has, f"it offers '{name}'; {type(encoder).__name__} has no {function}()")


def _encodes(it: Tried) -> None:
    network = it.built(it.trial)
    batch = it.batch(network)
    for mode in (True, False):
        network.train(mode)
        with torch.no_grad():
            code = network.encoder.encode(batch.inputs)
        when = "in training" if mode else "in eval mode"
        # whether it is (2, D) for two examples was asked when it was built
        shape = tuple(code.shape)
        need(code.ndim == 2 and len(code) == len(batch), f"{when} codes of 32 examples are {shape}")
        need(code.dtype == torch.float32, f"{when} codes are {code.dtype}; float32 is expected")
        need(code.isfinite().all(), f"{when} codes hold values that are not finite")


def _scores(it: Tried) -> None:
    for classes in (2, 3):
        trial = trials.made_up(it.trial.shapes, classes, sizes=SIZES)
        scored(it.classifier(trial), trial.inputs)


def _spares_inputs(it: Tried) -> None:
    network = it.classifier()
    batch = it.batch(network)
    before = {name: tensor.clone() for name, tensor in batch.inputs.items()}
    for mode in (True, False):
        network.train(mode)
        with torch.no_grad():
            it.terms(network, batch)
        same = [name for name, tensor in before.items() if torch.equal(tensor, batch.inputs[name])]
        changed = sorted({*before} - {*same})
        need(not changed, f"it writes into '{''.join(changed[:1])}'; others are handed it too")
        gone = sorted({*before} ^ {*batch.inputs})
        need(not gone, f"it adds or removes '{''.join(gone[:1])}'")


def _has_terms(it: Tried) -> None:
    network = it.built(it.trial)
    batch = it.batch(network)
    for mode in (True, False):
        network.train(mode)
        with torch.no_grad():
            terms = it.own_terms(network, batch)
        objectives.check(terms, len(batch))
        for name, term in terms.items():
            need(term.isfinite().all(), f"term '{name}' holds a value that is not finite")


def _weighs_terms(it: Tried) -> None:
    network = it.built(it.trial)
    weigh = getattr(network.encoder, "term_weights", None)
    if weigh is None:
        return
    with torch.no_grad():
        terms = {*it.own_terms(network, it.batch(network))}
    for progress in (*PROGRESS, *PROGRESS):
        found = weigh(progress)
        if extra := sorted({*found} - terms):
            msg = f"it weighs '{extra[0]}'; its terms are {', '.join(sorted(terms))}"
            raise PluginError(msg)
        wrong = [f"{name}: {w!r}" for name, w in found.items() if not 0 <= w < float("inf")]
        need(not wrong, f"at progress {progress:g} it weighs {''.join(wrong[:1])}")
        same = found == weigh(progress)
        need(same, f"at progress {progress:g} it weighs otherwise when it is asked again")
    final = [weigh(1.0).get(name, 1.0) for name in terms]
    need(any(final), "at progress 1, where validation is, every term weighs nothing")


def _reconstructs(it: Tried) -> None:
    network = it.built(it.trial)
    batch = it.batch(network)
    with determinism.eval_mode(network), torch.no_grad():
        found = network.encoder.reconstruct(batch.inputs)
    need(found, "it reconstructs none of its inputs")
    for name, made in found.items():
        shapes = {n: tuple(t.shape) for n, t in batch.inputs.items()}
        need(name in shapes, f"it reconstructs '{name}'; its inputs are {', '.join(shapes)}")
        shape = tuple(made.shape)
        need(shape == shapes[name], f"'{name}' becomes {shape}; {shapes[name]} is expected")
        need(made.isfinite().all(), f"'{name}' becomes what is not finite")


def _is_seeded(it: Tried) -> None:
    one, again, other = (it.built(it.trial, seed=SEED + i // 2) for i in range(3))
    found = differing(one, again)
    need(not found, f"two networks built from one seed differ in {', '.join(found[:3])}")
    need(differing(one, other), "networks built from two seeds are the same; each draws its own")


def _is_light(it: Tried) -> None:
    module = it.spec.build.partition(":")[0]
    found = afresh(f"{__name__}:left_by", module, libraries=LIBRARIES)
    need(not found["imports"], f"importing {module} imports {', '.join(found['imports'])}")
    need(not found["changes"], f"importing {module} changes torch's {', '.join(found['changes'])}")


LIBRARIES = (*NETWORK_IMPORTS, __name__)


def left_by(module: str) -> dict[str, list[str]]:
    """Import a module, and return what it imports of FOREIGN and changes of torch's settings."""
    import sys
    from importlib import import_module

    loaded = {*sys.modules}
    before = {name: read() for name, read in TORCH_SETTINGS.items()}
    import_module(module)
    return {
        "imports": [name for name in FOREIGN if name in {*sys.modules} - loaded],
        "changes": [name for name, read in TORCH_SETTINGS.items() if read() != before[name]],
    }


def _moves(it: Tried) -> None:
    with TemporaryDirectory() as folder:
        stored_networks.save(it.trained, Path(folder))
        arguments = (_plain(it.spec), it.trial.shapes, folder)
        afresh(f"{__name__}:moved", *arguments, libraries=LIBRARIES)
        for name in ("loaded", "trained"):
            same = np.array_equal(np.load(Path(folder) / f"{name}.npy"), it.expected)
            need(same, f"{name} in another process, it scores otherwise")


def _plain(spec: Model) -> dict[str, Any]:
    """Return a spec with values of JSON's types: parameters as they are under ``quick``."""
    values = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
    params = defaults(spec.all_params, "quick")
    preprocess = params.pop("preprocess")
    return {**values, "offers": sorted(spec.offers), "params": params, "preprocess": preprocess}


def moved(spec: Mapping[str, Any], shapes: Mapping[str, list[int]], folder: str) -> None:
    """Score as loaded from ``folder`` and as trained anew, into files in it."""
    fixed = {name: tuple(shape) for name, shape in shapes.items()}
    it = Tried(Model(**{**spec, "offers": frozenset(spec["offers"])}), lambda: [fixed])
    known = network_runs.trusted_code(it.task({}))
    # scored before anything is trained here: state kept outside of the network must be missing
    loaded = it.scores(stored_networks.load(Path(folder), known))
    for name, found in (("loaded", loaded), ("trained", it.expected)):
        np.save(Path(folder) / f"{name}.npy", found)
