"""What a model that encodes promises, tried as it is built and after a moment of training."""

from __future__ import annotations

import copy
import dataclasses
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hepbench import (
    batches,
    counting,
    encoders,
    export,
    objectives,
    reproducible,
    stages,
    tracing,
    weights,
)
from hepbench.conformance import trials
from hepbench.conformance.claims import Claim, need, skip
from hepbench.conformance.elsewhere import afresh
from hepbench.errors import PluginError
from hepbench.plan import NETWORK_IMPORTS
from hepbench.recipes import Known
from hepbench.specs import Model, Objective
from hepbench.work import NetworkWork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor, nn

    from hepbench.conformance.trials import Shapes, Trial
    from hepbench.examples import Examples
    from hepbench.network import Network
    from hepbench.registry import Entry, Registry
    from hepbench.specs import Array, Inputs, Params

SIZES = {"train": 96, "validation": 32, "test": 40}
MOMENT = {"epochs": 2, "batch_size": 32}
RATE = 3e-3

SAME = 1e-5
"""How far a score may be from itself in other company, as in a run."""

SAME_THERE = 1e-3
"""How far on another device, which may round the factors of a product to ten bits."""

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


class Tried:
    """A model that encodes: as it is built, and trained for a moment, once.

    Args:
        spec: of the model.
        shapes: returns shapes of one example that it may be tried on, the most fitting first.
    """

    def __init__(self, spec: Model, shapes: Callable[[], list[Shapes]]) -> None:
        self.spec, self.shapes = spec, shapes

    @property
    def params(self) -> Params:
        """As in a run: those of the preset ``quick``, where it has one."""
        return {**self.spec.params, **self.spec.presets.get("quick", {})}

    @property
    def pretrains(self) -> bool:
        """Whether it has a loss of its own."""
        return "pretrain" in self.spec.offers

    @cached_property
    def trial(self) -> Trial:
        """Two made-up classes, of the first shapes that it can be built for and encodes.

        Raises:
            PluginError: there are none. What it says of the first shapes is raised.
        """
        first: Exception | None = None
        for shapes in self.shapes():
            trial = trials.made_up(shapes, 2, sizes=SIZES)
            try:
                assert self.built(trial).width
            except Exception as error:  # noqa: BLE001 - it may be anyone's
                first = first or error
            else:
                return trial
        assert first is not None
        raise first

    def task(self, params: Params) -> dict[str, Any]:
        """Return what a worker is told of the model."""
        chosen = {"preprocess": self.spec.preprocess, **self.params, **params}
        return {
            "model": self.spec.name,
            "build": self.spec.build,
            "preprocess": chosen.pop("preprocess"),
            "model_params": chosen,
            "heads": {},
        }

    def built(self, trial: Trial, *, seed: int = trials.SEED, **params: Any) -> Network:
        """Return it as built from a seed, its preprocessing fitted."""
        with as_in_a_worker(seed):
            inputs = trial.parts["train"].inputs
            return encoders.fresh(self.task(params), inputs, classes=trial.classes)

    def classifier(self, trial: Trial | None = None) -> Network:
        """Return it as built, under a head."""
        network = self.built(trial or self.trial)
        with as_in_a_worker(trials.SEED):
            return network.with_head()

    def taught(self, network: Network, trial: Trial) -> Network:
        """Return it after a moment of training, by the labels and by its own loss."""
        with as_in_a_worker(trials.SEED):
            network = network if network.head else network.with_head()
            objective = Objective(self.terms, {"encoder": RATE, "head": RATE})
            work = NetworkWork(seed=trials.SEED)
            return work.fit(network, trial.data(), objective, **MOMENT)

    @cached_property
    def trained(self) -> Network:
        """The one that claims are tried on; none of them may change it."""
        return self.taught(self.built(self.trial), self.trial)

    def terms(self, network: Any, batch: Examples) -> dict[str, Tensor]:
        """Return the terms of every loss that it has, of each example."""
        return {**self.own_terms(network, batch), **objectives.classification(network, batch)}

    def own_terms(self, network: Any, batch: Examples) -> Mapping[str, Tensor]:
        """Return those of its own loss."""
        return objectives.pretraining(network, batch) if self.pretrains else {}

    def scores(self, network: Network, rows: Any = slice(None), *, size: int = 1000) -> Array:
        """Return the scores of the test part, or of some rows of it, ``size`` at a time."""
        inputs = {name: array[rows] for name, array in self.trial.inputs.items()}
        return scored(network, inputs, size=size)

    @cached_property
    def expected(self) -> Array:
        """The scores of the test part by the one that was trained."""
        return self.scores(self.trained)

    def batch(self, network: Network, n: int = 32) -> Examples:
        """Return the first training examples as a preprocessed batch."""
        examples = self.trial.parts["train"][:n]
        return batches.source(examples, network.preprocess, device=network.device).batch(slice(n))


@contextmanager
def as_in_a_worker(seed: int) -> Iterator[None]:
    """Use one thread and deterministic algorithms only, generators seeded; all is put back."""
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    reproducible.settle(1)
    try:
        with reproducible.undisturbed(seed):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(mode)


def scored(network: Network, inputs: Inputs, *, size: int = 1000) -> Array:
    """Return (N, classes) scores that were checked as in a run."""
    with as_in_a_worker(trials.SEED):
        found = encoders.scores(network, inputs, batch_size=size)
    task = {"model": network.recipe.model, "classes": network.recipe.classes}
    return stages.checked_scores(task, found, len(next(iter(inputs.values()))))


def of_network(entry: Entry, registry: Registry) -> list[Claim]:
    """Return what is claimed of a model that offers ``encode``."""
    it = Tried(entry.spec, partial(trials.shapes, entry, registry))
    claims = _of_built(it) + _of_trained(it)
    return [Claim(text, partial(_try, run, it), first=first) for text, run, first in claims] + [
        Claim("importing it imports no reader or plotter, and leaves torch as it was",
              partial(_is_light, it), slow=True),
        Claim("in another process, loaded or trained anew, it scores the same",
              partial(_moves, it), slow=True),
    ]  # fmt: skip


def _try(claim: Callable[[Tried], None], it: Tried) -> None:
    with as_in_a_worker(trials.SEED):
        claim(it)


Row = tuple[str, "Callable[[Tried], None]", bool]


def _of_built(it: Tried) -> list[Row]:
    rows: list[Row] = [
        ("it can be built, with each preset too, and encodes", _builds, True),
        ("it has all that it offers", _offers, True),
        ("codes are (examples, D), float32 and finite", _encodes, True),
        ("scores of two classes and of three are finite and add to 1", _scores, True),
        ("it leaves its inputs as they were", _spares_inputs, True),
    ]
    if it.pretrains:
        rows.append(("its own terms are finite, one for each example", _has_terms, True))
        rows.append(("weights of its terms are finite and at least 0", _weighs_terms, True))
    if "reconstruct" in it.spec.offers:
        rows.append(("what it reconstructs is shaped like its inputs", _reconstructs, False))
    return [
        *rows,
        ("the same seed builds the same, bit by bit, another seed another", _is_seeded, False),
    ]


def _of_trained(it: Tried) -> list[Row]:
    rows: list[Row] = [
        ("the same seed trains it to the same, bit by bit", _trains_the_same, True),
        ("every parameter is trained by one of its losses", _is_reached, False),
        ("in eval mode nothing is random, and nothing changes", _settles, False),
        ("shuffled examples have shuffled scores", _permutes, False),
        ("alone or in other company an example scores the same", _is_alone, False),
    ]
    if it.pretrains:
        rows.append(("in eval mode its own terms do not cross the batch", _terms_alone, False))
    if "cloud" in it.spec.inputs:
        rows.append(("permuted particles score the same", _permutes_particles, False))
    if {"cloud", "mask"} <= {*it.spec.inputs}:
        rows.append(("more padding changes no score", _pads, False))
    return [
        *rows,
        ("on another device it scores the same", _moves_device, False),
        ("saved and loaded it scores the same, bit by bit", _is_stored, False),
        ("without what scoring does not use it scores the same", _is_trimmed, False),
        ("both counters of its operations agree, or name what they miss", _is_counted, False),
        ("its ONNX graph scores the same, at another batch size", _is_exported, False),
    ]


# --- as it is built


def _builds(it: Tried) -> None:
    for name, params in {"": {}, **it.spec.presets}.items():
        try:
            assert it.built(it.trial, **params).width
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
    with reproducible.evaluating(network), torch.no_grad():
        found = network.encoder.reconstruct(batch.inputs)
    need(found, "it reconstructs none of its inputs")
    for name, made in found.items():
        shapes = {n: tuple(t.shape) for n, t in batch.inputs.items()}
        need(name in shapes, f"it reconstructs '{name}'; its inputs are {', '.join(shapes)}")
        shape = tuple(made.shape)
        need(shape == shapes[name], f"'{name}' becomes {shape}; {shapes[name]} is expected")
        need(made.isfinite().all(), f"'{name}' becomes what is not finite")


def _is_seeded(it: Tried) -> None:
    one, again, other = (it.built(it.trial, seed=trials.SEED + i // 2) for i in range(3))
    found = differing(one, again)
    need(not found, f"two networks built from one seed differ in {', '.join(found[:3])}")
    need(differing(one, other), "networks built from two seeds are the same; each draws its own")


def differing(one: nn.Module, other: nn.Module) -> list[str]:
    """Return the names of the tensors that are not bit-identical."""
    first, second = one.state_dict(), other.state_dict()
    names = {*first} | {*second}
    return sorted(
        name
        for name in names
        if name not in first or name not in second or not torch.equal(first[name], second[name])
    )


# --- trained for a moment


def _trains_the_same(it: Tried) -> None:
    found = differing(it.trained, it.taught(it.built(it.trial), it.trial))
    need(not found, f"two trainings from one seed differ in {', '.join(found[:3])}")


def _is_reached(it: Tried) -> None:
    network = copy.deepcopy(it.trained).train()
    batch = it.batch(network)
    loss = torch.stack([term.sum() for term in it.terms(network, batch).values()]).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    own = [(n, p) for n, p in network.named_parameters() if not n.startswith("preprocess.")]
    idle = [n for n, p in own if p.grad is None or not p.grad.count_nonzero()]
    losses = "the labels or its own terms" if it.pretrains else "the labels"
    need(not idle, f"no gradient of {losses} reaches {', '.join(idle[:5])}")


def _settles(it: Tried) -> None:
    network = it.trained
    before = copy.deepcopy(network)
    batch = it.batch(network)
    found = []
    for seed in (1, 2):
        with reproducible.undisturbed(seed), reproducible.evaluating(network), torch.no_grad():
            found.append({**it.terms(network, batch), "scores": network(batch.inputs)})
    for name, value in found[0].items():
        same = torch.equal(value, found[1][name])
        what = "scores are" if name == "scores" else f"term '{name}' is"
        need(same, f"in eval mode {what} random, or what was scored before plays a part")
    changed = differing(before, network)
    need(not changed, f"in eval mode it changes {', '.join(changed[:3])}")


def _permutes(it: Tried) -> None:
    rows = np.random.default_rng(0).permutation(SIZES["test"])
    _need_same(it.scores(it.trained, rows), it.expected[rows], "shuffled")


def _is_alone(it: Tried) -> None:
    for size in (1, 7):
        company = "alone" if size == 1 else f"{size} at a time"
        _need_same(it.scores(it.trained, size=size), it.expected, company)
    rows = np.arange(3, SIZES["test"], 4)
    _need_same(it.scores(it.trained, rows), it.expected[rows], "in other company")


def _need_same(found: Array, expected: Array, how: str, limit: float = SAME) -> None:
    difference = abs(found - expected).max()
    # written so that a NaN is refused
    need(difference <= limit, f"{how}, scores change by up to {difference:.2g}")


def _terms_alone(it: Tried) -> None:
    network = it.trained
    batch = it.batch(network)
    some = {name: tensor[5:12] for name, tensor in batch.inputs.items()}
    with reproducible.evaluating(network), torch.no_grad():
        whole = network.encoder.pretraining_terms(batch.inputs)
        part = network.encoder.pretraining_terms(some)
    for name, term in whole.items():
        same = torch.allclose(part[name], term[5:12], rtol=1e-4, atol=1e-5)
        need(same, f"term '{name}' of an example depends on which others are in its batch")


def _permutes_particles(it: Tried) -> None:
    particles = it.trial.shapes["cloud"][0]
    order = np.random.default_rng(0).permutation(particles)
    inputs = {
        name: array[:, order] if name in {"cloud", "mask"} else array
        for name, array in it.trial.inputs.items()
    }
    _need_same(scored(it.trained, inputs), it.expected, "with particles in another order")


def _pads(it: Tried) -> None:
    inputs = dict(it.trial.inputs)
    for name in ("cloud", "mask"):
        array = inputs[name]
        more = np.zeros((len(array), 5, *array.shape[2:]), array.dtype)
        inputs[name] = np.concatenate([array, more], axis=1)
    _need_same(scored(it.trained, inputs), it.expected, "with five more empty places")


def _moves_device(it: Tried) -> None:
    there = _second_device()
    network = copy.deepcopy(it.trained).to(there)
    if there.type == "meta":
        _runs_without_values(network)
        skip("no second device is here: its scores there could not be compared")
    _need_same(it.scores(network), it.expected, f"on {there.type}", SAME_THERE)


def _second_device() -> torch.device:
    """Return one that computes, or torch's ``meta``, where tensors have shapes and no values."""
    for name, module in (("cuda", torch.cuda), ("mps", torch.backends.mps)):
        if module.is_available():
            return torch.device(name)
    return torch.device("meta")


def _runs_without_values(network: Network) -> None:
    """Raise PluginError where a tensor stays behind that is no parameter and no buffer."""
    try:
        with reproducible.evaluating(network), torch.no_grad():
            network(network.blank())
    except NotImplementedError:
        # what depends on values has none there
        return
    except RuntimeError as error:
        if "device" not in str(error):
            return
        msg = f"a tensor of it stays on the processor when it moves; buffers move too ({error})"
        raise PluginError(msg) from error


def _is_stored(it: Tried) -> None:
    with TemporaryDirectory() as folder:
        weights.save(it.trained, Path(folder))
        again = weights.load(Path(folder), it.trained.known)
    same = np.array_equal(it.scores(again), it.expected)
    need(same, "loaded, it scores otherwise: what it learns must be parameters and buffers")


def _is_trimmed(it: Tried) -> None:
    trimmed = copy.deepcopy(it.trained).trim()
    same = np.array_equal(it.scores(trimmed), it.expected)
    need(same, "it scores otherwise once the modules are dropped that no score depends on")


def _is_counted(it: Tried) -> None:
    inputs = it.batch(it.trained).inputs
    counted = counting.count(copy.deepcopy(it.trained), tracing.batch(inputs, 1))
    need(counted.agrees or counted.gaps, "; ".join(counted.warnings))


def _is_exported(it: Tried) -> None:
    if absent := export.missing():
        skip(absent)
    inputs = it.batch(it.trained).inputs
    with TemporaryDirectory() as folder:
        export.export(copy.deepcopy(it.trained), inputs, Path(folder) / "network.onnx")


# --- in another process


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
        weights.save(it.trained, Path(folder))
        arguments = (_plain(it.spec), it.trial.shapes, folder)
        afresh(f"{__name__}:moved", *arguments, libraries=LIBRARIES)
        for name in ("loaded", "trained"):
            same = np.array_equal(np.load(Path(folder) / f"{name}.npy"), it.expected)
            need(same, f"{name} in another process, it scores otherwise")


def _plain(spec: Model) -> dict[str, Any]:
    """Return a spec as values of JSON's types."""
    values = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
    return {**values, "offers": sorted(spec.offers)}


def moved(spec: Mapping[str, Any], shapes: Mapping[str, list[int]], folder: str) -> None:
    """Score as loaded from ``folder`` and as trained anew, into files in it."""
    fixed = {name: tuple(shape) for name, shape in shapes.items()}
    it = Tried(Model(**{**spec, "offers": frozenset(spec["offers"])}), lambda: [fixed])
    known = Known(models={it.spec.name: it.spec.build}, steps=frozenset(it.task({})["preprocess"]))
    # scored before anything is trained here: state kept outside of the network must be missing
    loaded = it.scores(weights.load(Path(folder), known))
    for name, found in (("loaded", loaded), ("trained", it.expected)):
        np.save(Path(folder) / f"{name}.npy", found)
