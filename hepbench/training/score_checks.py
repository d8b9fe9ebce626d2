"""Scores of every part, and the checks that a score depends on its own example only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.data import splits
from hepbench.specs.errors import PluginError, ResultsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from hepbench.specs.training_data import Examples
    from hepbench.specs.types import Inputs
    from hepbench.training.method_stage import Facts


RESCORED = 256
"""Test examples that are scored a second time, in another order and company."""


TRIED = 16
"""Validation examples that what was stored must score as what was made does."""


ROUNDING = 1e-5
"""How far two scores of one example, probabilities in float32, may be apart."""


LOOSE = 1e-3
"""How far two values of one example may be apart, as a share: sums over many pixels round more."""


@dataclass(frozen=True)
class MethodOutput:
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


def score(
    task: Mapping[str, Any],
    made: MethodOutput,
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
                kept = examples[splits.kept_train_rows(examples.ids)]
            else:
                rows = trained[splits.kept_train_rows(examples.ids[trained])]
                kept = examples[rows]
                if len(examples) > splits.KEPT_TRAIN_SCORES:
                    found["rows"] = rows
                else:
                    found["trained"] = np.isin(np.arange(len(examples)), rows)
        found[part] = checked_scores(task, made.scores(kept.inputs), len(kept))
        if made.values is not None:
            found |= {f"{part}.value.{n}": v for n, v in made.values(kept.inputs).items()}
    np.savez(folder / "scores.npz", allow_pickle=False, **found)
    odd = _batch_dependence(made, parts["test"], found["test"])
    return [*odd, *_dependent_values(made, parts["test"], found)]


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


def _batch_dependence(made: MethodOutput, test: Examples, scores: NDArray[np.float32]) -> list[str]:
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


def _dependent_values(
    made: MethodOutput, test: Examples, found: Mapping[str, NDArray[Any]]
) -> list[str]:
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


def check_stored(task: Mapping[str, Any], made: MethodOutput, inputs: Inputs) -> None:
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
