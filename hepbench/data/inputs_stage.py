"""The inputs stage: lays out the inputs of each part, with the dataset's views applied."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.data import splits
from hepbench.data.stored_parts import count, read_inputs, spans
from hepbench.registry.resolve import resolve
from hepbench.specs.errors import ProtocolError
from hepbench.specs.sparse_images import SparseImages
from hepbench.storage import npy_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from hepbench.data.read_stage import Facts
    from hepbench.specs.types import Array, Inputs
    from hepbench.storage.workspace import Workspace


AGAIN = 4
"""Rows of each chunk that a view is given again, the first by itself and the others together."""


def inputs(task: Mapping[str, Any], workspace: Workspace) -> Facts:
    """Lay out the inputs of each part, views applied, in a folder of its own."""
    (source, division), folder = workspace.parents, workspace.folder
    for part in splits.PARTS:
        with np.load(division / f"{part}.npz", allow_pickle=False) as kept:
            columns = dict(kept)
        rows = columns.pop("rows")
        if part == "test":
            columns = {"ids": columns["ids"]}
        (folder / part).mkdir()
        for name, array in columns.items():
            np.save(folder / part / f"{name}.npy", array, allow_pickle=False)
        _lay_out(task, source, rows, folder / part)
    if n := count(source, "unlabelled"):
        (folder / "unlabelled").mkdir()
        ids = npy_files.map_npy(source / "unlabelled.ids.npy")
        np.save(folder / "unlabelled" / "ids.npy", ids, allow_pickle=False)
        _lay_out(task, source, np.arange(n), folder / "unlabelled", role="unlabelled")
    return {}


def _lay_out(
    task: Mapping[str, Any],
    source: Path,
    rows: NDArray[np.int64],
    folder: Path,
    role: str = "labelled",
) -> None:
    whole = read_inputs(source, role)
    files: dict[str, npy_files.NpyWriter | npy_files.SparseImagesWriter] = {}
    for chunk in spans(whole, len(rows)):
        chosen = {name: array[rows[chunk]] for name, array in whole.items()}
        for name, array in viewed(task, chosen).items():
            if name not in files:
                files[name] = npy_files.new_writer(folder, f"input.{name}", array)
            files[name].append(array)
    for file in files.values():
        file.close()


def viewed(task: Mapping[str, Any], whole: Inputs) -> dict[str, Array]:
    """Return the inputs that are wanted of what was read, as views make them."""
    found: dict[str, Array] = {}
    for name in task["inputs"]:
        if name in found:
            continue
        if name in task["views"]:
            found |= _view(task, name, whole)
        else:
            found[name] = whole[name]
    return {name: found[name] for name in task["inputs"]}


def _as_read(array: Array, read: Array | None) -> Array:
    """Return what a view made, sparse where the input whose place it takes is."""
    if isinstance(array, SparseImages):
        return array
    dense = np.asarray(array)
    sparse = isinstance(read, SparseImages) and dense.ndim == 4
    return SparseImages.from_dense(dense) if sparse else dense


def _view(task: Mapping[str, Any], name: str, whole: Inputs) -> dict[str, Array]:
    """Apply a view to a chunk, and to some of its rows again: none may notice the others.

    Raises:
        ProtocolError: it does notice. A mean over a chunk would be one over test examples too.
    """
    params = task["params"]
    handed = task.get("handed", {}).get(name, params)
    view = partial(resolve(task["views"][name]), **{key: params[key] for key in handed})
    n = len(next(iter(whole.values())))
    rows = np.unique(np.linspace(0, n - 1, AGAIN).astype(np.int64))
    pieces = [piece for piece in np.split(rows, [1]) if len(piece)]
    # taken first: a view may write into what it is given
    few = [{key: array[piece] for key, array in whole.items()} for piece in pieces]
    made = {key: _as_read(array, whole.get(key)) for key, array in view(whole).items()}
    for piece, some in zip(pieces, few, strict=True):
        again = view(some)
        if not all(_alike(np.asarray(a[piece]), np.asarray(again[key])) for key, a in made.items()):
            msg = (
                f"{task['dataset']}: view '{name}' gives an example other values by itself than "
                f"among {n} examples; it must treat each by itself"
            )
            raise ProtocolError(msg)
    return made


def _alike(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether two arrays are equal but for rounding."""
    if a.shape != b.shape or a.dtype.kind not in "fiub":
        return a.shape == b.shape and bool((a == b).all())
    one, other = a.astype(np.float64), b.astype(np.float64)
    scale = abs(one[np.isfinite(one)]).max(initial=0)
    return np.allclose(one, other, rtol=1e-4, atol=1e-6 * scale, equal_nan=True)
