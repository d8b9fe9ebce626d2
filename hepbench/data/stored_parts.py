"""Opens the arrays that the read and inputs stages have stored, memory-mapped."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hepbench.specs.training_data import Examples
from hepbench.storage import npy_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from hepbench.specs.types import Array


CHUNK_ROWS = 200_000


CHUNK_BYTES = 50_000_000
"""Largest size of a chunk's inputs when they are dense, as views may make them."""


def column(source: Path, name: str) -> NDArray[Any]:
    """Return a stored column of labelled examples; those of a test file come last."""
    labelled = npy_files.map_npy(source / f"labelled.{name}.npy")
    test = source / f"test.{name}.npy"
    return np.concatenate([labelled, npy_files.map_npy(test)]) if test.exists() else labelled


def weights(source: Path) -> NDArray[np.float64] | None:
    """Return the stored weights in the order of ``column``, NaN for a role that has none."""
    found = [
        npy_files.map_npy(path) if path.exists() else np.full(count(source, role), np.nan)
        for role in ("labelled", "test")
        for path in [source / f"{role}.weights.npy"]
    ]
    whole = np.concatenate(found)
    return None if np.isnan(whole).all() else whole


def read_inputs(source: Path, role: str) -> dict[str, Array]:
    """Return the stored inputs of a role by name; examples are in the order of ``column``."""
    found = npy_files.stored(source, f"{role}.input.")
    test = npy_files.stored(source, "test.input.") if role == "labelled" else {}
    return {
        name: npy_files.ConcatenatedArrays(
            [npy_files.open_stored(path), npy_files.open_stored(test[name])]
        )
        if name in test
        else npy_files.open_stored(path)
        for name, path in found.items()
    }


def spans(inputs: Mapping[str, Array], n: int) -> Iterator[slice]:
    """Yield the row ranges of chunks of stored inputs that fit into CHUNK_BYTES."""
    size = sum(math.prod(a.shape[1:]) * a.dtype.itemsize for a in inputs.values())
    step = max(1, min(CHUNK_ROWS, CHUNK_BYTES // max(size, 1)))
    return (slice(i, min(i + step, n)) for i in range(0, n, step))


def count(source: Path, role: str) -> int:
    """Return how many examples of a role the read stage has stored."""
    path = source / f"{role}.ids.npy"
    return len(npy_files.map_npy(path)) if path.exists() else 0


def spectators(columns: Mapping[str, Array], part: str = "") -> dict[str, Array]:
    """Return the spectators among stored columns, also under the old name ``target.*``."""
    prefixes = (f"{part}spectator.", f"{part}target.")
    return {
        name.removeprefix(prefix): array
        for prefix in prefixes
        for name, array in columns.items()
        if name.startswith(prefix)
    }


def load_part(source: Path, part: str) -> Examples:
    """Open the stored examples of one part, memory-mapped; the test part has no labels."""
    folder = source / part
    found = {name: npy_files.open_stored(path) for name, path in npy_files.stored(folder).items()}
    return Examples(
        inputs={n.partition(".")[2]: a for n, a in found.items() if n.startswith("input.")},
        ids=found["ids"],
        labels=found.get("labels"),
        weights=found.get("weights"),
        spectators=spectators(found),
    )
