"""The inputs stage: applies a dataset's views and writes the inputs of each part."""

from __future__ import annotations

from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.data import splits
from hepbench.data.example_checks import FieldTypes, view_output
from hepbench.data.messages import InputsResult, InputsTask
from hepbench.data.stored_parts import count, read_inputs, spans
from hepbench.registry.resolve import resolve
from hepbench.specs.errors import ProtocolError
from hepbench.specs.sparse_images import SparseImages
from hepbench.storage import npy_files
from hepbench.storage.workspace import stage

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hepbench.specs.types import Array, Inputs
    from hepbench.storage.workspace import Workspace


REPEATED = 4
"""Rows of each chunk that a view is applied to again, the first alone and the others together."""


@stage(InputsTask)
def inputs(task: InputsTask, workspace: Workspace) -> InputsResult:
    """Stage: write the inputs of each part, with views applied, into a folder of its own.

    The test part has inputs and ids but no labels; a method gets only this folder.
    """
    (source, division), folder = workspace.parents, workspace.folder
    for part in splits.PARTS:
        with np.load(division / f"{part}.npz", allow_pickle=False) as kept:
            columns = dict(kept)
        rows = columns.pop("rows")
        if part == "test":
            columns = {"ids": columns["ids"]}
        (folder / part).mkdir()
        for name, array in columns.items():
            npy_files.save(folder / part / f"{name}.npy", array)
        _write_inputs_of_part(task, source, rows, folder / part)
    if n := count(source, "unlabelled"):
        (folder / "unlabelled").mkdir()
        ids = npy_files.map_npy(source / "unlabelled.ids.npy")
        npy_files.save(folder / "unlabelled" / "ids.npy", ids)
        _write_inputs_of_part(task, source, np.arange(n), folder / "unlabelled", role="unlabelled")
    return InputsResult()


def _write_inputs_of_part(
    task: InputsTask,
    source: Path,
    rows: NDArray[np.int64],
    folder: Path,
    role: str = "labelled",
) -> None:
    whole = read_inputs(source, role)
    files: dict[str, npy_files.NpyWriter | npy_files.SparseImagesWriter] = {}
    types = FieldTypes(f"{task.dataset}: inputs and views")
    with ExitStack() as opened:
        for chunk in spans(whole, len(rows)):
            chosen = {name: array[rows[chunk]] for name, array in whole.items()}
            for name, array in wanted_inputs(task, chosen).items():
                if name not in files:
                    writer = npy_files.new_writer(folder, f"input.{name}", array)
                    files[name] = opened.enter_context(closing(writer))
                files[name].append(types.same(name, array))


def wanted_inputs(task: InputsTask, whole: Inputs) -> dict[str, Array]:
    """Return the inputs that a model takes, from inputs that were read and from views."""
    found: dict[str, Array] = {}
    for name in task.inputs:
        if name in found:
            continue
        if name in task.views:
            found |= _apply_view(task, name, whole)
        else:
            found[name] = whole[name]
    return {name: found[name] for name in task.inputs}


def _sparse_like_read(array: Array, read: Array | None) -> Array:
    """Make a view's output sparse if the input that it replaces is sparse."""
    if isinstance(array, SparseImages):
        return array
    dense = np.asarray(array)
    sparse = isinstance(read, SparseImages) and dense.ndim == 4
    return SparseImages.from_dense(dense) if sparse else dense


def _apply_view(task: InputsTask, name: str, whole: Inputs) -> dict[str, Array]:
    """Apply a view to a chunk of examples, and check it on some examples alone.

    Raises:
        DataError: the view returns something else than finite numbers for each example.
        ProtocolError: the result for an example depends on others, such as test examples.
    """
    call = task.views[name]
    view = partial(resolve(call.run), **call.params)
    n = len(next(iter(whole.values())))
    rows = np.unique(np.linspace(0, n - 1, REPEATED).astype(np.int64))
    pieces = [piece for piece in np.split(rows, [1]) if len(piece)]
    # copied first: a view may write into its inputs
    few = [{key: array[piece] for key, array in whole.items()} for piece in pieces]
    checked = view_output(f"{task.dataset}: view '{name}'", view(whole), name, n)
    made = {key: _sparse_like_read(array, whole.get(key)) for key, array in checked.items()}
    for piece, some in zip(pieces, few, strict=True):
        again = view(some)
        if not all(
            _equal_up_to_rounding(np.asarray(a[piece]), np.asarray(again[key]))
            for key, a in made.items()
        ):
            msg = (
                f"{task.dataset}: view '{name}' gives an example other values alone than together "
                f"with {n} examples; it must compute each example by itself"
            )
            raise ProtocolError(msg)
    return made


def _equal_up_to_rounding(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether two arrays from a view are equal up to rounding."""
    if a.shape != b.shape or a.dtype.kind not in "fiub":
        return a.shape == b.shape and bool((a == b).all())
    one, other = a.astype(np.float64), b.astype(np.float64)
    scale = abs(one[np.isfinite(one)]).max(initial=0)
    return np.allclose(one, other, rtol=1e-4, atol=1e-6 * scale, equal_nan=True)
