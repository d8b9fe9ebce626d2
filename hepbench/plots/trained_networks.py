"""Load trained networks from the cache for figures, and run them on test inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hepbench.registry.plugins import installed
from hepbench.running.session import cache_folder
from hepbench.specs.errors import HepbenchError, ResultsError
from hepbench.storage import keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import torch

    from hepbench.registry.plugins import Entry
    from hepbench.specs.training_data import Examples
    from hepbench.specs.types import Array
    from hepbench.storage.records import Record
    from hepbench.storage.results import Results
    from hepbench.training.messages import MethodResult
    from hepbench.training.networks.network import Network
    from hepbench.training.networks.recipes import TrustedCode


KNOWN_TERMS = {
    "epoch",
    "step",
    "fit",
    "train_loss",
    "train_auc",
    "train_accuracy",
    "loss",
    "auc",
    "accuracy",
    "cross_entropy",
}
"""Names that any history may hold; other names show that a step trained the model's own loss."""


BATCH = 64
"""Number of test examples in a batch; small, since a dense image may need several megabytes."""


@dataclass(frozen=True)
class TrainedNetwork:
    """A network as one step of a chain trained it, with test inputs.

    Attributes:
        step: the chain up to that step, such as ``pretrain+finetune``.
        test: all test examples without labels; memory-mapped, as they are stored.
        rows: (N,) indices of the examples to draw, chosen by id.
        labels: (N,) labels of these rows.
    """

    step: str
    network: Network
    test: Examples
    rows: Array
    labels: Array


def why_not(record: Record, *, offers: str = "encode") -> str:
    """Return why the trained network of a record cannot be loaded, or ""."""
    try:
        spec = installed().entry("model", _model(record)).spec
        if offers not in spec.offers:
            return f"{spec.name} does not offer '{offers}'"
        _stages(record)
    except HepbenchError as error:
        return str(error)
    return ""


def load(results: Results, record: Record, *, most: int, decoding: bool = False) -> TrainedNetwork:
    """Load the trained network of a record from the cache, with test examples.

    Args:
        results: the folder with the record's labels.
        record: a record of a network.
        most: the largest number of test examples.
        decoding: load the network of the last step that trained the model's own loss instead:
            later steps may move the encoder away from its decoder.

    Raises:
        ResultsError: the network is no longer in the cache, or its code changed since.
    """
    import numpy as np

    from hepbench.data import splits, stored_parts
    from hepbench.training.networks import stored_networks

    kept = _stages(record)
    name = _decoder_step(kept) if decoding else kept.last
    parts = record.key_parts[name]
    network = stored_networks.load(kept.folders[name], _trusted_code(parts))
    test = stored_parts.load_part(kept.folders["inputs"], "test")
    rows = np.sort(np.argsort(splits.order(test.ids, 0), kind="stable")[:most])
    labels = _test_labels(results, record, test)[rows]
    return TrainedNetwork(name.rpartition(" ")[0], network, test, rows, labels)


def _test_labels(results: Results, record: Record, test: Examples) -> Array:
    """Return the labels of all test examples from the results folder."""
    import numpy as np

    from hepbench.evaluation import stored_predictions

    predictions = stored_predictions.of_test(results, record)
    if not np.array_equal(np.asarray(predictions.ids), test.ids):
        msg = f"{record.cell}: the test inputs in the cache are not those of the record"
        raise ResultsError(msg)
    return np.asarray(predictions.labels)


def outputs(
    trained: TrainedNetwork,
    compute: Callable[[Mapping[str, torch.Tensor]], torch.Tensor | tuple[Any, ...]],
) -> list[Array]:
    """Apply a function to all preprocessed test inputs; return one array for each of its results.

    All results are held in memory, so they should be small, such as latents.
    """
    import numpy as np

    found = list(batched(trained, compute))
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


def batched(
    trained: TrainedNetwork,
    compute: Callable[[Mapping[str, torch.Tensor]], torch.Tensor | tuple[Any, ...]],
) -> Iterator[tuple[Array, ...]]:
    """Apply a function to the preprocessed test inputs; yield its results batch by batch."""
    import torch

    from hepbench.training.networks.determinism import eval_mode

    with eval_mode(trained.network), torch.no_grad():
        for inputs in preprocessed(trained):
            made = compute(inputs)
            parts = made if isinstance(made, tuple) else (made,)
            yield tuple(part.float().cpu().numpy() for part in parts)


def preprocessed(trained: TrainedNetwork) -> Iterator[Mapping[str, torch.Tensor]]:
    """Yield batches of preprocessed test inputs, as the network's encoder receives them."""
    from hepbench.training.networks import batches

    raw = batches.RawInputs(trained.test.inputs, trained.network.device)
    for span in batches.spans(len(trained.rows), BATCH):
        yield raw.prepared(trained.rows[span], trained.network.preprocess)


@dataclass(frozen=True)
class _CachedStages:
    """The cached inputs and method results of a record, by name of stage."""

    folders: Mapping[str, Path]
    results: Mapping[str, MethodResult]

    @property
    def methods(self) -> list[str]:
        return list(self.results)

    @property
    def last(self) -> str:
        return self.methods[-1]


def _trusted_code(parts: Mapping[str, Any]) -> TrustedCode:
    """Return the functions that the recipe of a stored network may name, from its key."""
    from hepbench.training.networks.recipes import TrustedCode

    network = parts["network"]
    return TrustedCode(
        models={parts["model"]: parts["build"]},
        heads=network["heads"],
        steps=frozenset(network["preprocess"]),
    )


def _model(record: Record) -> str:
    found: str = next(p["model"] for p in record.key_parts.values() if "method" in p)
    return found


def _stages(record: Record) -> _CachedStages:
    """Return the cached stages of a record's inputs and methods.

    Raises:
        ResultsError: some are no longer in the cache, or their code changed since.
    """
    from hepbench.storage.stage_cache import StageCache
    from hepbench.training.messages import MethodResult

    keys_of, parts = record.stage_keys, record.key_parts
    cache = StageCache(cache_folder())
    wanted = {n: k for n, k in keys_of.items() if n == "inputs" or "method" in parts.get(n, {})}
    if not wanted or not all(cache.intact(key) for key in wanted.values()):
        msg = f"the trained network is no longer in the cache; {_rerun_command(record)}"
        raise ResultsError(msg)
    _check_code(record)
    folders = {name: cache.folder(key) for name, key in wanted.items()}
    results = {n: cache.result(k, MethodResult) for n, k in wanted.items() if n != "inputs"}
    return _CachedStages(folders, results)


def _check_code(record: Record) -> None:
    """Raise ResultsError if the code of a record's network changed since the training."""
    steps = (part for part in record.key_parts.items() if "method" in part[1])
    _, last = max(steps, key=lambda part: part[0].count("+"))
    # keys of schema 1 have no part "network"
    if last["numerics"] != keys.NUMERICS["method"] or "network" not in last:
        msg = f"the network was trained by another version of hepbench; {_rerun_command(record)}"
        raise ResultsError(msg)
    for name in _changed_parts(last):
        msg = f"the code of {name} changed since the training; {_rerun_command(record)}"
        raise ResultsError(msg)


def _changed_parts(parts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the parts of a stored network whose code changed: model, preprocessing, heads.

    Args:
        parts: the parts of the key of the method that trained it.
    """
    from hepbench.registry.source_digests import SourceDigests

    digests = SourceDigests().digests
    model = installed().entry("model", parts["model"])
    build = model.spec.build
    if (build, digests(build, model.plugin)) != (parts.get("build"), parts["model_code"]):
        yield model.spec.name
    for name, target, entry in _network_parts(parts, model):
        now = digests(target, entry.plugin)
        # network_code also holds augmentations, which are no part of a network
        if now != {module: parts["network_code"].get(module) for module in now}:
            yield name


def _network_parts(parts: Mapping[str, Any], model: Entry) -> Iterator[tuple[str, str, Entry]]:
    """Yield the preprocessing steps and heads of a stored network, with the code of each."""
    for step in parts["network"]["preprocess"]:
        if ":" in step:
            yield f"the preprocessing {step}", step, model
    for name, head in parts["network"]["heads"].items():
        yield f"the head of {name}", head, installed().entry("method", name)


def _rerun_command(record: Record) -> str:
    """Return the command that trains a record's network again, for a message."""
    suite = record.provenance.suite_file or record.suite
    return f"'hepbench run {suite} --fresh', with the same -d, -m and -x, trains it again"


def _decoder_step(kept: _CachedStages) -> str:
    """Return the last step of a chain that trained the model's own loss, or the first step."""
    for name in reversed(kept.methods):
        for entry in kept.results[name].trained.history or ():
            if any(n not in KNOWN_TERMS and not n.startswith("learning_rate") for n in entry):
                return name
    return kept.methods[0]
