"""Trained networks of records, from the cache: loaded, and given test inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hepbench.planning.stages import stage_keys
from hepbench.registry.plugins import installed
from hepbench.running.session import cache_folder
from hepbench.specs.errors import HepbenchError, ResultsError
from hepbench.storage import keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import torch

    from hepbench.specs.training_data import Examples
    from hepbench.specs.types import Array
    from hepbench.storage.records import Record
    from hepbench.training.networks.network import Network


KNOWN_TERMS = {"epoch", "step", "fit", "train_loss", "loss", "auc", "accuracy", "cross_entropy"}
"""What a history holds of any training; a step with other terms trained the model's own."""


BATCH = 64
"""Test examples that are dense at a time: of images of half a megabyte, what a network makes of
them on its way is several times that."""


@dataclass(frozen=True)
class Trained:
    """A network as one step of a chain left it, and test inputs.

    Attributes:
        step: the chain up to that step, ``pretrain+finetune``.
        test: all test examples, without labels, as they are stored: mapped, not in memory.
        rows: (N,) those that are shown, chosen by id.
        labels: (N,) theirs.
    """

    step: str
    network: Network
    test: Examples
    rows: Array
    labels: Array


def why_not(record: Record, *, offers: str = "encode") -> str:
    """Return why the network of a record cannot be had, or nothing."""
    try:
        spec = installed().entry("model", _model(record)).spec
        if offers not in spec.offers:
            return f"{spec.name} does not offer '{offers}'"
        _stages(record)
    except HepbenchError as error:
        return str(error)
    return ""


def load(results: Path, record: Record, *, most: int, decoding: bool = False) -> Trained:
    """Return the scored network of a record, and at most so many test examples.

    Args:
        results: where its labels are.
        record: of a network.
        most: examples.
        decoding: take the network of the last step that trained the model's own loss: what comes
            after it may move the encoder away from its decoder.

    Raises:
        ResultsError: the cache no longer holds it, or other code made it.
    """
    import numpy as np

    from hepbench.data import splits, stored_parts
    from hepbench.plots import stored
    from hepbench.training import network_runs
    from hepbench.training.networks import stored_networks

    kept = _stages(record)
    name = _decoding(kept) if decoding else kept.last
    parts = record.key_parts[name]
    network = stored_networks.load(kept.folders[name], network_runs.known(parts))
    whole = stored_parts.load_part(kept.folders["inputs"], "test")
    rows = np.sort(np.argsort(splits.order(whole.ids, 0), kind="stable")[:most])
    predictions = stored.predictions(results, record)["test"]
    if not np.array_equal(np.asarray(predictions.ids), whole.ids):
        msg = f"{record.cell}: the test inputs in the cache are not those of the record"
        raise ResultsError(msg)
    step = name.rpartition(" ")[0]
    return Trained(step, network, whole, rows, np.asarray(predictions.labels)[rows])


def outputs(
    trained: Trained,
    compute: Callable[[Mapping[str, torch.Tensor]], torch.Tensor | tuple[Any, ...]],
) -> list[Array]:
    """Return what ``compute`` makes of preprocessed test inputs, as one array for each of its
    results: for what is small, such as codes.
    """
    import numpy as np

    found = list(batched(trained, compute))
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


def batched(
    trained: Trained,
    compute: Callable[[Mapping[str, torch.Tensor]], torch.Tensor | tuple[Any, ...]],
) -> Iterator[tuple[Array, ...]]:
    """Yield what ``compute`` makes of preprocessed test inputs, batch by batch in their order."""
    import torch

    from hepbench.training.networks.determinism import eval_mode

    with eval_mode(trained.network), torch.no_grad():
        for inputs in preprocessed(trained):
            made = compute(inputs)
            parts = made if isinstance(made, tuple) else (made,)
            yield tuple(part.float().cpu().numpy() for part in parts)


def preprocessed(trained: Trained) -> Iterator[Mapping[str, torch.Tensor]]:
    """Yield the test inputs in batches, as the network is given them."""
    from hepbench.training.networks import batches

    raw = batches.RawInputs(trained.test.inputs, trained.network.device)
    for span in batches.spans(len(trained.rows), BATCH):
        yield raw.prepared(trained.rows[span], trained.network.preprocess)


@dataclass(frozen=True)
class _Stages:
    """What the cache holds of a record, by the names of stages."""

    folders: Mapping[str, Path]
    facts: Mapping[str, Mapping[str, Any]]

    @property
    def methods(self) -> list[str]:
        return [name for name in self.facts if name != "inputs"]

    @property
    def last(self) -> str:
        return self.methods[-1]


def _model(record: Record) -> str:
    found: str = next(p["model"] for p in record.key_parts.values() if "method" in p)
    return found


def _stages(record: Record) -> _Stages:
    """Return the inputs and the methods of a record.

    Raises:
        ResultsError: the cache does not hold them all, or they were made by other code.
    """
    from hepbench.storage.stage_cache import StageCache

    found = stage_keys(record.key_parts)
    if found["cell"] != record.key:
        msg = f"made by another version of hepbench; {_again(record)}"
        raise ResultsError(msg)
    cache = StageCache(cache_folder())
    wanted = [n for n in found if n == "inputs" or "method" in record.key_parts.get(n, {})]
    facts = {name: cache.find(found[name]) for name in wanted}
    if any(each is None for each in facts.values()):
        msg = f"its network is no longer in the cache; {_again(record)}"
        raise ResultsError(msg)
    _check_code(record)
    folders = {name: cache.folder(found[name]) for name in wanted}
    return _Stages(folders, {name: each for name, each in facts.items() if each is not None})


def _check_code(record: Record) -> None:
    """Raise ResultsError where the code that rebuilds the network is not that which was trained."""
    steps = (part for part in record.key_parts.items() if "method" in part[1])
    _, last = max(steps, key=lambda part: part[0].count("+"))
    if last["numerics"] != keys.NUMERICS["method"]:
        msg = f"made by another version of hepbench; {_again(record)}"
        raise ResultsError(msg)
    for name in _changed(last):
        msg = f"the code of {name} changed since; {_again(record)}"
        raise ResultsError(msg)


def _changed(parts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what of a network was rewritten since: its model, steps of preprocessing, heads.

    Args:
        parts: what the key of the method that made it was hashed from.
    """
    from hepbench.registry.source_digests import SourceDigests

    digests = SourceDigests(lambda path, compute: compute(path)).digests
    model = installed().entry("model", parts["model"])
    build = model.spec.build
    if (build, digests(build, model.plugin)) != (parts.get("build"), parts["model_code"]):
        yield model.spec.name
    own = {f"the preprocessing {s}": (s, model) for s in parts["preprocess"] if ":" in s}
    heads = {
        f"the head of {name}": (head, installed().entry("method", name))
        for name, head in parts["heads"].items()
    }
    for name, (target, entry) in {**own, **heads}.items():
        now = digests(target, entry.plugin)
        # augmentations, whose code stands there too, are no part of a network
        if now != {module: parts["network_code"].get(module) for module in now}:
            yield name


def _again(record: Record) -> str:
    """Return the command that brings a network back."""
    suite = record.provenance.get("suite_file") or record.suite
    return f"'hepbench run {suite} --fresh', with the same -d, -m and -x, brings it back"


def _decoding(kept: _Stages) -> str:
    """Return the last step that trained the model's own terms, or the first one."""
    for name in reversed(kept.methods):
        for entry in kept.facts[name].get("history", ()):
            if any(n not in KNOWN_TERMS and not n.startswith("learning_rate") for n in entry):
                return name
    return kept.methods[0]
