"""Score every part of the data, and check that each score depends on its own example only."""

from __future__ import annotations

import math
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
    from hepbench.training.messages import MethodTask, Trained


RESCORED = 256
"""Number of test examples that a model scores again, in another order and other batches."""


TRIED = 16
"""Number of validation examples that a stored model scores again, for comparison."""


ROUNDING = 1e-5
"""Largest allowed difference between two scores (float32 probabilities) of one example."""


LOOSE = 1e-3
"""Largest allowed relative difference between two loss values (sums over pixels) of one example."""


@dataclass(frozen=True)
class MethodOutput:
    """The stored model that a method made, with functions that compute its scores.

    Attributes:
        trained: what is known of it.
        scores: (N, classes) of inputs; an encoder's latents.
        rescores: the same in smaller batches, where the batch size can be chosen.
        score_stored: the same, by what was stored and is read again.
        values: (N,) per-example values by name, where the encoder is as its own loss left it.
    """

    trained: Trained
    scores: Callable[[Any], Any]
    rescores: Callable[[Any], Any]
    score_stored: Callable[[Any], Any]
    values: Callable[[Any], Mapping[str, NDArray[np.float32]]] | None = None


def score_parts(
    task: MethodTask,
    output: MethodOutput,
    parts: Mapping[str, Examples],
    folder: Path,
    *,
    labelled: NDArray[np.int64] | None,
) -> list[str]:
    """Store scores and loss values of every part of the data; return warnings about them.

    Training examples are scored if their labels were seen. The file also says which these are:
    ``trained``, a mask, or their ``rows`` where there are more training examples than are kept.

    Args:
        labelled: rows of the training examples whose labels were seen; None: all.
    """
    found: dict[str, NDArray[Any]] = {}
    for part, examples in parts.items():
        kept = examples
        if part == "train":
            rows = _scored_rows(examples, labelled)
            kept = examples[rows]
            if labelled is not None:
                found |= _scored_examples(examples, rows)
        scores = output.scores(kept.inputs)
        found[part] = checked_scores(task.model, scores, (len(kept), task.classes))
        if output.values is not None:
            found |= {f"{part}.value.{n}": v for n, v in output.values(kept.inputs).items()}
    np.savez(folder / "scores.npz", allow_pickle=False, **found)
    warnings = _batch_dependence(output, parts["test"], found["test"])
    return [*warnings, *_dependent_values(output, parts["test"], found)]


def _scored_rows(examples: Examples, labelled: NDArray[np.int64] | None) -> Any:
    if labelled is None:
        return splits.kept_train_rows(examples.ids)
    return labelled[splits.kept_train_rows(examples.ids[labelled])]


def _scored_examples(examples: Examples, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    if len(examples) > splits.KEPT_TRAIN_SCORES:
        return {"rows": rows}
    return {"trained": np.isin(np.arange(len(examples)), rows)}


def checked_scores(model: str, scores: Any, expected: tuple[int, int]) -> NDArray[np.float32]:
    """Check the scores of a model, and return them as float32 (examples, classes).

    Raises:
        PluginError: another shape, a value that is not finite, or rows that do not add to 1.
    """
    array = np.asarray(scores)
    if array.shape != expected:
        allowed = f"(examples, classes) = {expected} is expected"
        msg = f"{model}: scores have shape {array.shape}; {allowed}"
        raise PluginError(msg)
    if array.dtype.kind not in "fiub":
        msg = f"{model}: scores are of type {array.dtype}; numbers are expected"
        raise PluginError(msg)
    if not (array >= 0).all() or not (abs(array.sum(1) - 1) <= 1e-6).all():
        msg = f"{model}: scores must be finite, at least 0, and add to 1 in each row"
        raise PluginError(msg)
    return array.astype(np.float32)


def _batch_dependence(
    output: MethodOutput, test: Examples, scores: NDArray[np.float32]
) -> list[str]:
    """Return a warning if test examples get other scores in reverse order or in other batches."""
    pieces = _rescoring_batches(test)

    def again() -> Any:
        return np.concatenate([output.rescores(test[rows].inputs) for rows in pieces])

    try:
        found = again()
        if (difference := _largest_change(scores[np.concatenate(pieces)], found)) <= ROUNDING:
            return []
        if (by_itself := _largest_change(found, again())) > ROUNDING:
            return [f"not repeatable: scores change by up to {by_itself:.2g} from call to call"]
    except Exception as error:  # noqa: BLE001 - such as batch norm in training mode, of one example
        return [f"batch-dependent: some examples cannot be scored by themselves: {error}"]
    return [f"batch-dependent: scores change by up to {difference:.2g} in another batch"]


def _dependent_values(
    output: MethodOutput, test: Examples, found: Mapping[str, NDArray[Any]]
) -> list[str]:
    """Return warnings about loss values of examples that change in other batches."""
    if output.values is None:
        return []
    pieces = _rescoring_batches(test)
    again = [output.values(test[rows].inputs) for rows in pieces]
    rows, warnings = np.concatenate(pieces), []
    for name in again[0]:
        before = found[f"test.value.{name}"][rows]
        after = np.concatenate([values[name] for values in again])
        if (difference := _largest_change(before, after)) > LOOSE:
            what = f"by up to {difference:.2g} in another batch, or from call to call"
            warnings.append(f"batch-dependent: values of '{name}' change {what}")
    return warnings


def _rescoring_batches(test: Examples) -> list[NDArray[np.int64]]:
    """Return batches of test rows to score again: a single row, then the others in reverse."""
    n = min(len(test), RESCORED)
    return [rows for rows in np.split(np.arange(n)[::-1], [1, 1 + n // 3]) if len(rows)]


def check_stored(task: MethodTask, output: MethodOutput, inputs: Inputs) -> None:
    """Check that a model gives the same scores after it was stored and loaded.

    Raises:
        PluginError: it scores differently, since something is kept outside of its state.
    """
    few = {name: array[:TRIED] for name, array in inputs.items()}
    first, second = output.scores(few), output.scores(few)
    try:
        again = output.score_stored(few)
    except ResultsError as error:
        # the message begins with a scratch folder, which is gone by now
        why = str(error).partition(": ")[2]
        msg = f"{task.model}: the result of {task.method} cannot be stored: {why}"
        raise PluginError(msg) from error
    # scores that differ from call to call have a warning already
    if _largest_change(first, second) <= ROUNDING < (difference := _largest_change(first, again)):
        state = "parameters and buffers" if task.network else "attributes"
        msg = (
            f"{task.model}: after it was stored and loaded, its scores differ by up to "
            f"{difference:.2g}; whatever scores depend on must be in its {state}"
        )
        raise PluginError(msg)


def _largest_change(before: Any, after: Any) -> float:
    """Return the largest difference of two arrays of scores, relative to scores above 1.

    NaN in both is no difference; NaN in one of them is an infinite one.
    """
    a, b = (np.asarray(array, np.float64) for array in (before, after))
    equal = (a == b) | (np.isnan(a) & np.isnan(b))
    change = np.where(equal, 0.0, abs(a - b)).max()
    return math.inf if math.isnan(change) else float(change / np.nanmax(abs(a), initial=1.0))
