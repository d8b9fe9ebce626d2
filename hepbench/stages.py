"""Methods, in a worker: ``(task, place) -> facts``. The last of a chain also scores every part."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench import arrays, estimators, machine, seeds, splits
from hepbench.errors import PluginError, ResultsError
from hepbench.examples import Examples, TrainingData
from hepbench.resolve import resolve
from hepbench.specs import Estimator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hepbench.specs import Inputs
    from hepbench.worker import Place

Facts = dict[str, Any]

KEPT_TRAIN_SCORES = 100_000
"""Training examples whose scores are kept, chosen by id."""

RESCORED = 256
"""Test examples that are scored a second time, in another order and company."""

TRIED = 16
"""Validation examples that what was stored must score as what was made does."""

ROUNDING = 1e-5
"""How far two scores of one example, probabilities in float32, may be apart."""


LOOSE = 1e-3
"""How far two values of one example may be apart, as a share: sums over many pixels round more."""


@dataclass(frozen=True)
class Lent:
    """What a method is lent: see ``specs.Work``."""

    seed: int
    threads: int


def method(task: Mapping[str, Any], place: Place) -> Facts:
    """Run one method of a chain; a classifier also scores every part."""
    source, *before = place.parents
    data = TrainingData(
        train=load_part(source, "train"),
        validation=load_part(source, "validation"),
        unlabelled=load_part(source, "unlabelled") if (source / "unlabelled").exists() else None,
        classes=task["classes"],
    )
    trained = None
    if not task["labels"]:
        # no name is left that leads to them
        data = data.without_labels()
    elif task["label_fraction"] < 1:
        trained = _share(data.train, task)
        data = data.with_labels_of(trained)
    seed = seeds.derive(task["seed"], *task["steps"])
    run = _encoder if task.get("network") else _estimator
    made = run(task, data, before, seed, place)
    facts = {"examples": len(data.train), **made.facts}
    if task["makes"] == "classifier":
        # opened again: a method may have put other inputs into what it was given
        parts = {part: load_part(source, part) for part in splits.PARTS}
        odd = _score(task, made, parts, place.folder, trained=trained)
        facts["warnings"] = [*facts.get("warnings", []), *odd]
    facts["peak_memory_mb"] = machine.peak_memory_mb()
    _check_stored(task, made, load_part(source, "validation").inputs)
    return facts


def _share(train: Examples, task: Mapping[str, Any]) -> NDArray[np.int64]:
    """Return the rows whose labels may be seen: by every method the same."""
    seed = seeds.derive(task["seed"], "label fraction")
    labels = np.asarray(train.labels)
    return splits.share(labels, train.ids, fraction=task["label_fraction"], seed=seed)


def cost(task: Mapping[str, Any], place: Place) -> Facts:
    """Measure what scoring costs: of the very network or estimator that was scored."""
    from hepbench import cost as costs

    source, made = place.parents
    inputs = load_part(source, "validation").inputs
    few = {name: array[: costs.LARGE] for name, array in inputs.items()}
    if task.get("network"):
        from hepbench import encoders

        scored, few = encoders.whole(task, made, few)
    else:
        scored = estimators.load(_built(task, inputs), made)
    return costs.measure(scored, few, folder=place.folder, threads=task["threads"])


@dataclass(frozen=True)
class Made:
    """What a method made, already stored.

    Attributes:
        facts: ``seconds`` that the method took, and what is known of the result.
        scores: of inputs; an encoder's codes.
        rescores: the same, in other company where that can be chosen.
        stored: the same, by what was stored and is read again.
        values: of each example, by name, where the encoder is as its own loss left it.
    """

    facts: Facts
    scores: Callable[[Any], Any]
    rescores: Callable[[Any], Any]
    stored: Callable[[Any], Any]
    values: Callable[[Any], Mapping[str, NDArray[np.float32]]] | None = None


def _estimator(
    task: Mapping[str, Any], data: TrainingData, before: Sequence[Path], seed: int, place: Place
) -> Made:
    start = _start(task, data, seed, before)
    _seed_global(seed)
    work = Lent(seed, task["threads"])
    began = time.perf_counter()
    result = resolve(task["run"])(start, data, work, **task["params"])
    seconds = time.perf_counter() - began
    # state is put back into what build returns, so a wrapper would lose what it adds
    if type(result) is not type(start):
        kinds = type(result).__name__, type(start).__name__
        msg = (
            f"{task['method']} returned {kinds[0]}; the kind of its start, {kinds[1]}, is expected"
        )
        raise PluginError(msg)
    estimators.save(result, place.folder)

    def stored(inputs: Inputs) -> Any:
        return estimators.load(_built(task, inputs), place.folder).scores(inputs)

    return Made({"seconds": seconds, **_fitted(result)}, result.scores, result.scores, stored)


def _encoder(
    task: Mapping[str, Any], data: TrainingData, before: Sequence[Path], seed: int, place: Place
) -> Made:
    from hepbench import encoders, weights

    network, work = encoders.run(task, data, before=before, seed=seed, tell=place.tell)
    weights.save(network, place.folder)
    score: Any = encoders.codes if network.head is None else encoders.scores

    def stored(inputs: Inputs) -> Any:
        return score(weights.load(place.folder, encoders.known(task)).to(network.device), inputs)

    return Made(
        encoders.facts(network, work),
        scores=partial(score, network),
        rescores=partial(encoders.scores, network, batch_size=encoders.RESCORED),
        stored=stored,
        values=partial(encoders.values, network) if task.get("values") else None,
    )


def load_part(source: Path, part: str) -> Examples:
    """Return the examples of one part as they were laid out; the test part has no labels."""
    folder = source / part
    found = {name: arrays.opened(path) for name, path in arrays.stored(folder).items()}
    return Examples(
        inputs={n.partition(".")[2]: a for n, a in found.items() if n.startswith("input.")},
        ids=found["ids"],
        labels=found.get("labels"),
        weights=found.get("weights"),
        targets={n.partition(".")[2]: a for n, a in found.items() if n.startswith("target.")},
    )


def _start(
    task: Mapping[str, Any], data: TrainingData, seed: int, before: Sequence[Path]
) -> Estimator:
    _seed_global(seed)
    built = _built(task, data.train.inputs)
    return estimators.load(built, before[0]) if before else built


def _built(task: Mapping[str, Any], inputs: Inputs) -> Estimator:
    shapes = {name: tuple(array.shape[1:]) for name, array in inputs.items()}
    built = resolve(task["build"])(shapes, **task["model_params"])
    if not isinstance(built, Estimator):
        msg = f"{task['model']}: build returned {type(built).__name__}; an Estimator is expected"
        raise PluginError(msg)
    return built


def _seed_global(seed: int) -> None:
    """Seed what takes no generator of its own."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002


def _fitted(result: Estimator) -> Facts:
    """Return what an estimator may say of itself."""
    facts: Facts = {}
    for name in ("parameters", "best_epoch"):
        if (value := getattr(result, name, None)) is not None:
            facts[name] = int(value)
    if history := getattr(result, "history", None):
        facts["history"] = [{k: float(v) for k, v in epoch.items()} for epoch in history]
    return facts


def _score(
    task: Mapping[str, Any],
    made: Made,
    parts: Mapping[str, Examples],
    folder: Path,
    *,
    trained: NDArray[np.int64] | None,
) -> list[str]:
    """Write the scores of every part, and values of each example; return what is odd about them.

    Of training examples they are those whose labels were seen. Beside them is written which of all
    these are (``trained``, a mask) or, of more than are kept, their ``rows``.
    """
    found: dict[str, NDArray[Any]] = {}
    for part, examples in parts.items():
        kept = examples
        if part == "train":
            if trained is None:
                kept = examples[kept_rows(examples.ids)]
            else:
                rows = trained[kept_rows(examples.ids[trained])]
                kept = examples[rows]
                if len(examples) > KEPT_TRAIN_SCORES:
                    found["rows"] = rows
                else:
                    found["trained"] = np.isin(np.arange(len(examples)), rows)
        found[part] = checked_scores(task, made.scores(kept.inputs), len(kept))
        if made.values is not None:
            found |= {f"{part}.value.{n}": v for n, v in made.values(kept.inputs).items()}
    np.savez(folder / "scores.npz", allow_pickle=False, **found)
    odd = _batch_dependence(made, parts["test"], found["test"])
    return [*odd, *_dependent_values(made, parts["test"], found)]


def kept_rows(ids: NDArray[np.int64]) -> NDArray[np.int64] | slice:
    """Return the rows of the training examples whose scores are kept, at most 100,000."""
    if len(ids) <= KEPT_TRAIN_SCORES:
        return slice(None)
    return np.sort(np.argsort(splits.order(ids, 0), kind="stable")[:KEPT_TRAIN_SCORES])


def checked_scores(task: Mapping[str, Any], scores: Any, n: int) -> NDArray[np.float32]:
    """Return the scores of n examples as float32 (n, classes).

    Raises:
        PluginError: another shape, a value that is not finite, or rows that do not add to 1.
    """
    model, array, expected = task["model"], np.asarray(scores), (n, task["classes"])
    if array.shape != expected:
        msg = f"{model}: scores are {array.shape}; (examples, classes) = {expected} is expected"
        raise PluginError(msg)
    if array.dtype.kind not in "fiub":
        msg = f"{model}: scores are of type {array.dtype}; numbers are expected"
        raise PluginError(msg)
    if not (array >= 0).all() or not (abs(array.sum(1) - 1) <= 1e-6).all():
        msg = f"{model}: scores must be finite, at least 0, and add to 1 in each row"
        raise PluginError(msg)
    return array.astype(np.float32)


def _batch_dependence(made: Made, test: Examples, scores: NDArray[np.float32]) -> list[str]:
    """Score some test examples again, one alone and the others in reverse: none may notice."""
    pieces = _pieces(test)

    def again() -> Any:
        return np.concatenate([made.rescores(test[rows].inputs) for rows in pieces])

    try:
        found = again()
        if (difference := _apart(found, scores[np.concatenate(pieces)])) <= ROUNDING:
            return []
        if (by_itself := _apart(found, again())) > ROUNDING:
            return [f"not repeatable: scores change by up to {by_itself:.2g} from call to call"]
    except Exception as error:  # noqa: BLE001 - such as batch norm in training mode, of one example
        return [f"batch-dependent: a part cannot be scored by itself: {error}"]
    return [f"batch-dependent: scores change by up to {difference:.2g} with their neighbours"]


def _dependent_values(made: Made, test: Examples, found: Mapping[str, NDArray[Any]]) -> list[str]:
    """Return which values of an example, made again by itself and in other company, are others."""
    if made.values is None:
        return []
    pieces = _pieces(test)
    again = [made.values(test[rows].inputs) for rows in pieces]
    rows, odd = np.concatenate(pieces), []
    for name in again[0]:
        before = found[f"test.value.{name}"][rows]
        if (difference := _apart(np.concatenate([a[name] for a in again]), before)) > LOOSE:
            what = f"by up to {difference:.2g} with their neighbours, or from call to call"
            odd.append(f"batch-dependent: values of '{name}' change {what}")
    return odd


def _pieces(test: Examples) -> list[NDArray[np.int64]]:
    """Return rows of some examples, one alone and the others in reverse."""
    n = min(len(test), RESCORED)
    return [rows for rows in np.split(np.arange(n)[::-1], [1, 1 + n // 3]) if len(rows)]


def _check_stored(task: Mapping[str, Any], made: Made, inputs: Inputs) -> None:
    """Check that what was stored is what was scored: later stages know nothing else.

    Raises:
        PluginError: it scores otherwise, because of what is kept elsewhere than in its state.
    """
    few = {name: array[:TRIED] for name, array in inputs.items()}
    first, second = made.scores(few), made.scores(few)
    try:
        again = made.stored(few)
    except ResultsError as error:
        # its folder is nobody's to look for
        why = str(error).partition(": ")[2]
        msg = f"{task['model']}: what {task['method']} made cannot be stored: {why}"
        raise PluginError(msg) from error
    # of what does not repeat itself something is said already
    if _apart(first, second) <= ROUNDING < (difference := _apart(first, again)):
        state = "parameters and buffers" if task.get("network") else "attributes"
        msg = (
            f"{task['model']}: once stored and read again it scores otherwise, by up to "
            f"{difference:.2g}; what scores depend on must be in its {state}"
        )
        raise PluginError(msg)


def _apart(one: Any, other: Any) -> float:
    """Return the largest difference between two arrays of scores; of codes above 1, relative."""
    a, b = (np.asarray(array, np.float64) for array in (one, other))
    return float(abs(a - b).max() / max(1.0, abs(a).max()))
